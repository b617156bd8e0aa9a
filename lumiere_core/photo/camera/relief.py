"""A photo cut into sheets by its depth, each whole also where a nearer one hides it, so that a camera may move past.

Nearness is `(H, W)` in [0, 1], 1 is nearest: the disparity that depth estimators give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...media.pictures import opencv
from ..brush import Finer
from ..warp import resized

SHEETS = 4  # at most
CLIFF = 0.08  # of the whole depth, within a few pixels: where one thing ends before another
FRINGE = 2  # pixels around a near thing in which its colour is mixed with what is behind
NEARER = (
    0.3  # of the way up a cliff belongs to what is near: a rim of ground is missed less than one of the thing
)
SPECK = 1e-4  # of a picture's pixels
FLAT = 0.02  # of the range of a depth picture: less is no depth


@dataclass(frozen=True)
class Sheet:
    """All that is about as far away: its pixels and nearness in a box of the photo, spread out under what is nearer.

    cover `(h, w)`: 1 where it is, soft at the edge; None for the farthest one, which is everywhere.
    """

    left: int
    top: int
    finer: Finer
    nearness: np.ndarray  # (H, W), of the whole photo
    cover: np.ndarray | None


def fitted_nearness(depth: np.ndarray, photo: np.ndarray) -> np.ndarray | None:
    """A depth picture `(h, w)`, white near, as nearness of the photo `(H, W, 3)`, its edges the photo's. None: flat."""
    cv2 = opencv()
    height, width = photo.shape[:2]
    low, high = (float(v) for v in np.quantile(depth, (0.005, 0.995)))
    if high - low < FLAT:
        return None
    depth = ((depth - low) / (high - low)).clip(0, 1).astype(np.float32)
    # As far as an edge may lie beside the photo's: about a pixel of the depth picture, however large that is here.
    radius = max(1, round(max(height / depth.shape[0], width / depth.shape[1])))
    radius = min(radius, max(1, round(0.01 * max(height, width))))
    smaller = depth.shape[0] * depth.shape[1] > height * width
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    depth = cv2.resize(depth, (width, height), interpolation=how)
    # Cliffs are steep, or the slope between two things would be stretched between them; they stand where the photo has
    # its edge. How near both sides are is said by the depth picture alone, or thin things would waver.
    around = np.ones((2 * radius + 3, 2 * radius + 3))
    near, far = cv2.dilate(depth, around), cv2.erode(depth, around)
    guided = _guided(depth, cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), 2 * radius)
    steep = np.where(guided - far > NEARER * (near - far), near, far)
    return np.where(near - far > CLIFF, steep, depth).astype(np.float32)


def _guided(depth: np.ndarray, guide: np.ndarray, radius: int) -> np.ndarray:
    """The depth as a line of the photo's grey in every neighbourhood (He et al., "Guided image filtering", 2010)."""
    cv2 = opencv()
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, side, borderType=cv2.BORDER_REFLECT)

    mg, md = mean(guide), mean(depth)
    slope = (mean(guide * depth) - mg * md) / (mean(guide * guide) - mg * mg + 1e-3)
    return (mean(slope) * guide + mean(md - slope * mg)).clip(0, 1)


def sheets_of(photo: np.ndarray, nearness: np.ndarray | None) -> list[Sheet]:
    """The photo `(H, W, 3)` as sheets, the farthest first. Laid over one another at rest they are the photo."""
    if nearness is None:
        return [Sheet(0, 0, Finer(photo), np.zeros(photo.shape[:2], np.float32), None)]
    cv2 = opencv()
    bounds = _bounds(nearness)
    solid = cv2.medianBlur(np.searchsorted(bounds, nearness).astype(np.uint8), 3)
    for level in range(1, len(bounds) + 1):
        solid[_specks(solid >= level)] = level - 1
    index = cv2.dilate(solid, np.ones((2 * FRINGE + 1, 2 * FRINGE + 1)))
    ends = [0.0, *bounds, 1.0]
    made = []
    for level in range(len(bounds) + 1):
        own = solid == level
        if not own.any():
            continue
        y, x = _nearest(index <= level)  # of each pixel: the nearest that this sheet or a farther one has
        mine = index[y, x] == level
        if not made:
            mine = np.ones_like(mine)
        pixels = _filled(photo, index <= level, y, x)
        ny, nx = _nearest(own)
        deep = nearness[ny, nx].clip(ends[level], ends[level + 1])
        deep = np.where(own, deep, cv2.blur(deep, (9, 9)))
        if not made:
            made.append(Sheet(0, 0, Finer(pixels), deep.astype(np.float32), None))
            continue
        cover = (2 * cv2.GaussianBlur(mine.astype(np.float32), (0, 0), 1.0)).clip(0, 1)
        used = cover > 1 / 255
        rows, columns = np.flatnonzero(used.any(1)), np.flatnonzero(used.any(0))
        room = 16  # for the filter that looks between pixels
        top, bottom = max(0, rows[0] - room), rows[-1] + room + 1
        left, right = max(0, columns[0] - room), columns[-1] + room + 1
        box = slice(top, bottom), slice(left, right)
        made.append(
            Sheet(
                int(left),
                int(top),
                Finer(pixels[box]),
                deep.astype(np.float32),
                np.ascontiguousarray(cover[box]),
            )
        )
    return made


def _specks(near: np.ndarray) -> np.ndarray:
    """Parts too small to be things of their own: noise of the depth picture."""
    cv2 = opencv()
    _, label, boxes, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8))
    small = boxes[:, cv2.CC_STAT_AREA] < SPECK * near.size
    small[0] = False  # all that is not near
    return small[label]


def _bounds(nearness: np.ndarray) -> np.ndarray:
    """Where the photo is cut in depth: between SHEETS groups of alike nearness (Lloyd's method)."""
    few = np.sort(nearness[:: max(1, len(nearness) // 200), :: max(1, nearness.shape[1] // 200)].ravel())
    middles = np.linspace(few[0], few[-1], 2 * SHEETS + 1)[1::2]
    for _ in range(20):
        bounds = (middles[1:] + middles[:-1]) / 2
        groups = np.split(few, np.searchsorted(few, bounds))
        middles = np.array([g.mean() if g.size else m for g, m in zip(groups, middles, strict=True)])
    return (middles[1:] + middles[:-1]) / 2


def _nearest(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the nearest known pixel of each pixel, `(H, W)` each."""
    cv2 = opencv()
    _, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros(label.max() + 1, np.int64)
    places[label[known]] = np.flatnonzero(known)
    return np.divmod(places[label], known.shape[1])


def _filled(photo: np.ndarray, known: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The photo where it is known; elsewhere its neighbourhood mirrored over the border, with texture and grain.

    y, x: the nearest known pixel of each. Far inside, where texture would be drawn out, and at its kinks the mirrored
    picture gives way to a smooth one.
    """
    cv2 = opencv()
    if known.all():
        return photo
    height, width = known.shape
    rows, columns = np.mgrid[:height, :width]
    my, mx = (2 * y - rows).clip(0, height - 1), (2 * x - columns).clip(0, width - 1)
    useful = known[my, mx]
    my, mx = np.where(useful, my, y), np.where(useful, mx, x)
    mirrored = photo[my, mx]
    even = _spread(photo, known)
    away = np.hypot(y - rows, x - columns).astype(np.float32)
    trust = np.exp(-((away / (0.03 * max(height, width))) ** 2)) * np.where(useful, 1, 0.35)
    trust = cv2.GaussianBlur(trust.astype(np.float32), (0, 0), 2)[..., None]
    made = even + trust * (mirrored - even)
    return np.where(known[..., None], photo, made).astype(np.float32)


def _spread(photo: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Known colours spread smoothly over all that is not known, at the scale of the hole (push-pull)."""
    weight = known.astype(np.float32)[..., None]
    if known.all() or min(known.shape) < 2:
        return np.where(known[..., None], photo, (photo * weight).sum((0, 1)) / max(1.0, float(weight.sum())))
    cv2 = opencv()
    half = [(n + 1) // 2 for n in known.shape[::-1]]
    less = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(photo * weight, half, interpolation=cv2.INTER_AREA) / less.clip(1e-6)[..., None]
    wide = resized(cv2.GaussianBlur(_spread(small, less > 0), (3, 3), 0), *known.shape)
    return np.where(known[..., None], photo, wide)
