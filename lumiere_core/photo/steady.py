"""Takes out what a hand did to a camera that should have stood on a tripod, or leaves the clip alone.

Corners of the still are followed through the clip, one decision is made for all of it, and it is rendered anew in
every pass over the result. A clip comes as `Frames` `(H, W, 3)`. `moves` is a mask, float32 `(H, W)` in [0, 1]: 1 is
what moves on purpose, which is therefore not looked at. Inputs are never written to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..media.frames import Frames, Rendered, as_float, first_picture, told
from ..media.pictures import opencv
from ..progress import Progress
from .fits import FEWEST, LOOKING, MODELS, box_of, fitted_boxes, mapped
from .region import change_mask, one_picture
from .warp import grey

Box = tuple[slice, slice]  # rows and columns
Recolouring = tuple[np.ndarray, np.ndarray]  # gain and offset of each channel, (3,)
WHOLE: Box = (slice(None), slice(None))

TRACK_SIDE = 1280  # a corner is followed to 0.1 pixels of a picture so large, and 600 of them tell the rest
CORNERS = 600  # each is off by some 0.1 pixels; of half of them, in eight numbers, that leaves less than 0.02
STILL = 0.1  # pixels; what moves less is not seen, and to resample it would cost more sharpness than it gives
BETTER = (
    0.9  # a model with more numbers is taken where it leaves less than this of the error, on other points
)
NEAR = (
    1 / 640
)  # of the long side, 2 pixels of 1280: a corner farther from the camera's motion does not follow it
LOST = 0.1  # of the frames may go without an answer of their own, which their neighbours then give
NEVER_LEFT = (
    0.9,
    1 / 6,
)  # corners that stay in so many of their frames, in so many of the parts that have corners, are a tripod's: a hand's
# camera leaves 0 to 0.1 of the parts (letters on the glass), a head that leans about in a car 0.23
IN_SIGHT = 0.75  # of the frames: corners at the rim are seen only while the camera stands where it did
IN_VIEW = (
    0.5  # of the still has to be in view in every frame: otherwise the camera pans, and no tripod can do that
)


def stabilised(
    clip: Frames, moves: Tensor | None = None, still: Tensor | None = None, progress: Progress | None = None
) -> Rendered:
    """The clip as if the camera had stood where `still` `(H, W, 3)` (the first frame) was taken.

    Bit for bit the clip where the camera stood still already, or where no motion explains the corners outside the mask
    better than none; `said` tells. Borders that come into view are filled from the still.
    """
    tripod = tripod_of(clip, moves, still)
    seen = [tripod.follow(as_float(frame)) for frame in told(clip, clip.count, "steadying", progress)]
    path = tripod.path(seen, 0 if still is None else None, progress)

    def render() -> Iterator[np.ndarray]:
        for frame, place in zip(clip, path.places, strict=True):
            yield tripod.seen(frame, place)

    return Rendered(len(seen), clip.height, clip.width, clip.fps, render, said=path.said)


@dataclass(frozen=True)
class Path:
    """Where the camera was in each frame, and what is said of it."""

    places: Sequence[
        np.ndarray | None
    ]  # (3, 3): where the still's pixels are in it; None to leave it as it is
    said: str
    shake: tuple[float, float] = (0.0, 0.0)  # pixels, before and after; see `_shake`

    @property
    def steadied(self) -> bool:
        """Whether anything is moved."""
        return any(place is not None for place in self.places)


class Tripod:
    """The camera of a still, on the tripod it should have had. It looks at one frame after the other."""

    def __init__(self, still: Tensor, moves: Tensor | None = None) -> None:
        height, width = still.shape[:2]
        self.still = still.numpy()
        self.known = outside(moves, height, width)
        self.scale = min(1.0, TRACK_SIDE / max(height, width))
        self.grey = _evened(grey(self.still, self.scale))
        self.corners = _corners(self.grey, self.known)
        self.guess = np.eye(3)  # where the frame before had the corners

    def follow(self, frame: np.ndarray) -> np.ndarray:
        """Where a frame `(H, W, 3)` in [0, 1] has the still's corners, `(N, 2)` in its pixels; NaN for lost ones.

        Followed there and back (pyramidal Lucas-Kanade), from where the frame before had them.
        """
        cv2 = opencv()
        if len(self.corners) < FEWEST:
            return np.full((len(self.corners), 2), np.nan, np.float32)
        start = cv2.perspectiveTransform(self.corners, self.guess).astype(np.float32)
        pictures = self.grey, _evened(grey(frame, self.scale))
        options = {"winSize": (21, 21), "maxLevel": 4, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
        there, ok, _ = cv2.calcOpticalFlowPyrLK(*pictures, self.corners, start, **options)
        back, ok_back, _ = cv2.calcOpticalFlowPyrLK(*pictures[::-1], there, self.corners.copy(), **options)
        good = (ok * ok_back)[:, 0].astype(bool) & (np.abs(back - self.corners).max(axis=(1, 2)) < 0.5)
        found = _majority(self.corners[good], there[good], max(self.grey.shape) * NEAR)
        self.guess = self.guess if found is None else found
        there[~good] = np.nan
        return there[:, 0] / self.scale

    def path(
        self, seen: Sequence[np.ndarray], reference: int | None, progress: Progress | None = None
    ) -> Path:
        """One decision for the clip, from what `follow` gave for each frame; the reference frame is left as it is."""
        height, width = self.still.shape[:2]
        if len(self.corners) < FEWEST:
            return left_alone(len(seen), f"only {len(self.corners)} corners to hold on to outside the mask")
        return _path(self.corners[:, 0] / self.scale, np.stack(seen), (width, height), reference, progress)

    def seen(
        self,
        frame: np.ndarray,
        place: np.ndarray | None,
        box: Box = WHOLE,
        change: Recolouring | None = None,
    ) -> np.ndarray:
        """A box of the frame from where the still was taken, its colours changed; what it does not show is the still's.

        The frame's own pixels where neither is to be done.
        """
        if place is None:
            return frame[box] if change is None else recoloured(as_float(frame[box]), *change)
        seen, there = looked_through(as_float(frame), place, box)
        if change is not None:
            seen = recoloured(seen, *change)
        if not there.all():
            seen[~there] = _as_light(self.still[box], seen, there)[~there]
        return seen


def tripod_of(clip: Frames, moves: Tensor | None, still: Tensor | None) -> Tripod:
    """The tripod of a still, which is the clip's first frame where none is given. Raises ValueError."""
    still = first_picture(clip) if still is None else still
    return Tripod(one_picture("still", still, clip.height, clip.width), moves)


def left_alone(frames: int, why: str) -> Path:
    """The path of a clip in which nothing is moved."""
    return Path([None] * frames, f"camera left alone: {why}")


def outside(moves: Tensor | None, height: int, width: int) -> np.ndarray:
    """True where nothing moves on purpose, `(H, W)`; everywhere without a mask, or with an empty or a full one."""
    if moves is None or not (moves > 0).any():
        return np.ones((height, width), bool)
    known = change_mask(moves, 1 if moves.ndim == 2 else len(moves), height, width).amax(0).numpy() == 0
    return known if known.any() else ~known


def looked_through(frame: np.ndarray, place: np.ndarray, box: Box = WHOLE) -> tuple[np.ndarray, np.ndarray]:
    """A box of the frame looked up through a homography, and where the frame has it, `(h, w)`."""
    cv2 = opencv()
    (top, bottom, _), (left, right, _) = (s.indices(n) for s, n in zip(box, frame.shape, strict=False))
    place = place @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    size, inverse = (right - left, bottom - top), cv2.WARP_INVERSE_MAP
    seen = cv2.warpPerspective(
        frame, place, size, flags=cv2.INTER_CUBIC | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    return np.clip(seen, 0, 1, out=seen), in_view(place, frame.shape, size)


def in_view(place: np.ndarray, shape: tuple[int, ...], size: tuple[int, int] | None = None) -> np.ndarray:
    """Which pixels of the still a frame `(H, W, ...)` shows, bool; of a part of that size (x, y), or of all of it."""
    cv2 = opencv()
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    inside = cv2.warpPerspective(np.ones(shape[:2], np.uint8), place, size or shape[1::-1], flags=flags)
    return cv2.erode(inside, np.ones((3, 3)), borderValue=1) > 0


def _as_light(still: np.ndarray, seen: np.ndarray, there: np.ndarray) -> np.ndarray:
    """A part of the still in the light in which it is seen: by the middle ratio of each channel."""
    there, seen, like = (part[::4, ::4] for part in (there, seen, still))
    some = there & (like > 0.03).all(-1)
    return still if some.sum() < 16 else np.clip(still * np.median(seen[some] / like[some], 0), 0, 1)


def recoloured(picture: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """`gain * picture + offset` of each channel, in [0, 1]."""
    out = opencv().transform(np.ascontiguousarray(picture), np.column_stack([np.diag(gain), offset]))
    return np.clip(out, 0, 1, out=out)


def _evened(picture: np.ndarray) -> np.ndarray:
    """A grey picture without its light: the same where a lamp, a cloud or the camera made it brighter or flatter.

    Lucas and Kanade's method takes a change of brightness for motion.
    """
    cv2 = opencv()
    values = picture.astype(np.float32)
    values -= cv2.GaussianBlur(values, (0, 0), 8)
    spread = np.sqrt(cv2.GaussianBlur(values * values, (0, 0), 16))
    return (values * (32 / (spread + 4)) + 128).clip(0, 255).astype(np.uint8)


def _corners(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Up to CORNERS corners of a grey picture outside the mask, `(N, 1, 2)`: the best of each part of it."""
    cv2 = opencv()
    allowed = cv2.resize(known.astype(np.uint8), picture.shape[::-1], interpolation=cv2.INTER_NEAREST)
    apart = max(3, max(picture.shape) // 80)
    found = cv2.goodFeaturesToTrack(
        picture, 5 * CORNERS, 0.005, apart, mask=cv2.erode(allowed, np.ones((5, 5)))
    )
    if found is None:
        return np.zeros((0, 1, 2), np.float32)
    parts = _parts(found[:, 0], picture.shape[::-1], 8)
    rank = np.empty(len(found), int)  # among those of its part, the best first
    for part in np.unique(parts):
        rank[parts == part] = np.arange((parts == part).sum())
    return found[np.sort(np.argsort(rank, kind="stable")[:CORNERS])]


def _parts(points: np.ndarray, size: tuple[int, int], across: int) -> np.ndarray:
    """The number of the part each point `(N, 2)` lies in, of a picture cut into across x across parts."""
    column, row = (np.clip(points / size, 0, 0.999) * across).astype(int).T
    return column + across * row


def _majority(old: np.ndarray, new: np.ndarray, near: float) -> np.ndarray | None:
    """The motion `(3, 3)` that most points follow to within `near` pixels; None where too few do. By sampling."""
    cv2 = opencv()
    if len(old) < FEWEST:
        return None
    plain, agree = cv2.estimateAffinePartial2D(old, new, method=cv2.RANSAC, ransacReprojThreshold=near)
    many = 0 if plain is None else int(agree.sum())
    if many < 0.9 * len(old):  # else there is no need for more
        found, agree = cv2.findHomography(old, new, cv2.RANSAC, near, maxIters=500)
        if found is not None and agree.sum() > max(FEWEST, 1.1 * many):
            return found
    return None if many < FEWEST else np.vstack([plain, [0, 0, 1]])


def _near(size: tuple[int, int]) -> float:
    return max(1.0, max(size) * NEAR)


def _path(
    corners: np.ndarray,
    seen: np.ndarray,
    size: tuple[int, int],
    reference: int | None,
    progress: Progress | None = None,
) -> Path:
    """The simplest motion that explains the corners `(N, 2)` as they were seen, `(T, N, 2)`, or none."""
    frames, near = len(seen), _near(size)
    keep = _steadfast(corners, seen, size, progress)
    corners, seen = corners[keep], seen[:, keep]
    agree = np.stack(
        [_agreeing(corners, points, near) for points in told(seen, frames, LOOKING, progress)]
    )  # (T, N)
    column, row = (np.clip(corners / size, 0, 0.999) * 6).astype(int).T
    folds = [
        (column + row) % 2 == k for k in (0, 1)
    ]  # a chequerboard: neighbours see the same noise, and judge nothing
    answered = int(np.min([(agree[:, fold].sum(1) >= FEWEST) for fold in folds], 0).sum())
    if answered < (1 - LOST) * frames:
        return left_alone(frames, f"it can be followed in {answered} of {frames} frames only")

    def fitted(model: str, part: np.ndarray) -> np.ndarray:
        return fitted_boxes(model, corners[part], seen[:, part], agree[:, part], size, progress)

    def error(away: np.ndarray) -> float:
        return float(np.sqrt(np.nanmean(np.minimum(away, near) ** 2)))

    untouched = _away(np.tile(box_of(size), (frames, 1, 1)), corners, seen, size)  # (T, N)
    chosen, left = None, untouched
    for model in MODELS:
        paths = [fitted(model, fold) for fold in folds]
        for width in (
            0,
            1,
            2,
        ):  # frames over which it is smoothed: what jitters faster is the corners' own error
            away = np.empty_like(untouched)
            for path, other in zip(paths, reversed(folds), strict=True):
                away[:, other] = _away(_smooth(path, width), corners[other], seen[:, other], size)
            same = chosen is not None and chosen[0] == model
            if error(away) < error(left) * (1 if same else BETTER):
                chosen, left = (model, width), away
    stands = "it stands still" if _shake(untouched) < 0.5 else "no motion of a camera explains what is seen"
    if chosen is None:
        return left_alone(frames, stands)
    path = _smooth(fitted(chosen[0], np.ones(len(corners), bool)), chosen[1])
    if np.sqrt(np.square(path - box_of(size)).sum(-1).mean()) < STILL:
        return left_alone(frames, "it stands still")
    places = [opencv().getPerspectiveTransform(box_of(size), there.astype(np.float32)) for there in path]
    for i, place in enumerate(places):
        if _in_view(place, size) < IN_VIEW:
            return left_alone(
                frames, f"frame {i} shows less than half of the still, so it is no tripod's view"
            )
    if reference is not None:
        places[reference] = None
    shake = _shake(untouched), _shake(left)
    if shake[1] > BETTER * shake[0]:  # the middle corner is no better off, whatever the others say
        return left_alone(frames, stands)
    said = f"steadied {frames} frames ({chosen[0]}), shake {shake[0]:.1f} -> {shake[1]:.1f} px"
    return Path(places, said, shake)


def _steadfast(
    corners: np.ndarray, seen: np.ndarray, size: tuple[int, int], progress: Progress | None = None
) -> np.ndarray:
    """Which corners `(N,)` belong to what stands: those that are with the majority in most of the frames they are in.

    Walkers are not. Where half as many never move at all, or some all over the picture, the camera did not either: what
    moves is the view from a train, water, or a head, however much of the picture it fills.
    """
    near, there = _near(size), ~np.isnan(seen[..., 0])  # (T, N)
    often = there.sum(0) > 0.25 * len(seen)
    away = np.linalg.norm(seen - corners, axis=-1)
    with np.errstate(invalid="ignore"):
        near_it = (away < near).sum(0) / np.maximum(there.sum(0), 1)
    stay, never_left = often & (near_it > 0.5), (there.mean(0) > IN_SIGHT) & (near_it > NEVER_LEFT[0])
    parts = _parts(corners, size, 8)
    if never_left.sum() >= 2 * FEWEST:
        if len(np.unique(parts[never_left])) >= NEVER_LEFT[1] * len(np.unique(parts[often])):
            return stay
    follow = np.stack(
        [_agreeing(corners, points, near) for points in told(seen, len(seen), LOOKING, progress)]
    )
    follow = often & (follow.sum(0) > 0.5 * there.sum(0))
    return stay if stay.sum() >= max(2 * FEWEST, 0.5 * follow.sum()) else follow


def _agreeing(corners: np.ndarray, points: np.ndarray, near: float) -> np.ndarray:
    """Which corners `(N,)` of one frame are within `near` pixels of where most of them say the camera is."""
    there = ~np.isnan(points[:, 0])
    found = _majority(corners[there], points[there], near)
    if found is None:
        return np.zeros(len(corners), bool)
    away = np.linalg.norm(mapped(found, corners) - points, axis=1)
    return np.nan_to_num(away, nan=np.inf) < near


def _smooth(path: np.ndarray, width: float) -> np.ndarray:
    """A path `(T, 4, 2)` smoothed over about so many frames, 0 for none; frames without an answer get one."""
    flat = path.reshape(len(path), -1)
    there = ~np.isnan(flat[:, 0])
    t = np.arange(len(flat))
    full = np.stack([np.interp(t, t[there], column[there]) for column in flat.T], 1)
    return (slowly(full, width) if width else full).reshape(path.shape)


def slowly(values: np.ndarray, width: float) -> np.ndarray:
    """Values `(T, n)` smoothed over about `width` frames, by parabolas fitted around each: what bends slowly stays."""
    out = np.array(values, np.float64)
    for i in range(len(out) if len(out) > 3 else 0):
        near = np.arange(max(0, i - int(4 * width)), min(len(out), i + int(4 * width) + 1))
        away = (near - i) / width
        weight = np.exp(-0.25 * away * away)  # the root of a bell
        out[i] = np.linalg.lstsq(
            weight[:, None] * away[:, None] ** [0, 1, 2], weight[:, None] * values[near], rcond=None
        )[0][0]
    return out


def _away(path: np.ndarray, corners: np.ndarray, seen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How far each corner is from where a path `(T, 4, 2)` has it, in pixels, `(T, N)`; NaN where it is not seen."""
    place = opencv().getPerspectiveTransform
    found = [mapped(place(box_of(size), there.astype(np.float32)), corners) for there in path]
    return np.linalg.norm(np.stack(found) - seen, axis=-1)


def _shake(away: np.ndarray) -> float:
    """Pixels by which the middle corner of a frame is off, as the root mean square over the frames."""
    away = away[~np.isnan(away).all(1)]  # a black frame shows no corner
    return float(np.sqrt(np.mean(np.nanmedian(away, 1) ** 2)))


def _in_view(place: np.ndarray, size: tuple[int, int]) -> float:
    """The share of the still that a frame shows."""
    across, down = (np.linspace(0, n, 24) for n in size)
    points = np.stack(np.meshgrid(across, down), -1).reshape(-1, 2)
    there = mapped(place, points)
    return float(((there >= 0) & (there <= size)).all(1).mean())
