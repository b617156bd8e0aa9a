"""Clips as frames that come and go, so that a minute of 4K needs no more memory than a second of it.

Tools work in passes over a clip: one measures it, at a small size, and a later one renders it, frame by frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..progress import Progress

ROWS_AT_A_TIME = 64  # of a frame that is turned into bytes


class Frames(Protocol):
    """A clip that can be gone through more than once, also by two passes at the same time.

    Each pass begins at the first frame and gives arrays `(H, W, 3)`: uint8, as files hold them, or float32 in [0, 1],
    as an IMAGE does; `as_float` and `as_bytes` take both. Nobody writes to them.
    """

    count: int | None  # exactly, or None where a file does not say it for sure
    height: int
    width: int
    fps: float

    def __iter__(self) -> Iterator[np.ndarray]: ...


@dataclass(frozen=True)
class TensorFrames:
    """An IMAGE `(T, H, W, 3)` in [0, 1] as frames: its own values in float32, without a copy where it has that type.

    Raises ValueError for another shape.
    """

    clip: Tensor
    fps: float = 16.0

    def __post_init__(self) -> None:
        if self.clip.ndim != 4 or self.clip.shape[-1] != 3 or not self.clip.numel():
            raise ValueError(
                f"the clip has the shape {tuple(self.clip.shape)}, but it has to be (T, H, W, 3), at least one frame "
                "in RGB. Drop an alpha channel, or repeat a grey one."
            )

    @property
    def count(self) -> int:
        return self.clip.shape[0]

    @property
    def height(self) -> int:
        return self.clip.shape[1]

    @property
    def width(self) -> int:
        return self.clip.shape[2]

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self.clip:
            yield frame.float().cpu().numpy()


@dataclass(frozen=True)
class Rendered:
    """A clip that is made anew, frame by frame, at every pass: what a tool gives back."""

    count: int
    height: int
    width: int
    fps: float
    render: Callable[[], Iterator[np.ndarray]]
    heard: int | None = (
        None  # the source's frame from which its sound goes with this; None where it does not fit
    )
    said: str = ""  # what was done, as the artist is told

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.render()


def as_float(frame: np.ndarray) -> np.ndarray:
    """A frame in float32, in [0, 1]."""
    return np.divide(frame, 255, dtype=np.float32) if frame.dtype == np.uint8 else frame


def as_bytes(frame: np.ndarray) -> np.ndarray:
    """A frame in uint8; values outside [0, 1] are clipped."""
    if frame.dtype == np.uint8:
        return frame
    out = np.empty(frame.shape, np.uint8)
    for top in range(0, len(frame), ROWS_AT_A_TIME):  # what is in between takes as much as the frame
        rows = slice(top, top + ROWS_AT_A_TIME)
        part = np.clip(frame[rows], 0, 1)
        part *= 255
        out[rows] = np.rint(part, out=part)
    return out


def told(
    frames: Iterable[np.ndarray], total: int | None, what: str, progress: Progress | None
) -> Iterator[np.ndarray]:
    """The frames as they come, each of them reported before it is handed on: a cancel is felt at the next one."""
    for done, frame in enumerate(frames, 1):
        if progress:
            progress(done, max(done, total or done + 1), what)
        yield frame


def frames_since(clip: Frames, first: int) -> Iterator[np.ndarray]:
    """The clip's frames from one on; a file is sought in rather than read from its beginning."""
    since = getattr(clip, "since", None)
    return since(first) if since and first > 0 else islice(clip, first, None)


def first_picture(clip: Frames) -> Tensor:
    """The clip's first frame, `(H, W, 3)` in [0, 1]."""
    return torch.from_numpy(as_float(next(iter(clip))))


def gathered(clip: Rendered, progress: Progress | None = None, what: str = "rendering") -> Tensor:
    """The clip as an IMAGE `(T, H, W, C)`, the only copy of it that is held."""
    out = None
    for i, frame in enumerate(told(clip, clip.count, what, progress)):
        out = torch.empty(clip.count, *frame.shape) if out is None else out
        out[i].copy_(torch.from_numpy(as_float(frame)))
    return out


def at_rate(count: int, fps: float, to_fps: float, most: int = 0, stride: int = 1) -> list[int]:
    """Which of `count` frames at `fps` to show at another rate, for as long as the clip lasts: the nearest in time.

    most: no more frames than that; 0 is all. stride: their number is 1 + k * stride, as a causal video VAE takes them.
    """
    frames = max(1, round(count * to_fps / fps))
    frames = min(frames, most) if most else frames
    frames = (frames - 1) // stride * stride + 1
    return [min(count - 1, int(i * fps / to_fps + 0.5)) for i in range(frames)]
