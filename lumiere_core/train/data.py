"""A pool of drawn clips in memory. Training takes clips from it while others are replaced by new ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.text import Tokenizer
from .world.scenes import Scene, World, render

SECONDS = 5.0  # a whole clip


class Drawn(NamedTuple):
    """Clips `(n, 3, T, H, W)` in [0, 1], the second of each one's first frame `(n,)`, and for super-resolution the
    same clips small, `(n, 3, T, h, w)`."""

    clips: Tensor
    start: Tensor
    small: Tensor | None = None


DrawClips = Callable[[list[Scene], random.Random], Drawn]  # scenes of one subject and place -> their clips
# Whole small clips in [0, 1], their scenes and first seconds -> the clips as a model would have left them.
Spoil = Callable[[Tensor, list[Scene], Tensor, random.Random], Tensor]


def drawn_starts(scenes: list[Scene], num_frames: int, fps: float, rng: random.Random) -> Tensor:
    """The second at which each clip begins: at random, so that the clip ends within the 5 s. `(n,)`"""
    latest = max(0.0, SECONDS - num_frames / fps)
    return torch.tensor([round(rng.uniform(0, latest) * 16) / 16 for _ in scenes])


def draw_windows(num_frames: int, size: int, device: str = "cpu", fps: float = 16.0) -> DrawClips:
    """Windows of `num_frames` at a random time, whole pictures."""

    def draw(scenes: list[Scene], rng: random.Random) -> Drawn:
        start = drawn_starts(scenes, num_frames, fps, rng)
        return Drawn(render(scenes, num_frames, size, size, fps, start, device=device), start)

    return draw


def draw_pairs(
    num_frames: int, size: int, scale: int, crop: float, spoil: Spoil, device: str = "cpu", fps: float = 16.0
) -> DrawClips:
    """Square crops of that share of the side, large and `scale` times smaller: every second small clip exact, the
    others cut from what `spoil` makes of the whole one."""
    grid = size // scale  # pixels a side of the whole small clip; crops lie on them
    span = round(grid * crop)

    def draw(scenes: list[Scene], rng: random.Random) -> Drawn:
        start = drawn_starts(scenes, num_frames, fps, rng)
        corner = torch.tensor([[rng.randint(0, grid - span), rng.randint(0, grid - span)] for _ in scenes])
        boxes = torch.cat([corner, corner + span], dim=1) / grid
        pixels = span * scale
        clips = render(scenes, num_frames, pixels, pixels, fps, start, boxes, device)
        small = F.avg_pool3d(clips, (1, scale, scale))
        whole = render(scenes[1::2], num_frames, grid, grid, fps, start[1::2], device=device)
        spoilt = spoil(whole, scenes[1::2], start[1::2], rng)
        for i, (x, y) in enumerate(corner[1::2].tolist()):
            small[2 * i + 1] = spoilt[i, :, :, y : y + span, x : x + span]
        return Drawn(clips, start, small)

    return draw


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    clips  `(B, 3, T, H, W)` in [-1, 1]
    ids    `(B, rows)` word ids
    when   `(B, T)`, where in its 5 s each frame lies, in [0, 1]
    small  `(B, 3, T, h, w)` in [-1, 1], for super-resolution
    """

    clips: Tensor
    ids: Tensor
    when: Tensor
    small: Tensor | None = None


class Pool:
    """Clips as uint8 with the word ids of their captions.

    capacity  clips held
    group     clips drawn in one call; they share subject and place
    fps       of the clips that `draw` makes
    """

    def __init__(
        self,
        world: World,
        draw: DrawClips,
        tokenizer: Tokenizer,
        capacity: int,
        group: int,
        exclude: Sequence[tuple[str, str, str]] = (),
        seed: int = 0,
        device: str = "cpu",
        fps: float = 16.0,
    ) -> None:
        self.world, self.draw, self.tokenizer = world, draw, tokenizer
        self.capacity, self.group, self.exclude = capacity, group, frozenset(exclude)
        self.rng, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)
        self.device, self.fps = device, fps
        self.clips: Tensor | None = None
        self.small: Tensor | None = None
        self.ids = torch.zeros(capacity, tokenizer.rows, dtype=torch.long)
        self.start = torch.zeros(capacity)
        self.filled = self.next = 0

    def refresh(self) -> None:
        """Draw one group and put it in the place of the oldest."""
        first = self.world.scene(self.rng, self.exclude)
        scenes = [first] + [
            self.world.scene(self.rng, self.exclude, first.subject, first.place)
            for _ in range(self.group - 1)
        ]
        drawn = self.draw(scenes, self.rng)
        where = torch.arange(self.next, self.next + self.group) % self.capacity
        self.clips = self.put(self.clips, drawn.clips, where)
        if drawn.small is not None:
            self.small = self.put(self.small, drawn.small, where)
        self.start[where] = drawn.start
        self.ids[where] = self.tokenizer.batch([scene.caption for scene in scenes])
        self.next = (self.next + self.group) % self.capacity
        self.filled = min(self.capacity, self.filled + self.group)

    def put(self, held: Tensor | None, clips: Tensor, where: Tensor) -> Tensor:
        """Clips in [0, 1] as bytes into their places."""
        if held is None:
            held = torch.empty(self.capacity, *clips.shape[1:], dtype=torch.uint8, device=self.device)
        held[where.to(held.device)] = (clips * 255).round_().to(torch.uint8)
        return held

    def fill(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Draw until the pool is full."""
        while self.filled < self.capacity:
            self.refresh()
            if progress:
                progress(self.filled, self.capacity)

    def sample(self, batch: int) -> Batch:
        """So many clips at random, none mirrored: a mirrored windmill turns the wrong way."""
        which = torch.randint(self.filled, (batch,), generator=self.generator)
        clips, small = (self.taken(held, which) for held in (self.clips, self.small))
        ids = self.ids[which]
        when = (self.start[which, None] + torch.arange(clips.shape[2]) / self.fps) / SECONDS
        return Batch(clips, ids.to(clips.device), when.to(clips.device), small)

    def taken(self, held: Tensor | None, which: Tensor) -> Tensor | None:
        return None if held is None else held[which.to(held.device)].float() / 127.5 - 1
