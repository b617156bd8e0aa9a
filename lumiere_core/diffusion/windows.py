"""Long clips from overlapping windows of frames, large ones from tiles of each frame, and clips that loop.

Temporal MultiDiffusion (Lumiere, section 3.2): at every denoising step the windows' predictions are reconciled by least
squares, which is a weighted mean per frame (Bar-Tal et al. 2302.08113). x0 is averaged first, then the sampler takes
one step for the whole clip. Windows never step on their own, so multistep samplers stay correct.

A loop works the same way: a window is a list of frames, and a list may continue from the last frame to the first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..limits import check
from .process import Denoise, Process

Each = Callable[[int, int], None]  # (window done, windows in all); raise in it to stop
Area = tuple[Tensor, Tensor]  # a tile: its rows and columns of the picture, int64
Part = tuple[Tensor, Tensor]  # a window: its frames `(w,)` int64, and its share `(w,)` of each of them


def triangle(window: int) -> Tensor:
    """Weights that fall towards a window's ends. An overlap of 2 is mixed 2/3 to 1/3, then 1/3 to 2/3. `(window,)`"""
    rise = torch.arange(1, window + 1, dtype=torch.float32)
    return torch.minimum(rise, rise.flip(0))


def flat(window: int) -> Tensor:
    """Every frame of a window counts alike, as in MultiDiffusion's own paper. `(window,)`"""
    return torch.ones(window)


WINDOW_WEIGHTS = {"triangle": triangle, "flat": flat}


def starts(num_frames: int, window: int, overlap: int) -> list[int]:
    """First frames of the windows: spread evenly, neighbours share at least `overlap`, the last ends on the last frame.

    A window longer than the clip is one window. Raises ValueError for a window below 1 or an overlap outside
    0 to window - 1.
    """
    check_windows(window, overlap)
    if window >= num_frames:
        return [0]
    count = 1 + math.ceil((num_frames - window) / (window - overlap))
    return [round(i * (num_frames - window) / (count - 1)) for i in range(count)]


def starts_around(num_frames: int, window: int, overlap: int) -> list[int]:
    """As `starts`, on a circle: the last windows continue with the first frames."""
    check_windows(window, overlap)
    if window >= num_frames:
        return [0]
    count = math.ceil(num_frames / (window - overlap))
    return [round(i * num_frames / count) for i in range(count)]


def check_windows(window: int, overlap: int) -> None:
    check("window", window)
    if not 0 <= overlap < window:
        raise ValueError(
            f"overlap is {overlap} frames, but it has to be from 0 to {window - 1}, below the window of "
            f"{window}. Try {min(2, window - 1)}."
        )


def shift_of(seed: int, sigma: float, num_frames: int) -> int:
    """How many frames a loop is rotated at a noise level. Equal arguments give equal results, for every sampler."""
    return random.Random(f"{seed} {sigma:.3g}").randrange(num_frames)


class Parts(Sequence):
    """The windows of a clip, each made when its turn comes: an overlap of 4095 in 8192 frames is 4097 of 4096 frames.

    places   where the windows begin, before they are rolled by `shift`
    weight   what each frame of a window counts, whole numbers `(window,)`
    """

    def __init__(self, places: list[int], weight: Tensor, num_frames: int, shift: int) -> None:
        self.places, self.weight, self.num_frames, self.shift = places, weight, num_frames, shift
        # What all windows together count at a frame: their beginnings convolved with the weight, on the clip's circle.
        begin = torch.zeros(num_frames, dtype=torch.float64)
        begin.index_add_(0, torch.tensor(places), torch.ones(len(places), dtype=torch.float64))
        spectrum = torch.fft.rfft(begin) * torch.fft.rfft(weight.double(), num_frames)
        self.total = torch.fft.irfft(spectrum, num_frames).round().float()  # (T,)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> Part:
        covered = (torch.arange(len(self.weight)) + self.places[i]) % self.num_frames
        return (covered + self.shift) % self.num_frames, self.weight / self.total[covered]


@dataclass(frozen=True)
class Windows:
    """How a clip is cut for a network. By default the network gets the whole clip.

    window   frames a call sees; None is all of them
    overlap  frames that neighbouring windows share at least
    weights  a name in WINDOW_WEIGHTS
    closed   windows continue from the end of the clip to its beginning
    roll     the seed of a loop: at every noise level the clip begins at another frame, so the network's first and last
             frame lie elsewhere each time. Implies `closed`.
    """

    window: int | None = None
    overlap: int = 0
    weights: str = "triangle"
    closed: bool = False
    roll: int | None = None

    def parts(self, num_frames: int, sigma: float = 0.0, multiple: int = 1) -> Sequence[Part]:
        """The windows of a clip at a noise level; the shares of a frame add up to 1. Raises ValueError.

        `closed` windows need a clip longer than the window: a single one would see its ends after all.

        A rolled clip in one window is filled up to `multiple` frames with its own beginning, at a share of 0, where a
        network would otherwise fill with stills.
        """
        if self.weights not in WINDOW_WEIGHTS:
            raise ValueError(
                f"weights is {self.weights!r}, but it has to be one of {', '.join(WINDOW_WEIGHTS)}."
            )
        window = num_frames if self.window is None else min(self.window, num_frames)
        around = self.closed or self.roll is not None
        # Checked as asked for; a window longer than the clip is the clip.
        check_windows(window if self.window is None else self.window, self.overlap)
        if self.closed and self.roll is None and 1 < num_frames <= window:
            raise ValueError(
                f"windows are to go on round the end, but the clip has {num_frames} frames and the window "
                f"{self.window or num_frames}. Choose a smaller window, or Seamless Loop in its place."
            )
        places = (starts_around if around else starts)(num_frames, window, min(self.overlap, window - 1))
        shift = 0 if self.roll is None else shift_of(self.roll, sigma, num_frames)
        parts = Parts(places, WINDOW_WEIGHTS[self.weights](window), num_frames, shift)
        if self.roll is not None and len(parts) == 1 and num_frames % multiple:
            more = multiple - num_frames % multiple
            (covered, share) = parts[0]
            filled = (torch.arange(num_frames + more) + shift) % num_frames
            return [(filled, torch.cat([share, torch.zeros(more)]))]
        return parts

    def borders(self, num_frames: int) -> list[int]:
        """The frames at which a window begins, or just after one has ended. Raises ValueError as `parts`."""
        edges = {int(frame) for frames, _ in self.parts(num_frames) for frame in (frames[0], frames[-1] + 1)}
        return sorted(edges - {0, num_frames})


def moments(num_frames: int, clip_frames: int, loop: bool = False) -> Tensor:
    """Where each frame lies in the clip that a model knows, from 0 to 1. `(1, 1, T, 1, 1)`, so windows cut it too.

    A clip longer than `clip_frames` is told slower; a loop goes there and back over the middle half, at the usual pace.
    """
    frame = torch.arange(num_frames, dtype=torch.float32)
    when = frame / max(num_frames, clip_frames)
    if loop:
        when = 0.5 - 0.25 * torch.cos(2 * math.pi * frame / num_frames)
    return when.view(1, 1, -1, 1, 1)


def free_noise(noise: Tensor, window: int, overlap: int, seed: int = 0) -> Tensor:
    """Initial noise whose later frames are the earlier ones in another order, so that windows agree on the scene.

    noise `(B, C, T, ...)`, returned as a copy; the first `window` frames stay. Where a window of `starts` reaches past
    the one before it, its new frames get the noise of the frames it left behind, shuffled (FreeNoise, 2310.15169,
    section 3.2): every window holds all of the first one's noise, and none of it twice. A clip no longer than the
    window stays as it is.
    """
    generator, out = torch.Generator().manual_seed(seed), noise.clone()
    for left, start in pairwise(starts(noise.shape[2], window, overlap)):
        order = left + torch.randperm(start - left, generator=generator)
        out[:, :, left + window : start + window] = out[:, :, order.to(out.device)]
    return out


def shared_free_noise(process: Process, noise: Tensor, window: int, overlap: int) -> Tensor:
    """`free_noise` whose frames share noise too: the first window's do, and the later ones are the same in another
    order, so any two different frames correlate alike. `(B, C, T, H, W)`, returned as a copy."""
    first = process.shared(noise[:, :, :window])
    return free_noise(torch.cat([first, noise[:, :, window:]], dim=2), window, overlap)


def cut(value: Any, frames: Tensor, num_frames: int) -> Any:
    """The frames of a window, where `value` is a clip tensor `(..., T, H, W)` of the whole length; else as it is.

    That is `(B, C, T, H, W)`, or with one axis more where a model takes several clips (VACE).
    """
    if torch.is_tensor(value) and value.ndim >= 5 and value.shape[-3] == num_frames:
        return value.index_select(-3, frames.to(value.device))
    return value


def fuse(
    call: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    parts: Sequence[Part],
    each: Each | None = None,
    axis: int = 2,
) -> Tensor:
    """Run `call(x_window, frames) -> x0_window` over all windows and reconcile. x `(B, C, T, ...)`.

    The result lives where x lives, so x may be a canvas in host memory while windows stream through a device. Windows
    that agree come back unchanged; a `call` that looks at single frames gives what it gives without windows. Another
    axis is cut in the same way.
    """
    fused = torch.zeros_like(x)
    for i, (covered, share) in enumerate(parts):
        covered = covered.to(x.device)
        part = call(x.index_select(axis, covered), covered)
        share = share.to(part).view(-1, *[1] * (part.ndim - 1 - axis))
        fused.index_add_(axis, covered, (part * share).to(fused))
        if each:
            each(i + 1, len(parts))
    return fused


def tiles_of(height: int, width: int, tile: int) -> tuple[Sequence[Part], Sequence[Part]]:
    """The rows and the columns of square tiles that cover a frame; neighbours share at least a quarter of a side."""
    rows, columns = (Windows(tile, tile // 4).parts(size) for size in (height, width))
    return rows, columns


def fuse_tiles(call: Callable[[Tensor, Area], Tensor], x: Tensor, tile: int) -> Tensor:
    """`fuse` in space: run `call(x_tile, (rows, columns)) -> x0_tile` over square tiles. x `(B, C, T, H, W)`.

    Tiles are windows over the rows of windows over the columns, so their shares fall towards each of their edges
    (MultiDiffusion, Bar-Tal et al. 2302.08113, section 4.1). A `call` that looks at single pixels does not notice them.
    """
    rows, columns = tiles_of(*x.shape[-2:], tile)

    def strip(part: Tensor, ys: Tensor) -> Tensor:
        return fuse(lambda one, xs: call(one, (ys, xs)), part, columns, axis=4)

    return fuse(strip, x, rows, axis=3)


def windowed(
    denoise: Denoise, windows: Windows, device: Any = None, each: Each | None = None, multiple: int = 1
) -> Denoise:
    """A denoiser that sees a clip as `windows` say. With a `device`, only one window at a time is moved there."""

    def move(value: Any) -> Any:
        return value.to(device) if device is not None and torch.is_tensor(value) else value

    def call(x: Tensor, sigma: Tensor, **condition: Any) -> Tensor:
        def one(part: Tensor, frames: Tensor) -> Tensor:
            conds = {k: move(cut(v, frames, x.shape[2])) for k, v in condition.items()}
            return denoise(move(part), move(sigma), **conds)

        level = float(sigma.flatten()[0]) if windows.roll is not None else 0.0
        return fuse(one, x, windows.parts(x.shape[2], level, multiple), each)

    return call
