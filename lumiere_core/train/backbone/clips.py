"""A folder of clips with captions: `sea.mp4`, and what it shows in `sea.txt` beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ...media.frames import as_float, at_rate
from ...media.video import VideoFile
from ..style.examples import read_caption, squares

CLIP_ENDINGS = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v", ".gif")
ONE_IN = 10  # clips that are held out, to see what a run learns


@dataclass(frozen=True)
class Shape:
    """What a run learns from: so many frames at so many a second, squares of so many pixels a side."""

    frames: int
    fps: float
    size: int


@dataclass(frozen=True)
class Stretch:
    """A part of a clip as long as `shape.frames`: the frames that are shown, by their number in the file."""

    path: Path
    caption: str
    shown: tuple[int, ...]
    size: int

    def pixels(self) -> Tensor:
        """The middle squares of its frames, uint8 `(T, size, size, 3)`. Raises ValueError for a damaged file."""
        wanted, made = set(self.shown), {}
        for number, frame in enumerate(islice(VideoFile(self.path), self.shown[-1] + 1)):
            if number in wanted:
                square = squares([torch.from_numpy(as_float(frame))], self.size)[0]
                made[number] = (square * 127.5 + 127.5).round().to(torch.uint8).permute(1, 2, 0)
        return torch.stack([made[number] for number in self.shown])


Clips = Sequence[Sequence[Stretch]]  # each clip in its stretches


def stretches(path: Path, shape: Shape) -> list[Stretch]:
    """All whole stretches of a clip, one after another. Raises ValueError where it is too short, or has no caption."""
    video, words = VideoFile(path), path.with_suffix(".txt")
    if not words.is_file():
        raise ValueError(f"{path.name} has no caption. Write what it shows into {words.name} beside it.")
    caption = read_caption(words)
    if not caption:
        raise ValueError(f"{words.name} is empty. Write into it what {path.name} shows.")
    shown = at_rate(video.count, video.fps, shape.fps)
    count = len(shown) // shape.frames
    if not count:
        raise ValueError(
            f"{path.name} is too short: {len(shown)} frames at {shape.fps:g} fps, but {shape.frames} are learnt from "
            "at a time. Take it away, or choose fewer --frames or a higher --fps."
        )
    starts = range(0, count * shape.frames, shape.frames)
    return [Stretch(path, caption, tuple(shown[i : i + shape.frames]), shape.size) for i in starts]


def read_folder(folder: Path, shape: Shape) -> Clips:
    """The clips of a folder by name, each in stretches; every one is looked at. Raises ValueError naming a bad one."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}. Name one with clips and their captions.")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in CLIP_ENDINGS)
    if not paths:
        raise ValueError(
            f"there is no clip in {folder}. Put clips into it ({', '.join(CLIP_ENDINGS)}), each with a caption in a "
            "text file of the same name."
        )
    return [stretches(path, shape) for path in paths]


def held_apart(clips: Clips) -> set[int]:
    """Which clips are never trained on: one in ten, at least one; none where there is a single clip."""
    if len(clips) < 2:
        return set()
    return set(range(ONE_IN - 1, len(clips), ONE_IN)) or {len(clips) - 1}
