"""Pictures to try things on, painted by code so that nothing has to be downloaded: photos and a shaky clip.

Each comes as frames `(T, H, W, 3)` in [0, 1], a mask `(H, W)` that is 1 on what should move, and frames per second. The
numbers in the drawing are colours in [0, 1], and places and sizes as shares of the picture. They are a matter of taste.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..media.pictures import opencv
from .brush import Brush, brushed_frames

EXAMPLE_FPS = 16.0  # the rate of Lumiere's clips
EXAMPLES = {
    "lake (photo)": "a mountain lake at dusk; the water is masked",
    "candle (photo)": "a candle at night; the flame and its glow are masked",
    "lake (clip)": "a lake from a shaky hand, in fading light; the water is masked",
    "coffee (photo)": "a cup of coffee by a window; the coffee is masked, for an overlay of steam",
}


def example(name: str) -> tuple[Tensor, Tensor, float]:
    """The frames, mask and rate of a row of EXAMPLES. Raises ValueError for another name."""
    if name not in EXAMPLES:
        raise ValueError(f"there is no example {name!r}. Choose one of {', '.join(EXAMPLES)}.")
    if name == "lake (clip)":
        return (*shaky_lake(768, 512, 64), EXAMPLE_FPS)
    photos = {"lake (photo)": (lake, 1536, 1024), "candle (photo)": (candle, 1024, 1024)}
    paint, width, height = photos.get(name, (coffee, 1280, 720))
    picture, moves = paint(width, height)
    return picture[None], moves, EXAMPLE_FPS


def texture(width: int, height: int, seed: int, roughness: float, stretch: float = 1.0) -> Tensor:
    """Fractal noise `(H, W)` of mean 0 and spread 1; its spectrum falls with that power. stretch > 1 draws it wide."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.fft.rfft2(torch.randn(height, width, generator=generator))
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None] * stretch
    frequency = (down.square() + across.square()).sqrt().clamp(min=1 / max(width, height))
    noise = torch.fft.irfft2(waves / frequency**roughness, (height, width))
    return (noise - noise.mean()) / noise.std()


def shaded(stops: list[tuple[float, tuple[float, float, float]]], where: Tensor) -> Tensor:
    """Colours `(..., 3)` on a ramp of (place, colour) stops."""
    places = np.array([place for place, _ in stops])
    channels = [np.interp(where.numpy(), places, [colour[c] for _, colour in stops]) for c in range(3)]
    return torch.from_numpy(np.stack(channels, -1)).float()


def over(below: Tensor, colour: Tensor, cover: Tensor) -> Tensor:
    """A layer laid over a picture; cover `(H, W)` in [0, 1]."""
    return below + (colour - below) * cover.clamp(0, 1)[..., None]


def lake(width: int, height: int, seed: int = 4) -> tuple[Tensor, Tensor]:
    """Mountains over a lake at dusk, and the mask of its water."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(0, 1, width)[None].expand(height, width)
    shore = 0.56
    sky = shaded([(0, (0.16, 0.22, 0.42)), (0.3, (0.55, 0.45, 0.58)), (0.5, (0.98, 0.68, 0.45))], y)
    sun = ((x - 0.62) ** 2 * (width / height) ** 2 + (y - 0.45) ** 2).sqrt()
    sky = sky + torch.tensor([0.9, 0.5, 0.2]) * torch.exp(-(sun / 0.14))[..., None]
    clouds = ((texture(width, height, seed, 1.7, 2.5) - 0.2) / 1.6).clamp(0, 1) * (1 - 1.4 * y).clamp(0, 1)
    picture = over(sky, shaded([(0, (0.75, 0.6, 0.66)), (0.5, (1.0, 0.8, 0.62))], y), clouds)
    for depth, (base, tall, colour) in enumerate(
        [(0.46, 0.16, (0.45, 0.38, 0.5)), (0.51, 0.12, (0.27, 0.25, 0.36)), (0.55, 0.08, (0.11, 0.13, 0.17))]
    ):
        ridge = base - tall * ridgeline(width, seed + 10 + depth)[None]
        rock = torch.tensor(colour) * (1 + 0.12 * texture(width, height, seed + 20 + depth, 1.2))[..., None]
        picture = over(picture, rock, (y - ridge) * height)
    # The water mirrors what stands over it, broken by flat waves.
    waves = texture(width, height, seed + 30, 1.25, 5.0)
    depth = ((y - shore) / (1 - shore)).clamp(0, 1)
    mirrored = (2 * shore - y + 0.012 * (0.3 + depth) * waves).clamp(0, shore - 0.002)
    rows, columns = (mirrored * (height - 1)).long(), (x + 0.004 * waves).clamp(0, 1) * (width - 1)
    water = picture[rows, columns.long()] * torch.tensor([0.72, 0.78, 0.9])
    water = water * (1 - 0.45 * depth)[..., None] + (0.10 * depth * waves.clamp(min=0))[..., None]
    moves = (y > shore).float()
    picture = over(picture, water, moves)
    # A jetty stands still in the moving water.
    path = ((x - 0.2 + 0.10 * depth).abs() < 0.015 + 0.05 * depth) & (depth > 0.15)
    planks = 0.75 + 0.25 * torch.sign(torch.sin(90 / (1.15 - depth)))
    wood = (
        torch.tensor([0.30, 0.22, 0.18]) * (planks + 0.1 * texture(width, height, seed + 40, 1.0))[..., None]
    )
    picture = over(picture, wood, path.float())
    return picture.clamp(0, 1).contiguous(), moves * (~path).float()


def ridgeline(width: int, seed: int) -> Tensor:
    """Heights `(W,)` from 0 to 1 of a range of mountains."""
    line = texture(width, 8, seed, 1.35)[0]
    return (line - line.min()) / (line.max() - line.min())


def candle(width: int, height: int) -> tuple[Tensor, Tensor]:
    """A candle on a table at night, and the mask of its flame and glow."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = (torch.linspace(-0.5, 0.5, width)[None] * width / height).expand(height, width)
    wall = torch.tensor([0.10, 0.075, 0.07]) * (1 + 0.25 * texture(width, height, 1, 1.5))[..., None]
    glow = torch.exp(-((x.square() + (y - 0.36) ** 2).sqrt() / 0.22))
    picture = wall + torch.tensor([0.75, 0.38, 0.12]) * glow[..., None]
    table = torch.tensor([0.34, 0.20, 0.12]) * (0.5 + 0.16 * texture(width, height, 2, 1.2, 8.0))[..., None]
    near = torch.exp(-(x.square() / 0.09 + (y - 0.86) ** 2 / 0.03))
    picture = over(picture, table * (0.35 + 1.5 * near)[..., None], (y - 0.84) * height / 3)
    wax = torch.tensor([0.93, 0.80, 0.62]) * (0.25 + 0.9 * torch.exp(-(y - 0.5) / 0.16))[..., None]
    rounded = (1 - (x / 0.075).square()).clamp(min=0).sqrt()
    body = ((0.075 - x.abs()) * height / 2).clamp(0, 1) * ((y - 0.5) * height / 2).clamp(0, 1) * (y < 0.9)
    picture = over(picture, wax * (0.45 + 0.55 * rounded)[..., None], body)
    up = ((0.49 - y) / 0.24).clamp(0, 1)  # along the flame, from the wick
    wide = 0.042 * (up + 0.03).sqrt() * (1 - up).clamp(min=0) ** 0.75 * 1.9
    inside = (1 - (x / wide.clamp(min=1e-4)).abs()).clamp(0, 1) * ((y < 0.492) & (y > 0.25))
    flame = shaded([(0, (1.0, 0.55, 0.15)), (0.35, (1.0, 0.82, 0.42)), (1, (1.0, 0.98, 0.88))], inside)
    picture = over(picture, flame, (inside * 4).clamp(0, 1))
    wick = (x.abs() < 0.004) & (y > 0.455) & (y < 0.505)
    picture = over(picture, torch.tensor([0.10, 0.06, 0.05]), wick.float())
    moves = ((x / 0.32).square() + ((y - 0.30) / 0.26).square() < 1) & (y < 0.49) & ~wick
    return picture.clamp(0, 1).contiguous(), moves.float()


def coffee(width: int, height: int) -> tuple[Tensor, Tensor]:
    """A cup of coffee on a table by a window in the evening, and the mask of the coffee."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(-0.5, 0.5, width)[None].expand(height, width) * (width / height)
    wall = shaded([(0, (0.20, 0.17, 0.16)), (0.65, (0.30, 0.24, 0.20))], y)
    wall = wall * (1 + 0.06 * texture(width, height, 3, 1.4))[..., None]
    lamp = torch.exp(-((x - 0.62) / 0.45).square() - ((y - 0.2) / 0.35).square())
    picture = wall + torch.tensor([0.5, 0.42, 0.3]) * lamp[..., None]
    dusk = shaded([(0, (0.25, 0.35, 0.5)), (0.5, (0.75, 0.6, 0.5))], y)
    dusk = dusk * (1 + 0.1 * texture(width, height, 8, 1.6))[..., None]
    bars = ((x + 0.55).abs() < 0.011) | ((y - 0.25).abs() < 0.008)
    picture = over(picture, dusk, ((x > -0.75) & (x < -0.35) & (y < 0.5) & ~bars).float())
    shine = 0.6 + 0.7 * torch.exp(-((x - 0.18) / 0.7).square())
    table = torch.tensor([0.36, 0.22, 0.13]) * (1 + 0.25 * texture(width, height, 5, 1.3, 14.0))[..., None]
    picture = over(picture, table * shine[..., None], (y - 0.68) * height / 2)
    shadow = 0.6 * torch.exp(-((x + 0.05) / 0.25).square() - ((y - 0.85) / 0.03).square())
    picture = over(picture, torch.tensor([0.10, 0.06, 0.04]), shadow)
    china = torch.tensor([0.85, 0.82, 0.78])
    wide = 0.17 * (1 - 0.35 * ((y - 0.62) / 0.22).clamp(0, 1).square())
    round_ = 0.35 + 0.6 * torch.exp(-((x - 0.07) / 0.08).square())
    bottom = 0.83 + 0.012 * (1 - (x / 0.11).square()).clamp(min=0).sqrt()  # a rim seen from above
    body = ((wide - x.abs()) * height / 2).clamp(0, 1) * (y > 0.62) * ((bottom - y) * height / 2).clamp(0, 1)
    picture = over(picture, china * round_[..., None], body)
    rim, inside = (
        (x / across).square() + ((y - middle) / down).square()
        for across, down, middle in ((0.17, 0.035, 0.62), (0.155, 0.029, 0.623))
    )
    picture = over(picture, 0.8 * china, (1 - rim) * height / 12)
    brew = torch.tensor([0.12, 0.06, 0.03]) * (1 + 0.5 * texture(width, height, 9, 1.5))[..., None]
    picture = over(picture, brew, (1 - inside) * height / 12)
    return picture.clamp(0, 1).contiguous(), (inside < 1).float()


def shaky_lake(width: int, height: int, frames: int) -> tuple[Tensor, Tensor]:
    """The lake from a hand-held camera: rippling water, a shaking frame, light that fades to blue."""
    cv2 = opencv()
    room = 16
    picture, moves = lake(width + 2 * room, height + 2 * room, seed=7)
    moving = brushed_frames(picture, moves, Brush("ripple", motion=2.5), frames + 9, EXAMPLE_FPS)
    clip = torch.empty(frames, height, width, 3)
    inner = (slice(room, room + height), slice(room, room + width))
    for i, (to, frame) in enumerate(zip(clip, moving, strict=False)):
        t = i / EXAMPLE_FPS
        shift = (
            5 * math.sin(1.7 * t) + 2 * math.sin(7.1 * t + 1),
            4 * math.sin(2.3 * t) + 2 * math.sin(5.3 * t),
        )
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 0.35 * math.sin(1.3 * t), 1.0)
        turn[:, 2] += shift
        shaken = cv2.warpAffine(frame, turn, frame.shape[1::-1], flags=cv2.INTER_CUBIC)
        fade = 1 - torch.tensor([0.25, 0.16, 0.04]) * i / frames
        to.copy_((torch.from_numpy(shaken)[inner] * fade).clamp(0, 1))
    return clip, moves[inner].contiguous()
