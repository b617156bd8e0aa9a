"""What of a clip is known, drawn at random for training `<C, M>` (Lumiere, section 4.1): every task of `condition`.

M is 1 where a pixel is known. Two clips in five know nothing: the model stays one that makes clips from text.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

Shape = tuple[int, int, int]  # T, H, W


def nothing(rng: random.Random, shape: Shape) -> Tensor:
    return torch.zeros(shape)


def some_frames(rng: random.Random, shape: Shape) -> Tensor:
    """The first frame; the first and the last; or one to four anywhere."""
    last = shape[0] - 1
    anywhere = [rng.randint(0, last) for _ in range(rng.randint(1, 4))]
    known = torch.zeros(shape)
    known[rng.choice([[0], [0], [0, last], anywhere])] = 1
    return known


def one_end(rng: random.Random, shape: Shape) -> Tensor:
    """Up to half of the clip, at its beginning (go on with it) or its end."""
    known = torch.zeros(shape)
    known[: rng.randint(1, max(1, shape[0] // 2))] = 1
    return known if rng.random() < 0.7 else known.flip(0)


def box(rng: random.Random, shape: Shape) -> Tensor:
    """1 inside a box of a fifth to two thirds of the sides, which stays or travels."""
    frames, height, width = shape
    sides = rng.uniform(0.2, 0.66), rng.uniform(0.2, 0.66)
    begin = [rng.uniform(0, 1 - side) for side in sides]
    end = begin if rng.random() < 0.5 else [rng.uniform(0, 1 - side) for side in sides]
    time = torch.linspace(0, 1, frames).view(-1, 1)
    inside = []
    for length, side, a, b in zip((height, width), sides, begin, end, strict=True):
        start = torch.lerp(torch.tensor(a), torch.tensor(b), time)  # (T, 1)
        place = (torch.arange(length) + 0.5) / length
        inside.append((place >= start) & (place < start + side))  # (T, length)
    return (inside[0][:, :, None] & inside[1][:, None, :]).float()


def strokes(rng: random.Random, shape: Shape) -> Tensor:
    """1 along one to three thick straight strokes, which stay or drift."""
    frames, height, width = shape
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    painted, time = torch.zeros(shape), torch.linspace(0, 1, frames).view(-1, 1, 1)
    for _ in range(rng.randint(1, 3)):
        ax, ay, bx, by = (rng.random() for _ in range(4))
        drift = [rng.uniform(-0.4, 0.4) if rng.random() < 0.5 else 0.0 for _ in range(2)]
        px, py = x - ax - drift[0] * time, y - ay - drift[1] * time  # (T, H, W)
        dx, dy = bx - ax, by - ay
        along = ((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-6)).clamp(0, 1)
        near = (px - along * dx) ** 2 + (py - along * dy) ** 2 < rng.uniform(0.05, 0.15) ** 2
        painted = torch.maximum(painted, near.float())
    return painted


def painted_out(rng: random.Random, shape: Shape) -> Tensor:
    """Inpainting: all but a box or strokes."""
    return 1 - rng.choice([box, strokes])(rng, shape)


def inner(rng: random.Random, shape: Shape) -> Tensor:
    """Outpainting: all but a border of up to a third of the side, on one side or on all."""
    known = torch.ones(shape)
    sides = [0, 1, 2, 3] if rng.random() < 0.5 else [rng.randrange(4)]
    for side in sides:
        across = known if side < 2 else known.transpose(1, 2)  # a view: what is set in it is set in `known`
        border = rng.randint(1, max(1, across.shape[1] // 3))
        across[:, slice(border) if side % 2 else slice(-border, None)] = 0
    return known


def cinemagraph(rng: random.Random, shape: Shape) -> Tensor:
    """All of frame 0, and later all but a region that stays where it is."""
    still = (1, *shape[1:])
    known = (1 - rng.choice([box, strokes])(rng, still)).expand(shape).clone()
    known[0] = 1
    return known


# (share of clips, what is known). Nothing at all for 40 %: text to video stays the main task.
KINDS: tuple[tuple[float, Callable[[random.Random, Shape], Tensor]], ...] = (
    (0.40, nothing),
    (0.22, some_frames),
    (0.06, one_end),
    (0.14, painted_out),
    (0.08, inner),
    (0.10, cinemagraph),
)


def drawn_condition(clips: Tensor, generator: torch.Generator) -> Tensor:
    """<C, M> of each clip, by a task drawn at random. `(B, 3, T, H, W) in [-1, 1] -> (B, 4, T, H, W)`"""
    rng = random.Random(int(torch.randint(2**31, (), generator=generator, device=generator.device)))
    shares, kinds = zip(*KINDS, strict=True)
    shape = tuple(clips.shape[2:])
    known = torch.stack([kind(rng, shape) for kind in rng.choices(kinds, shares, k=len(clips))])
    known = known[:, None].to(clips)  # (B, 1, T, H, W)
    return torch.cat([clips * known, known], dim=1)
