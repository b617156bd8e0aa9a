"""The three stages of the recipe, as rows: what is drawn, what is trained, what is lost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from ..config import PRESETS, ModelSpec, replace
from ..diffusion.process import noised, sigma_of, time_of, v_target
from ..model.checkpoint import Lumiere
from .data import DrawClips, draw_windows


@dataclass(frozen=True)
class Phase:
    """So long with clips of this length, so many at a time."""

    share: float  # of the stage's time
    num_frames: int
    batch: int
    pool: int  # clips held
    group: int  # clips drawn in one call
    every: int  # steps between two such calls


@dataclass(frozen=True)
class Stage:
    """One command of the recipe."""

    name: str
    minutes: float
    lr: float
    phases: tuple[Phase, ...]
    needs: str = ""  # the stage whose result it starts from
    ema: float = 0.999
    empty_caption: float = 0.1  # share of clips trained without their caption
    crop: float = 1.0


STAGES: dict[str, Stage] = {
    "t2i": Stage("t2i", 40, 1e-3, (Phase(1.0, 1, 32, 24576, 64, 4),)),
    "temporal": Stage(
        "temporal", 40, 1e-3, (Phase(0.4, 16, 8, 2048, 16, 8), Phase(0.6, 80, 2, 640, 4, 8)), "t2i"
    ),
    "ssr": Stage("ssr", 25, 1e-3, (Phase(1.0, 16, 4, 2048, 16, 8),), "t2i", empty_caption=0.3, crop=0.25),
}
# The same for one large GPU: clips are drawn on it and stay in its memory. Half an hour for all three.
GPU_STAGES: dict[str, Stage] = {
    "t2i": Stage("t2i", 8, 1e-3, (Phase(1.0, 1, 512, 131072, 512, 1),)),
    "temporal": Stage(
        "temporal", 12, 1e-3, (Phase(0.3, 16, 128, 16384, 64, 2), Phase(0.7, 80, 32, 16384, 32, 2)), "t2i"
    ),
    "ssr": Stage("ssr", 5, 1e-3, (Phase(1.0, 16, 64, 8192, 32, 2),), "t2i", empty_caption=0.3, crop=0.5),
}


def stage_for(name: str, device: str) -> Stage:
    """The row of a stage on that kind of device."""
    return (GPU_STAGES if device.startswith("cuda") else STAGES)[name]


def spec_for(stage: Stage, preset: str, vocabulary: list[str]) -> ModelSpec:
    """The model a stage makes: the image model, the inflated one, or super-resolution."""
    spec = PRESETS["mini-ssr"] if stage.name == "ssr" else PRESETS[preset]
    spec = replace(spec, text=replace(spec.text, vocabulary=tuple(vocabulary)))
    if stage.name == "t2i":
        return replace(
            spec, kind="image", temporal=None, num_frames=1, diffusion=replace(spec.diffusion, shift=1.0)
        )
    return spec


def freeze(stage: Stage, model: Lumiere) -> list[nn.Parameter]:
    """Leave only what the stage trains: the image stage everything, the temporal one `temporal.*` alone."""
    for name, p in model.named_parameters():
        p.requires_grad_(
            {
                "t2i": True,
                "temporal": name.startswith("network.temporal."),
                "ssr": name.startswith("network."),
            }[stage.name]
        )
    return [p for p in model.parameters() if p.requires_grad]


def draw_for(stage: Stage, phase: Phase, spec: ModelSpec, device: str) -> DrawClips:
    return draw_windows(phase.num_frames, spec.size, device, stage.crop)


def stage_loss(
    stage: Stage, model: Lumiere, clips: Tensor, ids: Tensor, generator: torch.Generator
) -> Tensor:
    """Mean squared error of v. clips `(B, 3, T, H, W)` in [-1, 1], ids `(B, rows)`."""
    b, spec = clips.shape[0], model.spec

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=clips.device)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=clips.device)

    ids = torch.where(uniform(b, 1) < stage.empty_caption, torch.zeros_like(ids), ids)
    context = model.text(ids)
    t = time_of(sigma_of(uniform(b) * 0.9995, spec.diffusion.shift))
    wide, noise = t.view(-1, 1, 1, 1, 1), normal(clips)
    noisy, v = noised(clips, noise, wide), v_target(clips, noise, wide)
    if stage.name == "t2i":
        return F.mse_loss(model.network(noisy[:, :, 0], t, context).float(), v[:, :, 0])
    if stage.name == "temporal":
        return F.mse_loss(model.network(noisy, t, context).float(), v)
    low_res = F.avg_pool3d(clips, (1, spec.scale, spec.scale))
    level = uniform(b) ** 2 * 0.4  # mostly little: that is how it is used
    low_res = noised(low_res, normal(low_res), level.view(-1, 1, 1, 1, 1))
    # x0, not v: an enlargement is nearly known, and a short training cannot learn to hand noise through.
    made = model.network(noisy, t, context, low_res=low_res, noise_level=level).float()
    return F.mse_loss(made, {"x0": clips, "v": v}[spec.diffusion.prediction])
