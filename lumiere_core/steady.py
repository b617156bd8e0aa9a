"""A shaky, drifting clip made steady: camera motion and slow changes of exposure are taken out.

A clip is float32 `(T, H, W, 3)` in [0, 1]; a mask is float32 `(H, W)` in [0, 1], and 1 is what moves on purpose, which
is therefore not looked at. Inputs are never written to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from .opencv import grey, opencv
from .region import mask_for, one_picture

Levels = tuple[np.ndarray, np.ndarray]  # mean and standard deviation of each channel, (3,)
Progress = Callable[[int, int, str], None]  # (done, total, what); raise in it to stop

TRACK_SIDE = 1280  # features are tracked on a picture whose long side is at most this
FEWEST = 12  # tracked points that agree; with fewer a frame is left alone
STILL = 0.05  # pixels; a camera that moved less did not move
SLOW = 8.0  # frames; changes of exposure faster than this belong to the scene


def stabilised(
    clip: Tensor, mask: Tensor | None = None, still: Tensor | None = None, progress: Progress | None = None
) -> Tensor:
    """The clip as if the camera had stood where `still` (the first frame) was taken. `(T, H, W, 3)`

    Corners outside the mask are tracked and a homography is fitted to those that agree. A frame with too few of them,
    or that the homography brings no closer, is left alone; a camera that stood still gives the clip back bit for bit.
    Borders that come into view are filled from the still.
    """
    out = torch.empty_like(clip)
    for to, frame in zip(out, steadied(clip, mask, still, progress), strict=True):
        to.copy_(frame)
    return out


def steadied(
    clip: Tensor, mask: Tensor | None = None, still: Tensor | None = None, progress: Progress | None = None
) -> Iterator[Tensor]:
    """The frames `(H, W, 3)` of `stabilised`, one at a time."""
    frames, height, width = clip.shape[:3]
    reference = one_picture("still", clip[:1] if still is None else still, height, width).numpy()
    known = outside(mask, height, width)
    scale = min(1.0, TRACK_SIDE / max(height, width))
    corners, guess = _corners(reference, known, scale), np.eye(3)
    for i in range(frames):
        frame = clip[i].cpu().numpy()
        found = _homography(reference, frame, corners, guess, scale)
        if found is not None and _moves(found, width, height):
            guess = found
            steady = _seen_from(found, frame, reference, known)
            if _error(steady, reference, known) < _error(frame, reference, known):
                frame = steady
        if progress:
            progress(i + 1, frames, "steadying")
        yield torch.from_numpy(frame)


def outside(mask: Tensor | None, height: int, width: int) -> np.ndarray:
    """True where nothing moves on purpose, `(H, W)`; everywhere without a mask, or with an empty or a full one."""
    if mask is None or not (mask > 0).any():
        return np.ones((height, width), bool)
    known = mask_for(mask, 1 if mask.ndim == 2 else len(mask), height, width).amax(0).numpy() == 0
    return known if known.any() else ~known


def _corners(reference: np.ndarray, known: np.ndarray, scale: float) -> np.ndarray:
    """Up to 600 corners of the reference outside the mask, `(N, 1, 2)` in pixels of the scaled picture."""
    cv2 = opencv()
    picture = grey(reference, scale)
    allowed = cv2.resize(known.astype(np.uint8), picture.shape[::-1], interpolation=cv2.INTER_NEAREST)
    apart = max(3, max(picture.shape) // 80)
    found = cv2.goodFeaturesToTrack(picture, 600, 0.005, apart, mask=cv2.erode(allowed, np.ones((5, 5))))
    return np.zeros((0, 1, 2), np.float32) if found is None else found


def _homography(
    reference: np.ndarray, frame: np.ndarray, corners: np.ndarray, guess: np.ndarray, scale: float
) -> np.ndarray | None:
    """Where the reference's pixels are in the frame, `(3, 3)` at full size; None where too few corners agree.

    Tracked there and back (pyramidal Lucas-Kanade), from where the frame before had them.
    """
    cv2 = opencv()
    if len(corners) < FEWEST:
        return None
    shrink = np.diag([scale, scale, 1.0])
    start = cv2.perspectiveTransform(corners, shrink @ guess @ np.linalg.inv(shrink)).astype(np.float32)
    pictures = grey(reference, scale), grey(frame, scale)
    options = {"winSize": (21, 21), "maxLevel": 4, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    there, ok, _ = cv2.calcOpticalFlowPyrLK(*pictures, corners, start, **options)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(*pictures[::-1], there, corners.copy(), **options)
    good = (ok * ok_back)[:, 0].astype(bool) & (np.abs(back - corners).max(axis=(1, 2)) < 0.5)
    if good.sum() < FEWEST:
        return None
    found, agree = cv2.findHomography(corners[good], there[good], cv2.RANSAC, 1.0)
    if found is None or agree.sum() < max(FEWEST, 0.4 * good.sum()):
        return None
    return np.linalg.inv(shrink) @ found @ shrink


def _moves(homography: np.ndarray, width: int, height: int) -> bool:
    """Whether a corner of the picture moves visibly, and none by more than a third of the picture."""
    cv2 = opencv()
    box = np.array([[[0, 0]], [[width, 0]], [[0, height]], [[width, height]]], np.float64)
    shift = np.abs(cv2.perspectiveTransform(box, homography) - box).max()
    return bool(STILL < shift < max(width, height) / 3)


def _seen_from(
    homography: np.ndarray, frame: np.ndarray, reference: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """The frame as the reference's camera would see it; the rest from the reference, at the frame's exposure."""
    cv2 = opencv()
    size, inverse = frame.shape[1::-1], cv2.WARP_INVERSE_MAP
    steady = cv2.warpPerspective(
        frame, homography, size, flags=cv2.INTER_CUBIC | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    inside = cv2.warpPerspective(
        np.ones(frame.shape[:2], np.uint8), homography, size, flags=cv2.INTER_NEAREST | inverse
    )
    seen = cv2.erode(inside, np.ones((3, 3))) > 0
    (mean, spread), (old_mean, old_spread) = (levels(p, known & seen) for p in (steady, reference))
    fill = (reference - old_mean) * (spread / old_spread.clip(1e-3)) + mean
    return np.where(seen[..., None], steady, fill).clip(0, 1).astype(np.float32)


def _error(frame: np.ndarray, reference: np.ndarray, known: np.ndarray) -> float:
    return float(np.abs(frame - reference)[known].mean())


def match_drift(
    clip: Tensor, mask: Tensor | None = None, still: Tensor | None = None, strength: float = 1.0
) -> Tensor:
    """The clip without slow drift in colour and contrast from `still` (the first frame). `(T, H, W, 3)`

    Mean and spread of each channel are measured outside the mask (everywhere without one), smoothed over time, and
    matched on the whole frame: what flickers faster than about SLOW frames stays. strength in [0, 1].
    """
    frames, height, width = clip.shape[:3]
    known = outside(mask, height, width)
    reference = one_picture("still", clip[:1] if still is None else still, height, width)
    measured = [levels(frame, known) for frame in clip]
    return levelled(clip, measured, levels(reference, known), strength)


def levelled(clip: Tensor, measured: list[Levels], wanted: Levels, strength: float = 1.0) -> Tensor:
    """Frames `(T, h, w, 3)` with the slow part of their levels changed to the wanted ones; see `match_drift`."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength:g}, but it has to be between 0 and 1. Try 1.")
    means, spreads = (
        _slowly(torch.from_numpy(np.stack(part)).float()) for part in zip(*measured, strict=True)
    )
    mean, spread = (torch.from_numpy(part).float() for part in wanted)  # (3,)
    gain = (spread / spreads.clamp(min=1e-4)).clamp(0.5, 2)
    gain = torch.where(spread > 1e-3, gain, 1.0)  # a flat picture has no contrast to match
    gain, offset = 1 + strength * (gain - 1), strength * (mean - gain * means)
    out = torch.empty_like(clip)
    for to, frame, g, o in zip(out, clip, gain, offset, strict=True):
        torch.mul(frame, g, out=to).add_(o).clamp_(0, 1)
    return out


def levels(frame: Tensor | np.ndarray, known: np.ndarray) -> Levels:
    """Mean and standard deviation of each channel of `(H, W, 3)` where `known`, `(3,)` each."""
    mean, spread = opencv().meanStdDev(np.ascontiguousarray(frame), mask=known.astype(np.uint8))
    return mean[:, 0], spread[:, 0]


def _slowly(values: Tensor) -> Tensor:
    """Values `(T, 3)` smoothed over SLOW frames by straight lines fitted around each (steady drift stays exact)."""
    t = torch.arange(len(values), dtype=torch.float64)
    away = t[None] - t[:, None]
    weight = torch.exp(-0.5 * (away / SLOW).square())  # (T, T)
    s0, s1, s2 = (weight.sum(1), (weight * away).sum(1), (weight * away.square()).sum(1))
    line = weight * (s2[:, None] - s1[:, None] * away) / (s0 * s2 - s1.square()).clamp(min=1e-12)[:, None]
    return (line @ values.double()).float() if len(values) > 2 else values
