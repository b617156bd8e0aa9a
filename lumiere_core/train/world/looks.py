"""The drawn world in other hands: the same scenes as a watercolour, a line drawing, a flat sticker, a glowing sign.

A look is a function of pictures and of where their subject is; `draw_look` draws scenes finely and hands them over. It
has no randomness of its own: the grain of paper comes from a fixed seed, so the same scene gives the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .scenes import Scene, render, subject_cover

FINE = 4  # how much finer than the picture a look is drawn
Look = Callable[
    [Tensor, Tensor], Tensor
]  # pictures (B, 3, H, W), subject (B, 1, H, W), both in [0, 1] -> pictures

INK_BLUE = (0.13, 0.12, 0.2)
PAPER = (0.98, 0.96, 0.9)


def colour(rgb: Sequence[float]) -> Tensor:
    return torch.tensor(rgb).view(1, 3, 1, 1)


def blurred(x: Tensor, radius: float) -> Tensor:
    """Gaussian blur, radius in pixels (one standard deviation); the border is continued."""
    reach = max(1, round(3 * radius))
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    bell = torch.exp(-(steps**2) / (2 * radius**2))
    bell = (bell / bell.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), bell, groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), bell.mT, groups=x.shape[1])


def grain(height: int, width: int, coarse: int, seed: int) -> Tensor:
    """Smooth blotches in [-1, 1] about `coarse` pixels wide, the same at every call. `(1, 1, H, W)`"""
    cells = torch.rand(
        1, 1, height // coarse + 3, width // coarse + 3, generator=torch.Generator().manual_seed(seed)
    )
    return F.interpolate(cells * 2 - 1, (height, width), mode="bicubic").clamp(-1, 1)


def edges(x: Tensor, radius: float) -> Tensor:
    """How strongly colours change at each pixel, `(B, 1, H, W)`, at that scale."""
    x = blurred(x, radius)
    across = F.pad(x, (1, 1, 0, 0), mode="replicate")
    down = F.pad(x, (0, 0, 1, 1), mode="replicate")
    gx, gy = across[..., 2:] - across[..., :-2], down[:, :, 2:] - down[:, :, :-2]
    return (gx.square() + gy.square()).sum(1, keepdim=True).sqrt()


def saturated(x: Tensor, by: float) -> Tensor:
    grey = x.mean(1, keepdim=True)
    return grey + by * (x - grey)


# --------------------------------------------------------------------------------------------------------- the looks
def watercolour(x: Tensor, subject: Tensor) -> Tensor:
    """Thin pigment on paper: it pools at the edges of shapes, blotches inside them, and ends before the paper does."""
    h, w = x.shape[-2:]
    thin = colour(PAPER) * (1 - 0.72 * (1 - blurred(saturated(x, 1.15), 3).clamp(0, 1)))
    pooled = (edges(x, 2.5) * 3).clamp(0, 1) * 0.3
    thin = thin * (1 - pooled) + 0.1 * grain(h, w, 36, 1) + 0.04 * grain(h, w, 9, 2)
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    inside = 0.9 - (xs.abs() ** 4 + ys.abs() ** 4) ** 0.25 + 0.09 * grain(h, w, 22, 3)[0, 0]
    return torch.lerp(colour(PAPER).expand_as(x), thin, (inside * 14).clamp(0, 1))


def line_drawing(x: Tensor, subject: Tensor) -> Tensor:
    """Ink on paper: outlines, hatching where it is dark, and a touch of the subject's own colour."""
    h, w = x.shape[-2:]
    ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    stripes = ((xs + ys) % 24 < 8).float()
    dark = 1 - blurred(x.mean(1, keepdim=True), 4)
    hatched = stripes * ((dark - 0.5) * 4).clamp(0, 1) * 0.45
    lines = ((edges(x, 1.2) - 0.04) * 9).clamp(0, 1) * (1 - 0.55 * subject)
    outline = ((blurred(edges(subject, 1.2), 1.5) - 0.04) * 7).clamp(0, 1)
    tint = torch.lerp(colour(PAPER).expand_as(x), saturated(x, 1.4).clamp(0, 1), 0.7 * subject)
    ink = torch.maximum(torch.maximum(lines, outline), hatched * (1 - subject))
    return torch.lerp(tint, colour(INK_BLUE).expand_as(x), ink)


def sticker(x: Tensor, subject: Tensor) -> Tensor:
    """Cut out and stuck on: the subject in few full colours with a thick white rim, on one flat pastel."""
    subject = ((blurred(subject, 4) - 0.3) * 6).clamp(0, 1)  # sparks are too small to be cut out
    flat = saturated((blurred(x, 1.5) * 3).round() / 3, 1.5).clamp(0, 1)
    tone = blurred(x, 3).mean((2, 3), keepdim=True)
    ground = 0.45 + 0.5 * saturated(tone, 2.2).clamp(0, 1)
    rim = ((blurred(F.max_pool2d(subject, 21, 1, 10), 1) - 0.5) * 8 + 0.5).clamp(0, 1)
    shade = blurred(F.pad(rim, (8, 0, 10, 0))[..., :-10, :-8], 3) * 0.3
    made = ground * (1 - shade)
    made = torch.lerp(made, torch.ones_like(x), rim)
    return torch.lerp(made, flat, subject)


def glowing(x: Tensor, subject: Tensor) -> Tensor:
    """Light in the dark: edges shine in the colours of the picture, the subject brightest, with a halo."""
    strong = saturated(x, 2.2).clamp(0, 1)
    strong = strong / strong.amax(1, keepdim=True).clamp(min=0.25)
    lit = (edges(x, 1.5) * 7).clamp(0, 1) * 0.8
    inner = subject * 0.75
    light = strong * torch.maximum(lit, inner)
    halo = blurred(light, 5) * 0.7 + blurred(light, 16) * 0.9
    return 1 - (1 - 0.9 * light) * (1 - halo.clamp(0, 1)) * (1 - colour((0.03, 0.01, 0.09)))


def gold(x: Tensor, subject: Tensor) -> Tensor:
    """Cast in gold before a dark wall: light becomes metal, edges catch it."""
    light = blurred(x.mean(1, keepdim=True), 1.5)
    shine = (edges(x, 2) * 4).clamp(0, 1)
    metal = torch.cat([light * 1.15 + 0.1, light * 0.85, light * 0.3], 1) + shine * colour((0.5, 0.4, 0.2))
    ripple = (torch.sin(light * 18) * 0.5 + 0.5) * 0.35
    cast = metal + ripple * colour((0.6, 0.45, 0.15))
    wall = metal * 0.35 + colour((0.06, 0.03, 0.02))
    return torch.lerp(wall, cast, 0.2 + 0.8 * subject)


LOOKS: dict[str, Look] = {
    "watercolour": watercolour,
    "line drawing": line_drawing,
    "flat sticker": sticker,
    "glowing": glowing,
    "gold": gold,
}
EXAMPLE_LOOK = "gold"  # for those who want to try the training of a style
BUNDLED_LOOKS = [look for look in LOOKS if look != EXAMPLE_LOOK]


# ------------------------------------------------------------------------------------------------------- the pictures
def draw_look(look: str, scenes: Sequence[Scene], seconds: Sequence[float], size: int = 64) -> Tensor:
    """A picture of each scene at that second of its 5 s, in one of the `LOOKS`. `(B, 3, size, size)` in [0, 1]"""
    made = []
    for scene, second in zip(scenes, seconds, strict=True):
        fine = size * FINE
        picture, subject = (
            draw([scene], 1, fine, fine, start=second)[:, :, 0] for draw in (render, subject_cover)
        )
        made.append(F.avg_pool2d(LOOKS[look](picture, subject).clamp(0, 1), FINE))
    return torch.cat(made)
