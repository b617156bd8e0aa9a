"""Contact sheets: pictures of fixed prompts, to look at during training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..diffusion.guidance import guided
from ..diffusion.process import Denoiser, Process, initial_noise
from ..diffusion.samplers import dpmpp_2m
from ..generate import Settings, text_to_video, upscale
from ..model.checkpoint import Lumiere
from .gauge import bicubic
from .world.scenes import Scene, render

PROMPTS = (
    Scene("balloon", "red", "rising", "sea", "at sunset", seed=1),
    Scene("boat", "blue", "sailing left", "sea", "by day", seed=2),
    Scene("fish", "orange", "swimming right", "underwater", "by day", seed=3),
    Scene("windmill", "green", "turning fast", "meadow", "by day", seed=4),
    Scene("campfire", "purple", "burning slowly", "desert", "at night", seed=5),
    Scene("balloon", "yellow", "drifting left", "desert", "at night", seed=6),
    Scene("fish", "blue", "sinking", "underwater", "at sunset", seed=7),
    Scene("windmill", "orange", "standing still", "desert", "at sunset", seed=8),
)


@torch.inference_mode()
def sample_pictures(
    model: Lumiere,
    prompts: Sequence[str],
    seed: int = 0,
    steps: int = 20,
    cfg_scale: float | None = None,
    when: float = -1.0,
) -> Tensor:
    """Pictures of an image model, `(B, 3, H, W)` in about [-1, 1], at one moment of the 5 s (0 to 1; -1: not told)."""
    size, device = model.spec.size, model.network.out[2].weight.device
    sigmas = Process(model.spec.diffusion).sigmas(steps).to(device)
    moment = {"when": torch.full((len(prompts), 1), when, device=device)}
    denoise = guided(
        Denoiser(model.network, model.spec.diffusion, model.network.dtype),
        {"context": model.text.encode(prompts), **moment},
        {"context": model.text.encode([""] * len(prompts)), **moment},
        model.spec.diffusion.cfg_scale if cfg_scale is None else cfg_scale,
    )
    return dpmpp_2m(
        denoise, initial_noise((len(prompts), 3, size, size), seed).to(device) * sigmas[0], sigmas
    ).cpu()


def tiles(rows: Sequence[Sequence[Tensor]], gap: int = 2) -> Tensor:
    """Pictures `(3, H, W)` in [-1, 1] on a white sheet, `(3, ...)`; all of one size."""
    _, h, w = rows[0][0].shape
    columns = max(len(row) for row in rows)
    sheet = torch.ones(3, len(rows) * (h + gap) - gap, columns * (w + gap) - gap)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = i * (h + gap), j * (w + gap)
            sheet[:, y : y + h, x : x + w] = picture.clamp(-1, 1)
    return sheet


def sheet_of(model: Lumiere, frames: int = 6) -> Tensor:
    """Image: four moments of each prompt, from one noise. Base: `frames` frames. SSR: bicubic, ours, the exact one."""
    if model.spec.kind == "image":
        prompts = [scene.caption for scene in PROMPTS]
        rows = [sample_pictures(model, prompts, when=when) for when in (0.0, 0.3, 0.6, 0.95)]
        return tiles(rows)
    if model.spec.kind == "base":
        picks = torch.linspace(0, model.spec.num_frames - 1, frames).long()
        clips = [
            text_to_video(model, scene.caption, settings=Settings(seed=i)) for i, scene in enumerate(PROMPTS)
        ]
        return tiles([list(clip[0][:, picks].unbind(1)) for clip in clips])
    rows = []
    for scene in PROMPTS[:4]:
        exact = render([scene], 16, model.spec.size, model.spec.size) * 2 - 1
        small = torch.nn.functional.avg_pool3d(exact, (1, model.spec.scale, model.spec.scale))
        smooth, ours = bicubic(small, model.spec.scale), upscale(model, small, scene.caption)
        rows.append([clip[0, :, 8] for clip in (smooth, ours, exact)])
    return tiles(rows)
