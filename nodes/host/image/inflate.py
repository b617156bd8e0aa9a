"""Motion modules on the artist's own image MODEL: the host's U-Net runs, and a module acts on each block's result.

Everything rides on the MODEL: the modules as an additional model, which the host loads and offloads, one handler of its
`forward_timestep_embed_patch`, and one wrapper. No weight and no layer of the image model is touched, so LoRAs,
ControlNet, attention patches and quantised loaders work as before. Frames are the batch, `(T, C, h, w)`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.ops
import torch
import torch.nn as nn
import torch.nn.functional as F
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import (
    ResBlock,
    TimestepBlock,
    UNetModel,
    forward_timestep_embed,
)
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....lumiere_core.model.animatediff.files import MotionFile
from ....lumiere_core.model.animatediff.network import (
    BETAS,
    MotionModules,
    MotionSpec,
    over_the_clip,
    sigmas_of,
)
from ....lumiere_core.model.backbones.trained import Trained, TrainedSpec
from ....lumiere_core.model.stunet import SpaceTimeUNet
from ..controls import AREA, SHOWN

RIDE = "lumiere_motion"  # of the modules on a MODEL, and of `Motion` in its options
CALL = "lumiere_motion_call"  # of `Call`, in the options of one call of the network
PATCHES = "forward_timestep_embed_patch"
BASES = {  # how the host's names of them begin
    "SD15": "SD1.5",
    "SD2": "SD2",
    "SDXLRefiner": "SDXL's refiner",
    "SDXL": "SDXL",
    "SD_X4Upscaler": "the SD x4 upscaler",
    "SVD": "Stable Video Diffusion",
}
OWN_SCHEDULE = "the MODEL's own"
SCHEDULES = {  # choices of noise levels, and what they are in BETAS
    "auto": "",
    OWN_SCHEDULE: "",
    "linear (AnimateDiff)": "linear",
    "scaled linear (HotShot-XL)": "scaled linear",
    "scaled linear to 0.02 (AnimateDiff SDXL)": "scaled linear to 0.02",
}


@dataclass(frozen=True)
class Motion:
    """What rides on a MODEL. strength: a number, or `(T or 1, 1, H, W)`."""

    modules: MotionModules
    strength: Tensor | float
    name: str

    def __deepcopy__(self, memo: dict) -> Motion:
        """Older hosts copy a MODEL's options through and through: the modules stay those that the host loads."""
        return self


class Call:
    """One call of the network: how many frames a clip has in it, and how strong motion is in each of them."""

    def __init__(
        self,
        motion: Motion,
        unet: UNetModel,
        frames: int,
        clips: int,
        shown: Tensor,
        total: int | None,
        area: tuple[Tensor, Tensor, int, int] | None = None,
    ) -> None:
        self.motion, self.frames, self.clips = motion, frames, clips
        self.strength, self.at_size = motion.strength, {}
        if torch.is_tensor(self.strength) and area is not None:  # a tile sees its part of the mask
            rows, columns, height, width = area
            whole = F.interpolate(self.strength, (height, width), mode="area")
            self.strength = whole[..., rows.to(whole.device), :][..., columns.to(whole.device)]
        self.bearers = {bearer_of(block_at(unet, place)): place for place in motion.modules.spec.places}
        if torch.is_tensor(self.strength) and self.strength.shape[0] > 1:
            given, needed = self.strength.shape[0], total or int(shown.max()) + 1
            if given != needed and (total or given < needed):
                raise ValueError(
                    f"the motion mask has {given} frames, but the clip has {needed}. Give the mask one frame for all, "
                    f"or {needed}."
                )
            self.strength = self.strength[shown.to(self.strength.device)]

    @property
    def moves(self) -> bool:
        """Whether motion is added anywhere."""
        return torch.is_tensor(self.strength) or self.strength > 0

    def moved(self, layer: Any, x: Tensor) -> Tensor:
        """A layer's result, with motion where it bears a module. `(B*T, C, h, w)`"""
        if layer not in self.bearers:
            return x
        return self.motion.modules.module(self.bearers[layer])(x, self.frames, self.strength_at(x))

    def strength_at(self, x: Tensor) -> Tensor | float:
        """The strength on a level's grid `(B*T, 1, h, w)`, a mask's mean over each cell."""
        if not torch.is_tensor(self.strength):
            return self.strength
        size = x.shape[-2:]
        if size not in self.at_size:
            grid = F.interpolate(self.strength, size, mode="area").expand(self.frames, -1, -1, -1)
            self.at_size[size] = grid.repeat(self.clips, 1, 1, 1).to(x)
        return self.at_size[size]


# ------------------------------------------------------------------------------------------------ on the host's U-Net
def bearer_of(block: Any) -> Any:
    """The layer whose result a motion module reads: the block's transformer, or its ResBlock where it has none."""
    for kind in (SpatialTransformer, ResBlock):
        for layer in block:
            if isinstance(layer, kind):
                return layer
    return None


def block_at(unet: Any, place: tuple[str, int]) -> Any:
    side, number = place
    blocks = [unet.middle_block] if side == "middle" else getattr(unet, f"{side}_blocks")
    return blocks[number] if number < len(blocks) else ()


def width_of(layer: Any) -> int:
    """Channels of a bearer's result, 0 for none."""
    return getattr(layer, "in_channels" if isinstance(layer, SpatialTransformer) else "out_channels", 0)


def then_motion(
    layer: Any, x: Tensor, emb: Tensor, context: Tensor, options: dict, output_shape: Any, *video: Any
) -> Tensor:
    """The host's handler for a layer: run it as the host would, with other packs' handlers, then its motion module."""
    patches = options["patches"]
    options["patches"] = {**patches, PATCHES: [p for p in patches[PATCHES] if p[1] is not then_motion]}
    try:
        x = forward_timestep_embed([layer], x, emb, context, options, output_shape, *video)
    finally:
        options["patches"] = patches
    return options[CALL].moved(layer, x)


@cache
def host_hands_over_layers() -> bool:
    """Whether the host asks handlers for every layer. Older ones do so for layers of no kind they know, only."""

    class Probe(TimestepBlock):
        def forward(self, x: Tensor, emb: Tensor) -> Tensor:
            return x

    asked: list[bool] = []
    handler = [(Probe, lambda _layer, x, *_: asked.append(True) or x)]
    forward_timestep_embed([Probe()], torch.zeros(1), torch.zeros(1), None, {"patches": {PATCHES: handler}})
    return bool(asked)


@contextmanager
def hooked(layers: Iterable[nn.Module], hook: Callable[..., Tensor]) -> Iterator[None]:
    """The layers' results pass `hook(layer, given, result)`, by PyTorch's own means, until this is left."""
    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.register_forward_hook(hook).remove)
        yield


def norms_of(unet: UNetModel) -> Iterator[nn.GroupNorm]:
    """The norms of the ResBlocks, and the last one."""
    for block in (*(m for m in unet.modules() if isinstance(m, ResBlock)), unet.out):
        yield from (m for m in block.modules() if isinstance(m, nn.GroupNorm))


def frames_in(window: Any) -> Tensor:
    """Which frames one of the host's own windows shows: newer hosts put the one before it in front."""
    before = getattr(window, "causal_anchor_index", None)
    return torch.tensor([*([] if before is None or before < 0 else [before]), *window.index_list])


def frames_in_call(x: Tensor, options: dict, channels: int, name: str, spec: MotionSpec | TrainedSpec) -> int:
    """Frames of a clip in one call of the network. Raises ValueError for what is no batch of frames, or too many."""
    if x.ndim != 4:
        raise ValueError(
            f"the LATENT has the shape {tuple(x.shape)}, but an image MODEL with motion takes frames as a batch "
            f"(frames, {channels}, height, width). Make it with ComfyUI's Empty Latent Image, batch_size being the "
            "frames, or encode a batch of frames."
        )
    frames = x.shape[0] // len(options.get("cond_or_uncond", [0]))
    if frames > spec.frames:
        raise ValueError(
            f"the MODEL is given {frames} frames at a time, but {name} ({spec.name}) reads {spec.frames} at most. Put "
            f"Long Clips (MultiDiffusion) with a window of {spec.window} on the MODEL."
        )
    return frames


def with_motion(
    executor: Any,
    x: Tensor,
    timesteps: Any = None,
    context: Any = None,
    y: Any = None,
    control: Any = None,
    transformer_options: dict | None = None,
    **others: Any,
) -> Tensor:
    """The host's U-Net on frames `(N * T, C, h, w)`, N prompts of one clip. Raises ValueError."""
    options = transformer_options or {}
    motion: Motion = options[RIDE]
    clips, spec = len(options.get("cond_or_uncond", [0])), motion.modules.spec
    frames = frames_in_call(x, options, executor.class_obj.out_channels, motion.name, spec)
    shown, total = options.get(SHOWN, (None, None))
    if shown is None:
        core = options.get("context_window")
        total, shown = (None, frames_in(core)) if core else (frames, torch.arange(frames))
    call = Call(motion, executor.class_obj, frames, clips, shown, total, options.get(AREA))
    left_out = () if host_hands_over_layers() else call.bearers  # older hosts hand over none of them
    norms = norms_of(executor.class_obj) if spec.clip_norms and call.moves else ()
    with (
        hooked(left_out, lambda layer, _, result: call.moved(layer, result)),
        hooked(norms, lambda norm, given, _: over_the_clip(norm.forward, given[0], frames)),
    ):
        return executor(x, timesteps, context, y, control, {**options, CALL: call}, **others)


# ---------------------------------------------------------------------------------------------------------- on a MODEL
def base_of(model: Any) -> str:
    """The family of a MODEL by the host's own name for it."""
    if hasattr(model.model, "lumiere"):
        return "a Lumiere model"
    name = type(model.model.model_config).__name__
    return next((base for known, base in BASES.items() if name.startswith(known)), name)


def check_pictures(model: Any) -> None:
    """Raises ValueError for a MODEL that makes no pictures by a U-Net, or moves already."""
    unet = model.model.diffusion_model
    strided = isinstance(unet, SpaceTimeUNet) and not hasattr(model.model, "lumiere")
    if strided or RIDE in model.model_options.get("transformer_options", {}):
        raise ValueError("this MODEL has motion already. Wire this node to the MODEL before the other one.")
    if not isinstance(unet, UNetModel):
        raise ValueError(
            f"the MODEL is {base_of(model)}, which has no U-Net for pictures that motion could be added to. This node "
            "takes image MODELs: SD1.5, and SDXL with a motion file for it."
        )


def check_fit(model: Any, modules: MotionModules, name: str) -> None:
    """Raises ValueError for a MODEL that a motion file was not made for, or that cannot be inflated."""
    check_pictures(model)
    unet, spec, base = model.model.diffusion_model, modules.spec, base_of(model)
    fits = all(
        width_of(bearer_of(block_at(unet, place))) == width for place, width in modules.widths()
    ) and len(spec.places) - spec.middle == sum(
        bearer_of(block) is not None for block in (*unet.input_blocks, *unet.output_blocks)
    )
    if not fits or (base in BASES.values() and base != spec.base):
        raise ValueError(
            f"{name} is a motion file for {spec.base} ({spec.name}), but the MODEL is {base}. Choose a motion file for "
            f"{base}, or a MODEL of {spec.base}."
        )


def as_additional(model: Any, modules: MotionModules) -> Any:
    """The modules as a model that the host loads and offloads beside this MODEL."""
    patcher = vars(comfy.model_patcher).get("CoreModelPatcher") or comfy.model_patcher.ModelPatcher
    return patcher(modules, load_device=model.load_device, offload_device=model.offload_device)


def with_levels(model: Any, betas: str) -> None:
    """Give a MODEL the noise levels of a table of betas; what it predicts stays. Raises ValueError."""
    levels = copy.deepcopy(model.get_model_object("model_sampling"))
    if not hasattr(levels, "set_sigmas"):
        raise ValueError(
            "this MODEL's noise levels are no table that could be exchanged. Set noise_levels to "
            f"{OWN_SCHEDULE!r}."
        )
    levels.set_sigmas(sigmas_of(BETAS[betas]()))
    model.add_object_patch("model_sampling", levels)


def inflated(model: Any, file: MotionFile | Trained, strength: Tensor | float, levels: str) -> Any:
    """A clone of an image MODEL that moves by a motion file. Raises ValueError.

    strength  a number, or `(T or 1, 1, H, W)`: how much of the motion is added, for each frame and place
    levels    a key of SCHEDULES: which noise levels are sampled
    """
    if not isinstance(file, MotionFile):
        raise ValueError(
            f"{file.path.name} holds {file.spec.name}, which were trained for mode lumiere. Set mode to lumiere, or "
            "choose a motion file."
        )
    dtype = model.get_model_object("manual_cast_dtype") or model.model.get_dtype()
    modules = MotionModules(file.spec, comfy.ops.manual_cast, dtype, model.offload_device)
    check_fit(model, modules, file.path.name)
    file.load(modules, dtype)
    modules.eval().requires_grad_(False)

    model = model.clone()
    model.set_additional_models(RIDE, [as_additional(model, modules)])
    model.model_options["transformer_options"][RIDE] = Motion(modules, strength, file.path.name)
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, RIDE, with_motion)
    model.set_model_forward_timestep_embed_patch(((SpatialTransformer, ResBlock), then_motion))
    handlers = model.model_options["transformer_options"]["patches"][PATCHES]
    handlers.insert(0, handlers.pop())  # the host asks the first that fits: this one hands on to the others
    if levels != OWN_SCHEDULE and (betas := SCHEDULES[levels] or file.spec.betas):
        with_levels(model, betas)
    return model


def motion_of(model: Any) -> Motion:
    """What rides on a MODEL. Raises ValueError for one without motion."""
    motion = model.model_options.get("transformer_options", {}).get(RIDE)
    if motion is None and isinstance(model.model.diffusion_model, SpaceTimeUNet):
        raise ValueError("motion LoRAs fit Inflate's mode compat only. Set its mode to compat.")
    if motion is None:
        raise ValueError("this MODEL has no motion file. Wire it through the node that adds one first.")
    return motion


def with_motion_lora(model: Any, factors: dict[str, dict[str, Tensor]], strength: float) -> Any:
    """A clone of a MODEL whose motion modules are changed by a LoRA; the host merges it as any other."""
    model = model.clone()
    (modules,) = model.get_additional_models_with_key(RIDE)
    named = {
        f"{weight}.lora_{which}.weight": t for weight, pair in factors.items() for which, t in pair.items()
    }
    modules.add_patches(comfy.lora.load_lora(named, {weight: weight for weight in factors}), strength)
    return model
