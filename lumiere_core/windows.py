"""Temporal MultiDiffusion: long clips from a network that sees a window of frames at a time (Lumiere, section 3.2).

At every denoising step the windows' predictions are reconciled by least squares, which is a weighted mean per frame
(Bar-Tal et al. 2302.08113). x0 is fused first and the sampler takes one step for the whole clip: windows never step on
their own, so multistep samplers stay right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .denoise import Denoise

Each = Callable[[int, int], None]  # (window done, windows in all); raise in it to stop


def starts(num_frames: int, window: int, overlap: int) -> list[int]:
    """First frames of the windows: spread evenly, neighbours share at least `overlap`, the last ends on the last frame.

    A window longer than the clip is one window. Raises ValueError for a window below 1 or an overlap outside
    0 to window - 1.
    """
    if window < 1:
        raise ValueError(f"window is {window} frames, but it has to be at least 1. Try 16.")
    if not 0 <= overlap < window:
        raise ValueError(
            f"overlap is {overlap} frames, but it has to be from 0 to {window - 1}, below the window of "
            f"{window}. Try {min(2, window - 1)}."
        )
    if window >= num_frames:
        return [0]
    count = 1 + math.ceil((num_frames - window) / (window - overlap))
    return [round(i * (num_frames - window) / (count - 1)) for i in range(count)]


def triangle(window: int) -> Tensor:
    """Weights that fall towards a window's ends: an overlap of 2 is mixed 2/3 to 1/3 and back. `(window,)`"""
    rise = torch.arange(1, window + 1, dtype=torch.float32)
    return torch.minimum(rise, rise.flip(0))


def shares(num_frames: int, window: int, overlap: int) -> list[tuple[int, Tensor]]:
    """Each window's first frame and its share `(w,)` of every frame it covers; the shares of a frame add up to 1."""
    places, window = starts(num_frames, window, overlap), min(window, num_frames)
    weights, total = triangle(window), torch.zeros(num_frames)
    for s in places:
        total[s : s + window] += weights
    return [(s, weights / total[s : s + window]) for s in places]


def cut(value: Any, start: int, stop: int, num_frames: int) -> Any:
    """The frames of a window, where `value` is a clip tensor `(B, C, T, H, W)` of the whole length; else as it is."""
    if torch.is_tensor(value) and value.ndim == 5 and value.shape[2] == num_frames:
        return value[:, :, start:stop]
    return value


def fuse(
    call: Callable[[Tensor, dict[str, Any]], Tensor],
    x: Tensor,
    condition: dict[str, Any],
    window: int,
    overlap: int,
    each: Each | None = None,
) -> Tensor:
    """Run `call(x_window, condition_window) -> x0_window` over all windows and reconcile. x `(B, C, T, ...)`.

    The result lives where x lives, so x may be a canvas in host memory while windows stream through a device. Windows
    that agree come back unchanged; a `call` that looks at single frames gives what it gives without windows.
    """
    frames = x.shape[2]
    parts = shares(frames, window, overlap)
    fused = torch.zeros_like(x)
    for i, (s, share) in enumerate(parts):
        stop = s + len(share)
        part = call(x[:, :, s:stop], {k: cut(v, s, stop, frames) for k, v in condition.items()})
        share = share.to(part).view(1, 1, -1, *[1] * (part.ndim - 3))
        fused[:, :, s:stop] += (part * share).to(fused.device)
        if each:
            each(i + 1, len(parts))
    return fused


def windowed(
    denoise: Denoise, window: int, overlap: int = 2, device: Any = None, each: Each | None = None
) -> Denoise:
    """A denoiser that sees `window` frames at a time. With a `device`, only one window at a time is moved there."""

    def move(value: Any) -> Any:
        return value.to(device) if device is not None and torch.is_tensor(value) else value

    def call(x: Tensor, sigma: Tensor, **condition: Any) -> Tensor:
        def one(part: Tensor, cond: dict[str, Any]) -> Tensor:
            return denoise(move(part), move(sigma), **{k: move(v) for k, v in cond.items()})

        return fuse(one, x, condition, window, overlap, each)

    return call
