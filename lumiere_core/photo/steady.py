"""Removes camera motion and slow changes of exposure from a clip.

A clip comes as `Frames` `(H, W, 3)`, and so it is given back: each tool measures it in one pass, and renders it anew
in every pass over the result. `moves` is a mask, float32 `(H, W)` in [0, 1]: 1 is what moves on purpose, which is
therefore not looked at. Inputs are never written to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..limits import check
from ..media.frames import Frames, Rendered, as_float, first_picture, told
from ..media.pictures import opencv
from ..progress import Progress
from .region import change_mask, one_picture
from .warp import grey

Levels = tuple[np.ndarray, np.ndarray]  # mean and standard deviation of each channel, (3,)
Recolouring = tuple[np.ndarray, np.ndarray]  # gain and offset of each channel, (3,)
Box = tuple[slice, slice]  # rows and columns

TRACK_SIDE = 1280  # features are tracked on a picture whose long side is at most this
LEVEL_SIDE = 480  # exposure is measured, and steadying judged, on a picture whose long side is at most this
FEWEST = (
    12  # tracked points that agree, three times the 4 a homography needs; with fewer a frame is left alone
)
STILL = 0.05  # pixels; a camera that moved less did not move
SLOW = 8.0  # frames, half a second at 16 fps; faster changes of exposure belong to the scene


def stabilised(
    clip: Frames, moves: Tensor | None = None, still: Tensor | None = None, progress: Progress | None = None
) -> Rendered:
    """The clip as if the camera had stood where `still` `(H, W, 3)` (the first frame) was taken.

    Corners outside the mask are tracked and a homography is fitted to those that agree. A frame with too few of them,
    or that the homography brings no closer, is left alone; a camera that stood still gives the clip back bit for bit.
    Borders that come into view are filled from the still.
    """
    tripod = tripod_of(clip, moves, still)
    views = [tripod.view(as_float(frame)) for frame in told(clip, clip.count, "steadying", progress)]

    def render() -> Iterator[np.ndarray]:
        for frame, view in zip(clip, views, strict=True):
            yield tripod.seen(frame, view)

    return Rendered(len(views), clip.height, clip.width, clip.fps, render)


@dataclass(frozen=True)
class View:
    """How a frame stands to the still."""

    homography: np.ndarray | None  # (3, 3): where the still's pixels are in it; None to leave it as it is
    levels: Levels  # outside the mask, as the still's camera sees it


class Tripod:
    """The camera of a still, on the tripod it should have had. It looks at one frame after the other."""

    def __init__(self, still: Tensor, moves: Tensor | None = None) -> None:
        height, width = still.shape[:2]
        self.still, known = still.numpy(), outside(moves, height, width)
        self.scale = min(1.0, TRACK_SIDE / max(height, width))
        self.grey = grey(self.still, self.scale)
        self.corners = _corners(self.grey, known)
        self.guess = np.eye(3)  # where the frame before had the corners
        self.small = reduced(self.still)
        self.known = reduced(known.astype(np.float32)) > 0.999
        self.known = self.known if self.known.any() else np.ones_like(self.known)
        self.levels = levels(self.small, self.known)

    def view(self, frame: np.ndarray, steady: bool = True) -> View:
        """How the camera moved, where it is to be steadied, and how light a frame `(H, W, 3)` in [0, 1] is."""
        small = reduced(frame)
        found = self._homography(frame) if steady else None
        if found is not None and _has_moved(found, *frame.shape[1::-1]):
            self.guess = found
            shrink = np.diag([small.shape[1] / frame.shape[1], small.shape[0] / frame.shape[0], 1.0])
            seen, there = _looked_through(small, shrink @ found @ np.linalg.inv(shrink))
            known = self.known & there
            fill = exposed(self.small, levels(self.small, known), levels(seen, known))
            seen = np.where(there[..., None], seen, fill)
            if self._error(seen) < self._error(small):
                return View(found, levels(seen, self.known))
        return View(None, levels(small, self.known))

    def seen(self, frame: np.ndarray, view: View, box: Box = (slice(None), slice(None))) -> np.ndarray:
        """A box of the frame from where the still was taken; what it does not show, from the still, as light as it."""
        if view.homography is None:
            return frame[box]
        seen, there = _looked_through(as_float(frame), view.homography, box)
        if not there.all():
            seen[~there] = exposed(self.still[box][~there][None], self.levels, view.levels)[0]
        return seen

    def _homography(self, frame: np.ndarray) -> np.ndarray | None:
        """Where the still's pixels are in the frame, `(3, 3)` at full size; None where too few corners agree.

        Tracked there and back (pyramidal Lucas-Kanade), from where the frame before had them.
        """
        cv2 = opencv()
        if len(self.corners) < FEWEST:
            return None
        shrink = np.diag([self.scale, self.scale, 1.0])
        place = shrink @ self.guess @ np.linalg.inv(shrink)
        start = cv2.perspectiveTransform(self.corners, place).astype(np.float32)
        pictures = self.grey, grey(frame, self.scale)
        options = {"winSize": (21, 21), "maxLevel": 4, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
        there, ok, _ = cv2.calcOpticalFlowPyrLK(*pictures, self.corners, start, **options)
        back, ok_back, _ = cv2.calcOpticalFlowPyrLK(*pictures[::-1], there, self.corners.copy(), **options)
        good = (ok * ok_back)[:, 0].astype(bool) & (np.abs(back - self.corners).max(axis=(1, 2)) < 0.5)
        if good.sum() < FEWEST:
            return None
        found = _fitted(self.corners[good], there[good])
        if found is None:
            return None
        return np.linalg.inv(shrink) @ found @ shrink

    def _error(self, small: np.ndarray) -> float:
        """Mean difference from the still outside the mask, both at the still's exposure."""
        away = np.abs(exposed(small, levels(small, self.known), self.levels) - self.small)
        return float(away[self.known].mean())


def tripod_of(clip: Frames, moves: Tensor | None, still: Tensor | None) -> Tripod:
    """The tripod of a still, which is the clip's first frame where none is given. Raises ValueError."""
    still = first_picture(clip) if still is None else still
    return Tripod(one_picture("still", still, clip.height, clip.width), moves)


def outside(moves: Tensor | None, height: int, width: int) -> np.ndarray:
    """True where nothing moves on purpose, `(H, W)`; everywhere without a mask, or with an empty or a full one."""
    if moves is None or not (moves > 0).any():
        return np.ones((height, width), bool)
    known = change_mask(moves, 1 if moves.ndim == 2 else len(moves), height, width).amax(0).numpy() == 0
    return known if known.any() else ~known


def reduced(picture: np.ndarray) -> np.ndarray:
    """A picture `(H, W)` or `(H, W, 3)` whose long side is at most LEVEL_SIDE."""
    height, width = picture.shape[:2]
    scale = min(1.0, LEVEL_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return opencv().resize(np.ascontiguousarray(picture), size, interpolation=opencv().INTER_AREA)


def _corners(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Up to 600 corners of a grey picture outside the mask, `(N, 1, 2)`."""
    cv2 = opencv()
    allowed = cv2.resize(known.astype(np.uint8), picture.shape[::-1], interpolation=cv2.INTER_NEAREST)
    apart = max(3, max(picture.shape) // 80)
    found = cv2.goodFeaturesToTrack(picture, 600, 0.005, apart, mask=cv2.erode(allowed, np.ones((5, 5))))
    return np.zeros((0, 1, 2), np.float32) if found is None else found


def _fitted(old: np.ndarray, new: np.ndarray) -> np.ndarray | None:
    """The camera's motion `(3, 3)` that takes most old points `(N, 1, 2)` to the new ones; None where too few agree.

    A homography, or where they fit it no better, one without perspective: with fewer numbers to find each is surer.
    """
    cv2 = opencv()
    found, agree = cv2.findHomography(old, new, cv2.RANSAC, 1.0)
    if found is None or agree.sum() < max(FEWEST, 0.4 * len(old)):
        return None
    away = np.linalg.norm(cv2.perspectiveTransform(old, found) - new, axis=(1, 2))
    near = away <= 2.5 * np.median(away[agree[:, 0] > 0])
    plain = cv2.estimateAffinePartial2D(old[near], new[near], method=cv2.RANSAC, ransacReprojThreshold=1.0)[0]
    if plain is not None:
        plain = np.vstack([plain, [0, 0, 1]])
        plain_away = np.linalg.norm(cv2.perspectiveTransform(old, plain) - new, axis=(1, 2))
        if np.median(plain_away[near]) < 1.1 * np.median(away[near]):
            return plain
    return found


def _has_moved(homography: np.ndarray, width: int, height: int) -> bool:
    """Whether a corner of the picture moves visibly, and none by more than a third of the picture."""
    cv2 = opencv()
    box = np.array([[[0, 0]], [[width, 0]], [[0, height]], [[width, height]]], np.float64)
    shift = np.abs(cv2.perspectiveTransform(box, homography) - box).max()
    return bool(STILL < shift < max(width, height) / 3)


def _looked_through(
    frame: np.ndarray, homography: np.ndarray, box: Box = (slice(None), slice(None))
) -> tuple[np.ndarray, np.ndarray]:
    """A box of the frame looked up through the homography, bicubic, and where the frame has it, `(h, w)`."""
    cv2 = opencv()
    (top, bottom, _), (left, right, _) = (s.indices(n) for s, n in zip(box, frame.shape, strict=False))
    place = homography @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    size, inverse = (right - left, bottom - top), cv2.WARP_INVERSE_MAP
    seen = cv2.warpPerspective(
        frame, place, size, flags=cv2.INTER_CUBIC | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    inside = cv2.warpPerspective(
        np.ones(frame.shape[:2], np.uint8), place, size, flags=cv2.INTER_NEAREST | inverse
    )
    there = cv2.erode(inside, np.ones((3, 3)), borderValue=1) > 0
    return np.clip(seen, 0, 1, out=seen), there


def match_drift(
    clip: Frames,
    moves: Tensor | None = None,
    still: Tensor | None = None,
    strength: float = 1.0,
    progress: Progress | None = None,
) -> Rendered:
    """The clip without slow drift in colour and contrast from `still` `(H, W, 3)` (the first frame).

    Mean and spread of each channel are measured outside the mask (everywhere without one), smoothed over time, and
    matched on the whole frame: what flickers faster than about SLOW frames stays. strength in [0, 1].
    """
    check("strength", strength)
    tripod = tripod_of(clip, moves, still)
    frames = told(clip, clip.count, "measuring", progress)
    changes = drift_of([tripod.view(as_float(frame), steady=False).levels for frame in frames], tripod.levels)
    changes = [(1 + strength * (gain - 1), strength * offset) for gain, offset in changes]

    def render() -> Iterator[np.ndarray]:
        for frame, change in zip(clip, changes, strict=True):
            yield recoloured(as_float(frame), *change)

    return Rendered(len(changes), clip.height, clip.width, clip.fps, render)


def drift_of(measured: list[Levels], wanted: Levels) -> list[Recolouring]:
    """What changes the slow part of each frame's levels to the wanted ones; see `match_drift`."""
    means, spreads = (_slowly(np.stack(part)) for part in zip(*measured, strict=True))
    mean, spread = wanted  # (3,)
    gain = (spread / spreads.clip(1e-4)).clip(0.5, 2)
    gain = np.where(spread > 1e-3, gain, 1.0)  # a flat picture has no contrast to match
    return list(zip(gain, mean - gain * means, strict=True))


def exposed(picture: np.ndarray, have: Levels, wanted: Levels) -> np.ndarray:
    """The picture with these levels changed to the wanted ones."""
    gain = wanted[1] / have[1].clip(1e-3)
    return recoloured(picture, gain, wanted[0] - gain * have[0])


def recoloured(picture: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """`gain * picture + offset` of each channel, in [0, 1]."""
    out = opencv().transform(np.ascontiguousarray(picture), np.column_stack([np.diag(gain), offset]))
    return np.clip(out, 0, 1, out=out)


def levels(frame: np.ndarray, known: np.ndarray) -> Levels:
    """Mean and standard deviation of each channel of `(H, W, 3)` where `known`, `(3,)` each."""
    mean, spread = opencv().meanStdDev(np.ascontiguousarray(frame), mask=known.astype(np.uint8))
    return mean[:, 0], spread[:, 0]


def _slowly(values: np.ndarray) -> np.ndarray:
    """Values `(T, 3)` smoothed over SLOW frames by straight lines fitted around each (steady drift stays exact)."""
    if len(values) < 3:
        return values
    t = np.arange(len(values))
    away = t[None] - t[:, None]
    weight = np.exp(-0.5 * np.square(away / SLOW))  # (T, T)
    s0, s1, s2 = weight.sum(1), (weight * away).sum(1), (weight * np.square(away)).sum(1)
    line = weight * (s2[:, None] - s1[:, None] * away) / (s0 * s2 - np.square(s1))[:, None]
    return line @ values
