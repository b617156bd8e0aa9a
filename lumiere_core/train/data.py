"""A pool of drawn clips in memory. Training takes clips from it while others are replaced by new ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..model.text import Tokenizer
from .world.scenes import Scene, World, render

SECONDS = 5.0  # a whole clip

DrawClips = Callable[
    [list[Scene], random.Random], tuple[Tensor, Tensor]
]  # scenes of one subject and place -> (n, 3, T, H, W) in [0, 1], and the second of each clip's first frame (n,)


def draw_windows(
    num_frames: int, size: int, device: str = "cpu", crop: float = 1.0, fps: float = 16.0
) -> DrawClips:
    """Windows of `num_frames` at a random time, whole pictures or random square crops of that share of the side."""

    def draw(scenes: list[Scene], rng: random.Random) -> tuple[Tensor, Tensor]:
        latest = max(0.0, SECONDS - num_frames / fps)
        start = torch.tensor([round(rng.uniform(0, latest) * 16) / 16 for _ in scenes])
        corner = torch.tensor([[rng.uniform(0, 1 - crop), rng.uniform(0, 1 - crop)] for _ in scenes])
        boxes = torch.cat([corner, corner + crop], dim=1)
        pixels = round(size * crop)
        return render(scenes, num_frames, pixels, pixels, fps, start, boxes, device), start

    return draw


class Pool:
    """Clips as uint8 with the word ids of their captions and of their mirrored captions.

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
        self.ids = torch.zeros(capacity, tokenizer.rows, dtype=torch.long)
        self.mirrored = torch.zeros_like(self.ids)
        self.start = torch.zeros(capacity)
        self.may_mirror = torch.zeros(capacity, dtype=torch.bool)
        self.filled = self.next = 0

    def refresh(self) -> None:
        """Draw one group and put it in the place of the oldest."""
        first = self.world.scene(self.rng, self.exclude)
        scenes = [first] + [
            self.world.scene(self.rng, self.exclude, first.subject, first.place)
            for _ in range(self.group - 1)
        ]
        clips, start = self.draw(scenes, self.rng)
        clips = (clips * 255).round_().to(torch.uint8)
        if self.clips is None:
            self.clips = torch.empty(self.capacity, *clips.shape[1:], dtype=torch.uint8, device=self.device)
        where = torch.arange(self.next, self.next + self.group) % self.capacity
        self.clips[where.to(self.clips.device)] = clips
        self.start[where] = start
        self.ids[where] = self.tokenizer.batch([scene.caption for scene in scenes])
        self.mirrored[where] = self.tokenizer.batch([scene.flipped().caption for scene in scenes])
        # A mirrored picture must not bring an excluded combination in by the back door.
        self.may_mirror[where] = torch.tensor(
            [scene.flipped().combination not in self.exclude for scene in scenes]
        )
        self.next = (self.next + self.group) % self.capacity
        self.filled = min(self.capacity, self.filled + self.group)

    def fill(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Draw until the pool is full."""
        while self.filled < self.capacity:
            self.refresh()
            if progress:
                progress(self.filled, self.capacity)

    def sample(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Clips `(batch, 3, T, H, W)` in [-1, 1], word ids `(batch, rows)`, and where in the 5 s each frame lies
        `(batch, T)` in [0, 1]; about half are mirrored, words too."""
        which = torch.randint(self.filled, (batch,), generator=self.generator)
        mirror = (torch.rand(batch, generator=self.generator) < 0.5) & self.may_mirror[which]
        clips = self.clips[which.to(self.clips.device)].float() / 127.5 - 1
        clips = torch.where(mirror.to(clips.device)[:, None, None, None, None], clips.flip(-1), clips)
        ids = torch.where(mirror[:, None], self.mirrored[which], self.ids[which])
        when = (self.start[which, None] + torch.arange(clips.shape[2]) / self.fps) / SECONDS
        return clips, ids.to(clips.device), when.to(clips.device)
