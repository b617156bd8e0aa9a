"""Optical flow and warping of single frames, arrays `(H, W, 3)` in float32, [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..media.pictures import opencv

FLOW_SIDE = 960  # optical flow is measured on a picture whose long side is at most this
BAND = 256  # rows that are looked up at a time: places to look at take two thirds of a picture's memory


def grey(frame: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """uint8 `(H * scale, W * scale)` luma, for the functions that look for features."""
    cv2 = opencv()
    luma = cv2.cvtColor(np.ascontiguousarray(frame, np.float32), cv2.COLOR_RGB2GRAY)
    if scale < 1:
        luma = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return (luma.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def resized(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """A smooth field `(h, w)` or `(h, w, 2)` on a finer or coarser grid; its values stay."""
    cv2 = opencv()
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)


def flow_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Optical flow in pixels, `(H, W, 2)` as (x, y): what is at `p` in `a` is at `p + flow[p]` in `b`.

    Dense inverse search (Kroeger et al. 1603.03590), at a reduced size for large pictures.
    """
    cv2 = opencv()
    height, width = a.shape[:2]
    scale = min(1.0, FLOW_SIDE / max(height, width))
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    small = [np.pad(g, _room_for_patches(g), mode="edge") for g in (grey(a, scale), grey(b, scale))]
    flow = search.calc(*small, None)[: round(height * scale), : round(width * scale)]
    factors = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    flow = resized(flow, height, width)
    flow *= factors
    return flow


def _room_for_patches(picture: np.ndarray, least: int = 32) -> list[tuple[int, int]]:
    """Padding that makes a tiny picture large enough for the search."""
    return [(0, max(0, least - n)) for n in picture.shape]


def warped(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The frame looked up at `p + flow[p]`, bicubic; beyond its border it is mirrored. In [0, 1]."""
    cv2 = opencv()
    out = np.empty((*flow.shape[:2], *frame.shape[2:]), np.float32)
    for rows, x, y in _places(*flow.shape[:2]):
        x, y = flow[rows, :, 0] + x, flow[rows, :, 1] + y
        moved = cv2.remap(frame, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        np.clip(moved, 0, 1, out=out[rows])
    return out


def flow_midway(flow: np.ndarray, share: float) -> np.ndarray:
    """The flow `(H, W, 2)` of whatever stands at each pixel after a share of its way: `u(p) = flow(p - share u(p))`."""
    cv2 = opencv()
    out = np.empty_like(flow)
    for rows, x, y in _places(*flow.shape[:2]):
        here = flow[rows]
        for _ in range(6):
            back = np.float32(-share) * here
            here = cv2.remap(
                flow, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        out[rows] = here
    return out


def _places(height: int, width: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Rows of a picture, a band at a time, with the x of its columns, `(W,)`, and the y of those rows, `(rows, 1)`."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    for top in range(0, height, BAND):
        rows = slice(top, min(height, top + BAND))
        yield rows, x, y[rows]
