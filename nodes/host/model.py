"""Our network as a MODEL of ComfyUI. No function of ComfyUI is replaced."""

from __future__ import annotations

import math
from typing import Any

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.supported_models_base
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...lumiere_core.config import DiffusionSpec, ModelSpec, replace
from ...lumiere_core.diffusion.condition import on_canvas
from ...lumiere_core.diffusion.process import TABLE, Process, time_of
from ...lumiere_core.model.checkpoint import Weights
from ...lumiere_core.model.stunet import SpaceTimeUNet
from ...lumiere_core.model.unet import check_size
from .controls import KEY, TICKS, predict, start, ticks
from .notify import show_here


class PixelClip(comfy.latent_formats.LatentFormat):
    """Our pixel models' latent: the clip itself, `(1, 3, T, H, W)` in [-1, 1]; previews are exact."""

    latent_channels = 3
    latent_dimensions = 3
    spacial_downscale_ratio = 1
    temporal_downscale_ratio = 1
    latent_rgb_factors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]

    def process_in(self, latent: Tensor) -> Tensor:
        return latent

    def process_out(self, latent: Tensor) -> Tensor:
        return latent


class HostNetwork(SpaceTimeUNet):
    """The Space-Time U-Net built from the host's layers, with the signature the host calls."""

    def __init__(
        self,
        spec: ModelSpec,
        image_model: str = "",
        dtype: Any = None,
        device: Any = None,
        operations: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(spec.unet, spec.temporal, operations, dtype, device)
        self.weight_dtype = dtype

    @property
    def dtype(self) -> torch.dtype:
        return self.weight_dtype

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor | None = None,
        transformer_options: dict | None = None,
        low_res: Tensor | None = None,
        noise_level: float | None = None,
        when: Tensor | None = None,
        condition: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        self.check(x, context, low_res)
        level = None if noise_level is None else torch.full((x.shape[0],), noise_level, device=x.device)
        # Older hosts' own context windows cut the clip alone, but say where.
        window = (transformer_options or {}).get("context_window")
        when, condition = (
            v if v is None or v.shape[2] == x.shape[2] else v[:, :, window.index_list]
            for v in (when, condition)
        )
        when = None if when is None else when.float() / TICKS
        return super().forward(x, timesteps, context, condition, low_res, level, when)

    def check(self, x: Tensor, context: Tensor | None, low_res: Tensor | None) -> None:
        """Raises ValueError for what comes from another model's nodes: a latent, a prompt, no clip to enlarge."""
        if x.ndim != 5 or x.shape[1] != self.spec.in_channels:
            raise ValueError(
                f"the LATENT has the shape {tuple(x.shape)}, but this Lumiere model takes clips "
                f"(1, {self.spec.in_channels}, frames, height, width). Make it with Empty Clip, or encode a clip with "
                "the VAE of Load Lumiere Model."
            )
        check_size("width", x.shape[4], self.spec.size_multiple)
        check_size("height", x.shape[3], self.spec.size_multiple)
        if low_res is None and self.spec.low_res_channels:
            raise ValueError(
                "this is a super-resolution MODEL: it needs a clip to enlarge. Use the node "
                "Enlarge a Clip (SSR), or choose the base model in Load Lumiere Model."
            )
        if context is None or context.shape[-1] != self.spec.row_width:
            width = 0 if context is None else context.shape[-1]
            raise ValueError(
                f"the prompt has rows of width {width}, but this Lumiere model reads {self.spec.row_width}. "
                "Encode it with the CLIP that comes out of Load Lumiere Model."
            )


class Sampling(comfy.model_sampling.ModelSamplingContinuousEDM, comfy.model_sampling.V_PREDICTION):
    """Our continuous cosine process in the host's terms: what it calls a timestep is the spaced time u."""

    def __init__(self, diffusion: DiffusionSpec) -> None:
        super().__init__()
        self.process = Process(diffusion)
        u = self.process.u_max * torch.arange(1, TABLE + 1, dtype=torch.float64) / TABLE
        sigmas = self.process.sigma_of(u).float()
        self.register_buffer("sigmas", sigmas)
        self.register_buffer("log_sigmas", sigmas.log())

    def timestep(self, sigma: Tensor) -> Tensor:
        return self.process.spaced(sigma)

    def sigma(self, timestep: Tensor) -> Tensor:
        return self.process.sigma_of(torch.as_tensor(timestep))

    def calculate_denoised(self, sigma: Tensor, model_output: Tensor, model_input: Tensor) -> Tensor:
        sigma = sigma.reshape(-1, *[1] * (model_input.ndim - 1))
        return self.process.x0(model_output, model_input, sigma)

    def noise_scaling(
        self, sigma: Tensor, noise: Tensor, latent_image: Tensor, max_denoise: bool = False
    ) -> Tensor:
        """The host's own draw, shared between frames as the weights were trained: every sampler starts from it."""
        return super().noise_scaling(sigma, self.process.shared(noise), latent_image, max_denoise)

    def percent_to_sigma(self, percent: float) -> float:
        if percent <= 0.0:
            return 999999999.9
        if percent >= 1.0:
            return 0.0
        return float(self.sigma(torch.tensor((1.0 - percent) * self.process.u_max)))


class ModelConfig(comfy.supported_models_base.BASE):
    """What ComfyUI needs to know about a model that it does not detect itself."""

    unet_config = {"image_model": "lumiere"}
    unet_extra_config: dict[str, Any] = {}
    latent_format = PixelClip
    supported_inference_dtypes = [torch.bfloat16, torch.float32]
    memory_usage_factor = 1.0

    def model_type(self, state_dict: Any, prefix: str = "") -> Any:
        return comfy.model_base.ModelType.V_PREDICTION

    def inpaint_model(self) -> bool:
        return False


class LumiereModel(comfy.model_base.BaseModel):
    """Our network as the host's own kind of model."""

    def __init__(self, config: ModelConfig, weights: Weights, device: Any = None) -> None:
        super().__init__(
            config, comfy.model_base.ModelType.V_PREDICTION, device=device, unet_model=HostNetwork
        )
        self.model_sampling = Sampling(weights.spec.diffusion)
        self.lumiere = weights.spec
        # Whoever has the MODEL can encode a prompt for it.
        text = {name: tensor for name, tensor in weights.tensors.items() if name.startswith("text.")}
        self.text = replace(weights, tensors=text)

    def process_timestep(self, timestep: Tensor, **_: Any) -> Tensor:
        """From the spaced time u, which spreads the steps, to the true time the network was trained on."""
        if not isinstance(self.model_sampling, Sampling):
            raise ValueError(
                "a ModelSampling node has replaced this model's noise levels. Remove it: Lumiere has its own."
            )
        return time_of(self.model_sampling.process.sigma_of(timestep))

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """Text rows go in as they are: repeated to a common length they would change a joint softmax."""
        self.remark_on_size(kwargs.get("noise"))
        conds = {}
        for name, source in (("c_crossattn", "cross_attn"), ("low_res", "low_res")):
            if kwargs.get(source) is not None:
                conds[name] = comfy.conds.CONDRegular(kwargs[source])
        condition = self.concat_cond(**kwargs)
        if condition is not None:  # cut to a prompt's area, as the noise is
            conds["condition"] = comfy.conds.CONDNoiseShape(condition)
        if kwargs.get("noise_level") is not None:  # a plain number: half precision would shift it
            conds["noise_level"] = comfy.conds.CONDConstant(kwargs["noise_level"])
        noise = kwargs.get("noise")
        if self.lumiere.unet.timed_width and noise is not None and noise.ndim == 5:
            conds["when"] = comfy.conds.CONDRegular(ticks(noise.shape[2], self.lumiere).to(noise.device))
        return conds

    def concat_cond(self, **kwargs: Any) -> Tensor | None:
        """<C, M> from the host's own keys `(B, 4, T, H, W)`, None where nothing is known. Raises ValueError.

        InpaintModelConditioning and its like give a prompt `concat_latent_image` and `concat_mask`; Set Latent Noise
        Mask gives the LATENT a mask. In both 1 is to be made, and a pixel is known to the network where the mask is 0.
        """
        mask = kwargs.get("concat_mask", kwargs.get("denoise_mask"))
        clip = kwargs.get("concat_latent_image")
        clip = kwargs.get("latent_image") if clip is None else self.process_latent_in(clip)
        if mask is None or clip is None:
            return None
        if not self.lumiere.temporal.condition_channels:
            if self.lumiere.kind == "base":
                show_here(
                    "This model was trained to make whole clips. Known pixels are kept, but it does not see them, so "
                    "what it makes may not fit to them."
                )
            return None
        # The host gives a mask (B, C, T, H, W), its nodes give (T, 1, H, W) or (T, H, W).
        mask = mask[:, :1] if mask.ndim == 5 else mask.reshape(1, 1, -1, *mask.shape[-2:])
        task = on_canvas(clip.to(kwargs["device"]), 1 - mask.to(kwargs["device"]), *kwargs["noise"].shape[2:])
        return task.stacked

    def remark_on_size(self, noise: Tensor | None) -> None:
        """Show a warning if the clip has over four times the pixels of training: the result would be no picture."""
        size = self.lumiere.size
        if (
            noise is not None
            and self.lumiere.kind == "base"
            and noise.shape[-1] * noise.shape[-2] > 4 * size**2
        ):
            show_here(
                f"This model was trained at {size}x{size} pixels, but the LATENT has {noise.shape[-1]}x"
                f"{noise.shape[-2]}. Make it with Empty Clip, and enlarge the result with Enlarge a Clip."
            )

    def memory_required(self, input_shape: Any, *_: Any, **__: Any) -> float:
        """Bytes of one forward pass. Its peak is the decoder's last level: five tensors of the finest width and four of
        the next live there at once, beside two copies of the input. A test holds it against the measured peak.
        """
        unet = self.lumiere.unet
        clips, _, frames, height, width = (
            input_shape if len(input_shape) == 5 else (*input_shape[:2], 1, *input_shape[2:])
        )
        filled = math.ceil(frames / self.lumiere.temporal.time_factor) * self.lumiere.temporal.time_factor
        cells = clips * filled * (height // unet.patch) * (width // unet.patch)
        given = 2 * unet.in_channels + self.lumiere.temporal.condition_channels
        cell = 5 * unet.channels[0] + 4 * unet.channels[1] + given * unet.patch**2
        return float(
            cells * cell * comfy.model_management.dtype_size(self.manual_cast_dtype or self.get_dtype())
        )


def make_model(weights: Weights) -> Any:
    """A MODEL from a weights file. Raises ValueError for one without time."""
    spec = weights.spec
    if spec.temporal is None:
        raise ValueError(f"{weights.path.name} is an image model without time. Choose a base or SSR file.")
    tensors = weights.part("network")
    load_device = comfy.model_management.get_torch_device()
    count = sum(t.numel() for t in tensors.values())
    dtype = comfy.model_management.unet_dtype(
        device=load_device, model_params=count, supported_dtypes=ModelConfig.supported_inference_dtypes
    )
    config = ModelConfig({"image_model": "lumiere", "spec": spec})
    config.set_inference_dtype(
        dtype,
        comfy.model_management.unet_manual_cast(dtype, load_device, ModelConfig.supported_inference_dtypes),
    )
    model = LumiereModel(config, weights)
    model.diffusion_model.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()})
    # Newer hosts choose one that loads layers as they are needed; asked at each call, as they may replace it.
    patcher = vars(comfy.model_patcher).get("CoreModelPatcher") or comfy.model_patcher.ModelPatcher
    made = patcher(
        model, load_device=load_device, offload_device=comfy.model_management.unet_offload_device()
    )
    made.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, start)
    made.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, predict)
    return made
