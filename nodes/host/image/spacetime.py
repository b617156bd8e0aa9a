"""The artist's own image MODEL strided in time: this pack's Space-Time U-Net runs, over that MODEL's own weights.

Weights stay where the host has them: Parameters of our own share their storage. What the MODEL carries that is no layer
goes along: LoRAs, latent format, noise levels, wrappers. What acts inside the host's U-Net is refused, since ours has
other layers at other frames. Frames are the batch, `(T, C, h, w)`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor

from ....lumiere_core.config import TemporalSpec, UNetSpec, replace
from ....lumiere_core.model.animatediff.files import MotionFile
from ....lumiere_core.model.animatediff.network import MotionModules
from ....lumiere_core.model.backbones.families import shapes_of_unet, spec_of_unet
from ....lumiere_core.model.backbones.trained import Trained, sizes_of, temporal_for
from ....lumiere_core.model.container import NoDraws
from ....lumiere_core.model.functional import frames_as_batch, frames_as_time
from ....lumiere_core.model.stunet import SpaceTimeUNet, new_temporal
from .inflate import OWN_SCHEDULE, SCHEDULES, base_of, check_fit, check_pictures, frames_in_call, with_levels

FRONT = "diffusion_model."  # of the U-Net's names in a MODEL
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
CARRIED = (  # what a clone of a MODEL has that belongs to it and not to its weights
    "patches",
    "patches_uuid",
    "object_patches",
    "model_options",
    "attachments",
    "additional_models",
    "callbacks",
    "wrappers",
    "hook_patches",
    "hook_mode",
    "forced_hooks",
)
INSTEAD = "Take it off, or set the mode of Inflate to compat, where the host's own U-Net runs."


class StridedUNet(SpaceTimeUNet):
    """The Space-Time U-Net over an image MODEL's weights, with the signature the host calls.

    x `(N * T, C, h, w)`, N prompts of one clip -> the same with `spec.out_channels`
    """

    def __init__(
        self, spec: UNetSpec, temporal: TemporalSpec, motion: MotionFile | Trained, dtype: torch.dtype
    ) -> None:
        super().__init__(spec, temporal, comfy.ops.manual_cast, dtype)
        self.motion, self.weight_dtype = motion, dtype

    @property
    def dtype(self) -> torch.dtype:
        return self.weight_dtype

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor | None = None,
        y: Tensor | None = None,
        control: Any = None,
        transformer_options: dict | None = None,
        **others: Any,
    ) -> Tensor:
        options = transformer_options or {}
        for what in acts_inside(control, options):
            raise ValueError(
                f"{what}, which acts inside the host's U-Net, but in mode lumiere ours runs. {INSTEAD}"
            )
        wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
        run = WrapperExecutor.new_class_executor(self.run, self, wrappers)
        return run.execute(x, timesteps, context, y, control, options, **others)

    def run(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        y: Tensor | None,
        control: Any,
        transformer_options: dict,
        **_: Any,
    ) -> Tensor:
        name, spec = self.motion.path.name, self.motion.spec
        frames = frames_in_call(x, transformer_options, self.spec.out_channels, name, spec)
        clip = super().forward(frames_as_time(x, frames), timesteps, context, label=y)
        return frames_as_batch(clip)


def acts_inside(control: Any, options: dict) -> Iterator[str]:
    """What asks for the host's own layers in one call, in words."""
    if control is not None:
        yield "the prompt has a ControlNet"
    for kind in ("patches", "patches_replace"):
        if names := sorted(name for name, held in options.get(kind, {}).items() if held):
            yield (
                f"the MODEL has an attention or block patch ({', '.join(names)}), as FreeU, IPAdapter and perturbed "
                "attention put on it"
            )


def originals(model: Any) -> dict[str, Tensor]:
    """The weights of a MODEL's U-Net as they were loaded, also while it is in use with a LoRA. Raises ValueError."""
    weights = {name.removeprefix(FRONT): held[0][0] for name, held in model.get_key_patches(FRONT).items()}
    for name, weight in weights.items():
        if type(weight) not in (Tensor, torch.nn.Parameter) or weight.dtype not in DTYPES:
            kind = f"{type(weight).__name__} of {weight.dtype}".replace("torch.", "")
            raise ValueError(
                f"the MODEL's weights are quantised ({name} is a {kind}), but mode lumiere reads float16, bfloat16 and "
                "float32. Load the MODEL with its default weight_dtype, or set mode to compat."
            )
    own = model.weight_inplace_update  # then the host writes LoRAs into the very storage
    return {name: weight.detach().to(model.offload_device, copy=own) for name, weight in weights.items()}


def spec_of_model(model: Any, weights: dict[str, Tensor]) -> UNetSpec:
    """What our U-Net has to be for a MODEL's weights. Raises ValueError for one that it cannot be."""
    unet = model.model.diffusion_model
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    found = spec_of_unet(shapes)
    spec = None
    if found is not None:
        spec = replace(found[1], heads=max(unet.num_heads, 0), head_dim=max(unet.num_head_channels, 1))
    if spec is None or shapes_of_unet(spec) != shapes:
        raise ValueError(
            f"the MODEL is {base_of(model)} with layers that this pack's U-Net does not have. Set mode to compat, "
            "where the host's own U-Net runs."
        )
    return spec


def over_weights(model: Any, network: SpaceTimeUNet) -> Any:
    """A MODEL like this one, with another network: all else that it carries goes along."""
    known = model.model.model_config
    config = object.__new__(type(known))  # the host's configs do not let themselves be copied
    config.__dict__.update(known.__dict__)
    config.unet_config = {**known.unet_config, "disable_unet_model_creation": True}
    made = config.get_model({}, "", device=model.offload_device)
    made.model_config = known
    made.latent_format, made.model_type = model.model.latent_format, model.model.model_type
    made.model_sampling = copy.deepcopy(model.get_model_object("model_sampling"))
    made.diffusion_model = network
    archive = getattr(comfy.model_management, "archive_model_dtypes", None)
    if archive:
        archive(network)
    patcher = vars(comfy.model_patcher).get("CoreModelPatcher") or comfy.model_patcher.ModelPatcher
    strided = patcher(made, load_device=model.load_device, offload_device=model.offload_device)
    carried = model.clone()
    for name in CARRIED:
        if hasattr(carried, name):
            setattr(strided, name, getattr(carried, name))
    return strided


def added_by_motion(model: Any, file: MotionFile, spec: UNetSpec) -> tuple[TemporalSpec, dict[str, Tensor]]:
    """What inflation adds, with a motion file's coarsest modules. Raises ValueError for one that does not fit."""
    dtype = layer_dtype(model)
    modules = MotionModules(file.spec, comfy.ops.manual_cast, dtype, model.offload_device)
    check_fit(model, modules, file.path.name)
    file.load(modules, dtype)
    temporal = temporal_for(spec, file.spec)
    return temporal, new_temporal(spec, temporal, modules, dtype)


def added_by_training(model: Any, file: Trained, spec: UNetSpec) -> tuple[TemporalSpec, dict[str, Tensor]]:
    """What was trained for this family. Raises ValueError for another."""
    if file.spec.base != base_of(model) or not file.spec.fits(spec):
        raise ValueError(
            f"{file.path.name} holds {file.spec.name} ({sizes_of(file.spec)}), but the MODEL is {base_of(model)} "
            f"({sizes_of(spec)}). Choose a file for {base_of(model)}, or a MODEL of {file.spec.base}."
        )
    return file.spec.temporal, {name: t.to(layer_dtype(model)) for name, t in file.tensors.items()}


def layer_dtype(model: Any) -> torch.dtype:
    """What a MODEL computes in."""
    return model.get_model_object("manual_cast_dtype") or model.model.get_dtype()


def strided(model: Any, file: MotionFile | Trained, strength: Tensor | float, levels: str) -> Any:
    """An image MODEL as a Space-Time U-Net, strided in time. Raises ValueError.

    file: temporal layers trained for this, or a motion file, of which it takes the coarsest modules. strength and
    levels are those of `inflated`; strength has to be 1.
    """
    if torch.is_tensor(strength) or strength != 1:
        raise ValueError(
            "mode lumiere has no strength: its temporal layers are trained to run whole. Set strength to 1 and take "
            "strength_mask off, or set mode to compat."
        )
    check_pictures(model)
    if model.injections or any(name.startswith(FRONT) for name in model.object_patches):
        raise ValueError(f"another pack has put layers of its own into the MODEL's U-Net. {INSTEAD}")
    weights = originals(model)
    spec = spec_of_model(model, weights)
    added_by = added_by_motion if isinstance(file, MotionFile) else added_by_training
    temporal, added = added_by(model, file, spec)
    with torch.device("meta"), NoDraws():
        network = StridedUNet(spec, temporal, file, model.model.get_dtype()).eval().requires_grad_(False)
    network.load_state_dict(
        weights | {name: t.to(model.offload_device) for name, t in added.items()}, assign=True
    )
    made = over_weights(model, network)
    if levels != OWN_SCHEDULE and (betas := SCHEDULES[levels] or file.spec.betas):
        with_levels(made, betas)
    return made
