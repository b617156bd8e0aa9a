"""Loops per pixel, rendered from a file's 8 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lumiere_core.media.frames import as_bytes, as_float
from lumiere_core.photo.loops.periods import PixelLoop
from lumiere_core.photo.loops.pixelwise import pixels_looped


@dataclass
class Clip:
    """Frames `(T, H, W, 3)` in any type."""

    frames: np.ndarray
    fps: float = 16.0

    def __post_init__(self) -> None:
        self.count, self.height, self.width = self.frames.shape[:3]

    def __iter__(self):
        yield from self.frames


def test_half_precision_keeps_what_8_bits_hold():
    r = np.random.default_rng(0)
    frames, still = r.integers(0, 256, (12, 9, 14, 3), np.uint8), r.random((9, 14, 3), np.float32)
    cells = r.integers(0, 3, (3, 5)).astype(np.uint8)

    def made(frames, kinds):
        loop = PixelLoop(6, 12, kinds, cells * (len(kinds) > 1))
        shown = pixels_looped(Clip(frames), loop, lambda i, frame: frame, still)
        return np.stack([as_bytes(frame) for frame in shown])

    mixed = ((0, 0, 0), (6, 2, 2), (3, 4, 1))
    small, large = made(frames, mixed), made(as_float(frames), mixed)
    assert np.abs(small.astype(int) - large).max() <= 1 and (small != large).mean() < 0.1
    assert np.array_equal(made(frames, ((6, 2, 0),)), made(as_float(frames), ((6, 2, 0),)))
    assert set(map(bytes, made(frames, ((6, 2, 0),)))) <= set(map(bytes, frames)), (
        "unmixed frames are the clip's"
    )
