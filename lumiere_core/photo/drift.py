"""Takes slow changes of light and colour out of a clip, where pixels that stay in place show that there are any.

A change is a gain of each channel, or a gain and an offset, whichever the pixels call for. It is found by the pixels
that agree, so neither somebody who walks in nor a lamp in the mask is taken for the light.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..limits import check
from ..media.frames import Frames, Rendered, as_float, told
from ..media.pictures import opencv
from ..progress import Progress
from .steady import BETTER, LOST, Recolouring, Tripod, looked_through, recoloured, slowly, tripod_of

LEVEL_SIDE = (
    128  # pixels of the long side: each is the mean of 100 of a 720p frame, and has a tenth of their noise
)
SLOW = 4.0  # frames: of a change over 32, which a camera's exposure takes, 4 % is left; of 2 flickers a second all
CLEAR = 0.03, 0.97  # what is darker or lighter may be cut off, and says nothing of the light
AGREE = 0.02  # 5 levels of 255: a pixel farther from the others' gain shows something else
FEWEST_AGREE = 0.2  # of the pixels; in a frame where fewer agree nothing is known of the light
TURNED = 0.5, 2.0  # gains that light and exposure have: an f-stop is 1.37 in sRGB, so 2.2 stops either way
CLOSER = (
    0.75  # of the distance from the still is left by a change that is one: a lamp in a corner leaves more
)
TOO_SMALL = 1 / 255  # a middle pixel that is nearer than that has no drift to take out
PIXELS = 2048  # of each half are measured: 25 KB a frame
CRUSHED = 0.001  # of the pixels may be cut off by a change; one that cuts off more took something else for the light


@dataclass(frozen=True)
class Drift:
    """What is done to the colours of each frame, and what is said of it."""

    changes: Sequence[
        Recolouring | None
    ]  # gain and offset of each channel, (3,); None to leave them as they are
    said: str


def match_drift(
    clip: Frames,
    moves: Tensor | None = None,
    still: Tensor | None = None,
    strength: float = 1.0,
    progress: Progress | None = None,
) -> Rendered:
    """The clip without slow drift of colour and light from `still` `(H, W, 3)` (the first frame, bit for bit the same).

    Measured outside the mask by the pixels that stay in place, also where the camera does not, and changed in whole
    frames; flicker stays. Bit for bit the clip where that brings it no closer to the still; `said` tells. strength in
    [0, 1].
    """
    check("strength", strength)
    tripod = tripod_of(clip, moves, still)
    seen, small = [], []
    for frame in told(clip, clip.count, "measuring", progress):
        frame = as_float(frame)
        seen.append(tripod.follow(frame))
        small.append(reduced(frame))
    reference = 0 if still is None else None
    drift = drift_of(tripod, small, tripod.path(seen, reference, progress).places, reference, progress)

    def render() -> Iterator[np.ndarray]:
        for frame, change in zip(clip, drift.changes, strict=True):
            yield (
                frame
                if change is None or not strength
                else recoloured(as_float(frame), *partly(change, strength))
            )

    return Rendered(len(seen), clip.height, clip.width, clip.fps, render, said=drift.said)


def partly(change: Recolouring, share: float) -> Recolouring:
    """A share of a change, 0 to 1."""
    gain, offset = change
    return 1 + share * (gain - 1), share * offset


def reduced(picture: np.ndarray) -> np.ndarray:
    """A picture `(H, W)` or `(H, W, 3)` whose long side is at most LEVEL_SIDE, in half precision."""
    height, width = picture.shape[:2]
    scale = min(1.0, LEVEL_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shrunk = opencv().resize(
        np.ascontiguousarray(picture, np.float32), size, interpolation=opencv().INTER_AREA
    )
    return shrunk.astype(np.float16)


def drift_of(
    tripod: Tripod,
    small: Sequence[np.ndarray],
    places: Sequence[np.ndarray | None],
    reference: int | None,
    progress: Progress | None = None,
) -> Drift:
    """How the light of each frame, `reduced`, differs from the tripod's still; the reference frame is left as it is.

    The light is fitted on half of the blocks of the picture and judged on the other half, and so the other way round.
    """
    still = reduced(tripod.still).astype(np.float32)
    known = reduced(tripod.known.astype(np.float32)) > 0.999
    known &= ((still > CLEAR[0]) & (still < CLEAR[1])).all(-1)
    down, across = np.indices(known.shape) // 8
    folds = [np.nonzero(known & ((down + across) % 2 == k)) for k in (0, 1)]
    folds = [tuple(axis[:: 1 + len(axis) // PIXELS] for axis in fold) for fold in folds]
    pixels = [(still[fold], []) for fold in folds]
    for i, (picture, place) in enumerate(zip(small, places, strict=True), 1):
        frame = _in_place(picture, place, tripod.still.shape)
        for (_, seen), fold in zip(pixels, folds, strict=True):
            seen.append(frame[fold].astype(np.float16))
        if progress:
            progress(i, len(small), "measuring light")
    alone = Drift([None] * len(small), "colour drift: none")
    if min(len(p) for p, _ in pixels) < 16:
        return Drift(alone.changes, "colour drift: left alone, nothing to measure outside the mask")

    before = _left(pixels, [None, None], reference)
    if before < TOO_SMALL:
        return alone
    best, chosen, answered = before * CLOSER, None, 0
    for offsets in (False, True):
        lights = [_lights(*part, offsets, progress) for part in pixels]
        found = int((~np.isnan(np.stack([light[:, 0] for light in lights]))).all(0).sum())
        answered = max(answered, found)
        if found < (1 - LOST) * len(small):
            continue
        left = _left(pixels, [_changes(light, reference) for light in lights], reference)
        if left < best:
            both = [np.concatenate(parts) for parts in zip(*(part[1] for part in pixels), strict=True)]
            light = _lights(np.concatenate([part[0] for part in pixels]), both, offsets, progress)
            changes = _changes(light, reference)
            if _cut_off(small, changes) < CRUSHED:
                best, chosen = left * BETTER, changes
                after = left
    if answered < (1 - LOST) * len(small):
        what = f"left alone, only {answered} of {len(small)} frames show what the still shows"
        return Drift(alone.changes, f"colour drift: {what}")
    if chosen is None:
        return alone
    gains = np.stack([gain for gain, _ in chosen])
    off = f"off by {255 * before:.1f} -> {255 * after:.1f} of 255"
    said = f"colour drift: gain {gains.min():.2f} to {gains.max():.2f}, {off}"
    return Drift([None if i == reference else change for i, change in enumerate(chosen)], said)


def _in_place(picture: np.ndarray, place: np.ndarray | None, size: tuple[int, ...]) -> np.ndarray:
    """A reduced frame from where the still was taken; NaN where it shows nothing of it."""
    out = picture.astype(np.float32)
    if place is None:
        return out
    shrink = np.diag([out.shape[1] / size[1], out.shape[0] / size[0], 1.0])
    out, there = looked_through(out, shrink @ place @ np.linalg.inv(shrink))
    out[~there] = np.nan
    return out


def _lights(
    still: np.ndarray, frames: Sequence[np.ndarray], offsets: bool, progress: Progress | None = None
) -> np.ndarray:
    """The light of each frame, of pixels `(N, 3)`: gains and offsets `(T, 6)`; NaN where too few pixels agree."""
    out = np.full((len(frames), 6), np.nan)
    before = np.array([1.0, 1, 1, 0, 0, 0])
    for i, (to, frame) in enumerate(zip(out, frames, strict=True), 1):
        if progress:
            progress(i, len(frames), "measuring light")
        frame = frame.astype(np.float32)
        clear = ((frame > CLEAR[0]) & (frame < CLEAR[1])).all(-1)  # not NaN
        found = _light(still[clear], frame[clear], before, offsets) if clear.sum() >= 16 else None
        if found is not None:
            to[:] = before = found
    return out


def _light(x: np.ndarray, y: np.ndarray, before: np.ndarray, offsets: bool) -> np.ndarray | None:
    """Gains and offsets `(6,)` with `y = gain x + offset` for the pixels `(N, 3)` that agree best; None for too few.

    By sampling: of what one or two pixels say, and what the frame before said, most pixels follow one. Then by least
    squares, pixels that fit worse counting less (Cauchy's weights).
    """
    rng = np.random.default_rng(len(x))
    i, j = rng.integers(len(x), size=(2, 80))
    if offsets:
        apart = x[i] - x[j]
        gain = np.where(np.abs(apart) > 0.1, (y[i] - y[j]) / np.where(np.abs(apart) > 0.1, apart, 1), 1)
    else:
        gain = y[i] / x[i]
    gain = gain.clip(*TURNED)
    guesses = np.hstack([gain, y[i] - gain * x[i] if offsets else np.zeros((80, 3))])
    guesses = np.vstack([before, [1, 1, 1, 0, 0, 0], guesses])  # (82, 6)
    some = slice(None, None, max(1, len(x) // 1000))
    away = np.abs(y[some] - x[some] * guesses[:, None, :3] - guesses[:, None, 3:]).max(-1)  # (82, n)
    light = guesses[(away < AGREE).sum(1).argmax()].copy()
    for _ in range(5):
        away = np.abs(y - x * light[:3] - light[3:]).max(-1)
        weight = (
            (away < 2 * AGREE) / (1 + np.square(away / max(1.5 * np.median(away[away < AGREE]), 1e-3)))
            if (away < AGREE).any()
            else np.zeros(len(x))
        )
        total = weight.sum()
        if (away < AGREE).mean() < FEWEST_AGREE or total < 8:
            return None
        mean_x, mean_y = (weight @ x / total, weight @ y / total) if offsets else (np.zeros(3), np.zeros(3))
        spread = weight @ np.square(x - mean_x)
        gain = np.where(
            spread > 1e-4 * total, (weight @ ((x - mean_x) * (y - mean_y))) / spread.clip(1e-9), 1
        )
        light = np.concatenate([gain, mean_y - gain * mean_x])
    return light


def _changes(lights: np.ndarray, reference: int | None) -> list[Recolouring]:
    """What takes the slow part of the lights `(T, 6)` out, relative to the reference frame's own."""
    there, t = ~np.isnan(lights[:, 0]), np.arange(len(lights))
    full = np.stack([np.interp(t, t[there], column[there]) for column in lights.T], 1)
    full = slowly(full, SLOW)
    gain, offset = full[:, :3].clip(*TURNED), full[:, 3:]
    wanted, base = (gain[reference], offset[reference]) if reference is not None else (1.0, 0.0)
    return [(wanted / g, base - wanted / g * o) for g, o in zip(gain, offset, strict=True)]


def _left(pixels: list, changes: list, reference: int | None) -> float:
    """How far the middle pixel is from the still, mean over the frames; each half is judged by the other's light."""
    away = []
    for (still, frames), other in zip(pixels, reversed(changes), strict=True):
        for i, frame in enumerate(frames):
            gain, offset = other[i] if other is not None else (1.0, 0.0)
            if i != reference:
                away.append(np.nanmedian(np.abs(frame.astype(np.float32) * gain + offset - still).max(-1)))
    return float(np.nanmean(away)) if away else 0.0


def _cut_off(small: Sequence[np.ndarray], changes: Sequence[Recolouring]) -> float:
    """The largest share of a frame's pixels that the changes push below black."""
    share = 0.0
    for picture, (gain, offset) in zip(small, changes, strict=True):
        picture = picture.astype(np.float32)
        share = max(
            share, float(((picture * gain + offset < -0.5 / 255) & (picture > 1 / 255)).any(-1).mean())
        )
    return share
