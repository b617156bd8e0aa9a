"""The still of a cinemagraph, and its clip as it fits that still: from one place, in one light.

Where none is given, the still is the sharpest frame, without the people who walk through the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ..media.frames import Frames, as_bytes, as_float, told
from ..media.pictures import opencv
from ..progress import Progress
from .drift import Drift, drift_of, reduced
from .region import one_picture
from .steady import WHOLE, Box, Path, Tripod, in_view, left_alone, outside
from .warp import grey

SHARP_SIDE = (
    960  # sharpness is measured on a picture whose long side is at most this, as it is seen on a screen
)
AS_SHARP = (
    0.95  # of the sharpest frame, which the eye does not tell from it: the first of these frames is taken
)
SAMPLES = (
    25  # frames of which a median is taken: an odd number, and whoever stands still for half of it remains
)
FEW_FRAMES = 5  # frames; in fewer a walker may be in most of them
PLATE_HELD = 0.3e9  # bytes of them that are held; larger pictures are done in strips, a pass for each
MEDIAN_ROWS = 64  # rows of which the median is taken at a time
LIKE = 6, 30  # of 255: samples that are so near show the same, in a clip with no noise, and with 4 %
ONE_SUBJECT = 0.03  # of the long side: as near as that, two parts may be one subject, seen through a fence
LOOSE = 0.3  # of somebody's size may never stand still beside him
STANDS_OUT = (
    10 / 255
)  # a quarter of somebody differs from what stands by more, the rest by a third; in noise, by more
DISTINCT = 0.75  # the share of somebody that stands out, times how much steeper his outline is than what is behind him:
# 1.3 of people, 0.6 of clouds that drift, whose middle would be a smear
SMALLEST = 3e-4  # of the picture, a head in a crowd: a smaller spot is noise, or a leaf

# A frame (H, W, 3), and where it shows the still; None for everywhere.
Glimpse = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Setting:
    """A clip's still, and what is done to each frame so that it fits."""

    tripod: Tripod  # its `still` is the one that is shown
    path: Path
    drift: Drift
    said: str

    def seen(self, i: int, frame: np.ndarray, box: Box = WHOLE) -> np.ndarray:
        """A box of the clip's frame i, steadied and in the still's light."""
        return self.tripod.seen(frame, self.path.places[i], box, self.drift.changes[i])


def setting_of(
    clip: Frames,
    count: int,
    moves: Tensor,
    still: Tensor | int | None,
    stabilise: bool,
    drift: bool,
    where: np.ndarray,
    progress: Progress | None = None,
) -> Setting:
    """Choose the still of a clip of `count` frames, and measure camera and light against it, each in a pass.

    still: a picture `(H, W, 3)`, a frame's number, or None for the sharpest frame as a clean plate, which it is within
    `where`, bool `(H, W)`. Raises ValueError.
    """
    picture, reference, what = _still(clip, count, moves, still, progress)
    tripod = Tripod(picture, moves)
    seen, small = [], []
    for frame in told(clip, count, "steadying" if stabilise else "measuring", progress):
        frame = as_float(frame)
        if stabilise:
            seen.append(tripod.follow(frame))
        if drift:
            small.append(reduced(frame))
    path = tripod.path(seen, reference, progress) if stabilise else left_alone(count, "as asked")
    changes = (
        drift_of(tripod, small, path.places, reference, progress) if drift else Drift([None] * count, "")
    )
    made = Setting(tripod, path, changes, "")
    if still is None:
        numbers = sampled(count)

        def samples() -> Iterator[Glimpse]:
            for i, frame in enumerate(told(islice(clip, numbers[-1] + 1), count, "clean plate", progress)):
                if i in numbers:
                    place = path.places[i]
                    yield made.seen(i, frame), None if place is None else in_view(place, frame.shape)

        tripod.still, people = clean_plate(tripod.still, samples, len(numbers), where, tripod.known)
        what = f"{what}, {people}"
    said = "; ".join(part for part in (path.said, changes.said, what) if part)
    return Setting(tripod, path, changes, said)


def _still(
    clip: Frames, count: int, moves: Tensor, still: Tensor | int | None, progress: Progress | None
) -> tuple[Tensor, int | None, str]:
    """The picture that the clip is held against, its number where it is a frame, and what is said of it."""
    if isinstance(still, Tensor):
        return one_picture("still", still, clip.height, clip.width), None, "still: the picture given"
    if still is None:
        known = outside(moves, clip.height, clip.width)
        frames = told(clip, count, "choosing the still", progress)
        number = sharpest([detail(as_float(frame), known) for frame in frames])
    elif 0 <= still < count:
        number = still
    else:
        raise ValueError(
            f"the still is frame {still}, but the clip has {count} frames, 0 to {count - 1}. Take one of them, or auto."
        )
    return torch.from_numpy(as_float(next(islice(clip, number, None)))), number, f"still: frame {number}"


def detail(frame: np.ndarray, known: np.ndarray) -> np.ndarray:
    """How steep a frame `(H, W, 3)` in [0, 1] is in each of 8 x 8 parts, `(64,)`, of which `known` `(H, W)` counts."""
    cv2 = opencv()
    luma = grey(frame, min(1.0, SHARP_SIDE / max(frame.shape[:2])))
    steep = _steepness(luma) / (
        cv2.blur(luma.astype(np.float32), (9, 9)) + 16
    )  # a lighter frame is no sharper
    counts = cv2.resize(known.astype(np.float32), luma.shape[::-1], interpolation=cv2.INTER_AREA)
    total, share = (
        cv2.resize(part, (8, 8), interpolation=cv2.INTER_AREA) for part in (steep * counts, counts)
    )
    if not (counted := share > 0.1).any():  # nearly all of it may move: then all of it counts
        return detail(frame, np.ones_like(known))
    return np.where(counted, total / share.clip(1e-3), np.nan).ravel()


def sharpest(details: Sequence[np.ndarray]) -> int:
    """The first of a clip's sharpest frames: sharp in most of its parts, not where somebody in checks walks through."""
    parts = np.stack(details)  # (T, 64)
    parts = parts[:, ~np.isnan(parts[0])]
    sharp = np.median(parts / np.median(parts, 0).clip(1e-3), 1)
    return int(np.flatnonzero(sharp >= AS_SHARP * sharp.max())[0])


def sampled(count: int) -> list[int]:
    """The frames of which the median is taken, evenly over a clip of so many."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count - 1 + count % 2, SAMPLES))})


def clean_plate(
    picture: np.ndarray,
    samples: Callable[[], Iterator[Glimpse]],
    count: int,
    where: np.ndarray,
    known: np.ndarray,
) -> tuple[np.ndarray, str]:
    """A still `(H, W, 3)` in [0, 1] without those who walk through, and what is said of it.

    `samples` goes through `count` steadied frames, at the still's light, of which the median of each pixel is taken.
    Only where that stands, and somebody in the still does not, the still is changed, within `where` `(H, W)`: elsewhere
    it keeps its grain, its leaves and its water. The feet of who walks in the mask, where `known` is false, go as well.
    """
    if count < FEW_FRAMES:
        return picture, "too few frames for a clean plate"
    usual, stands, noise = _background(samples, count, picture.shape)
    if stands[known].mean() < 0.5:
        return picture, "no clean plate, most of the picture moves"
    walkers = _walkers(picture, usual, stands, known, max(STANDS_OUT, noise)) & where
    if not walkers.any():
        return picture, "nobody walks through"
    cv2 = opencv()
    alpha = cv2.GaussianBlur(walkers.astype(np.float32), (0, 0), 1.5) * where
    out = picture.copy()
    touched = alpha > 0
    mixed = alpha[touched][:, None]
    out[touched] = picture[touched] * (1 - mixed) + usual[touched] * (np.float32(1 / 255) * mixed)
    return out, f"clean plate, people taken out of {100 * walkers.mean():.1f} % of it"


def _background(
    samples: Callable[[], Iterator[Glimpse]], count: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, float]:
    """The median of each pixel, uint8 `(H, W, 3)`, where half of the samples agree with it, `(H, W)`, and how nearly.

    There it is something that was seen, and stands; elsewhere it is a mixture. They agree to within the clip's noise,
    in which nobody is told from a smear of the file's compression: the last number, of 1.
    """
    height, width = shape[:2]
    usual, apart = np.empty(shape, np.uint8), np.empty((height, width), np.uint8)
    strip = max(MEDIAN_ROWS, int(PLATE_HELD / (4 * width * count)) // MEDIAN_ROWS * MEDIAN_ROWS)
    for top in range(0, height, strip):
        held = np.empty((count, min(strip, height - top), width, 3), np.uint8)
        there = np.ones(held.shape[:3], bool)
        for i, (frame, view) in enumerate(samples()):
            held[i] = as_bytes(frame[top : top + strip])
            there[i] = True if view is None else view[top : top + strip]
        for row in range(0, held.shape[1], MEDIAN_ROWS):
            part, seen = held[:, row : row + MEDIAN_ROWS], there[:, row : row + MEDIAN_ROWS]
            here = slice(top + row, top + row + part.shape[1])
            usual[here] = _middle(part, seen)
            away = (np.maximum(part, usual[here]) - np.minimum(part, usual[here])).max(-1)
            apart[here] = np.where(seen.sum(0) >= FEW_FRAMES, _middle(away, seen), 255)
    like = np.clip(3 * np.median(apart), *LIKE)  # the median is the clip's noise
    return usual, apart <= like, float(like) / 255


def _middle(part: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The median of uint8 `(n, h, w, ...)` over the first axis, of those that are seen, bool `(n, h, w)`."""
    out = np.partition(part, len(part) // 2, 0)[len(part) // 2]
    some = ~seen.all(0)
    if some.any():
        ranked = np.where(
            seen[:, some].reshape(len(part), -1, *[1] * (part.ndim - 3)), part[:, some], np.uint16(999)
        )
        ranked.sort(0)  # what is not seen comes last
        middle = (seen[:, some].sum(0) // 2).reshape(1, -1, *[1] * (part.ndim - 3))
        out[some] = np.take_along_axis(ranked, middle, 0)[0]
    return out


def _walkers(
    picture: np.ndarray, usual: np.ndarray, stands: np.ndarray, known: np.ndarray, stands_out: float
) -> np.ndarray:
    """Where the picture shows somebody in front of what stands, bool `(H, W)`; at least a part of him where `known`.

    Of two views the one with somebody in it has his outline, which the other lacks: who enters and stays is not put in.
    Nobody is taken out by half: where what is beside him never stands still, he may be a part of it.
    """
    cv2 = opencv()
    size = height, width = stands.shape
    reach = 2 * max(1, round(max(size) / 400)) + 1
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    smooth, usual = cv2.blur(picture, (3, 3)), as_float(usual)
    # Outside of what is there within `reach`: more than a shift, in which edges and cobbles differ, too.
    off = np.maximum(smooth - cv2.dilate(usual, ball), cv2.erode(usual, ball) - smooth).max(-1)
    stands = (
        cv2.boxFilter(stands.astype(np.float32), -1, (2 * reach + 1, 2 * reach + 1)) > 0.6
    )  # and so do lines
    weak = cv2.morphologyEx(
        ((off > stands_out / 3) & stands).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))
    )
    weak = cv2.morphologyEx(weak, cv2.MORPH_CLOSE, ball, iterations=2)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(weak)
    seeded = np.bincount(labels[off > stands_out], minlength=count)
    open_ = np.bincount(labels[known], minlength=count)
    restless = ((off > stands_out) & ~stands & known).astype(np.uint8)
    with_him, without = (_steepness(grey(view)) for view in (picture, usual))
    out, beside = np.zeros(size, bool), round(ONE_SUBJECT * max(size)) + 3 * reach
    for i in range(1, count):
        area = boxes[i, cv2.CC_STAT_AREA]
        if min(area, open_[i]) < max(12, SMALLEST * height * width) or seeded[i] < 0.25 * area:
            continue
        left, top, across, down = boxes[i, :4]
        box = (
            slice(max(0, top - beside), top + down + beside),
            slice(max(0, left - beside), left + across + beside),
        )
        body = (labels[box] == i).astype(np.uint8)
        rim = (cv2.dilate(body, ball) > 0) & (cv2.erode(body, ball) == 0)
        near = cv2.boxFilter(body.astype(np.float32), -1, (2 * beside + 1, 2 * beside + 1)) > 1e-6
        outline = with_him[box][rim].mean() / max(without[box][rim].mean(), 1e-3)
        if seeded[i] * outline > DISTINCT * area and restless[box][near].sum() < LOOSE * area:
            out[box] |= cv2.dilate(body, ball, iterations=3) > 0
    return out


def _steepness(luma: np.ndarray) -> np.ndarray:
    cv2 = opencv()
    luma = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), 1)  # noise is no detail
    return np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))
