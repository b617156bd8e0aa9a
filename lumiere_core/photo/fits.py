"""The motions that a camera may have, and how each is fitted to points that were followed.

A motion of a frame is said by where it takes the four corners of the picture, a box `(4, 2)` in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..media.frames import told
from ..media.pictures import opencv
from ..progress import Progress

LOOKING = "finding the camera"
FEWEST = 8  # points that agree, twice the 4 a homography needs; each of two halves has to have them
ZOOMED = 0.5, 2.0  # what a camera makes of an area: a fit that says more was torn from too few points


# The models, simplest first. Each row gives, for points (N, 2) and where they go, a linear system for its numbers, and
# a matrix made of these numbers.
def _shift(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.tile(np.eye(2), (len(p), 1)), (q - p).ravel()


def _similarity(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y, one, none = p[:, 0], p[:, 1], np.ones(len(p)), np.zeros(len(p))
    rows = np.stack([np.stack([x, -y, one, none], 1), np.stack([y, x, none, one], 1)], 1)  # (N, 2, 4)
    return rows.reshape(-1, 4), (q - p).ravel()


def _homography(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, none = np.ones((len(p), 1)), np.zeros((len(p), 3))
    line = np.hstack([p, one])
    rows = np.stack(
        [np.hstack([line, none, -q[:, :1] * p]), np.hstack([none, line, -q[:, 1:] * p])], 1
    )  # (N, 2, 8)
    return rows.reshape(-1, 8), (q - p).ravel()


MODELS: dict[str, tuple[Callable, Callable[..., list]]] = {
    "shift": (_shift, lambda x, y: [1, 0, x, 0, 1, y, 0, 0, 1]),
    "similarity": (_similarity, lambda a, b, x, y: [1 + a, -b, x, b, 1 + a, y, 0, 0, 1]),
    "homography": (_homography, lambda a, b, c, d, e, f, g, h: [1 + a, b, c, d, 1 + e, f, g, h, 1]),
}


def mapped(place: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points `(N, 2)` through a homography."""
    if not len(points):
        return points
    return opencv().perspectiveTransform(points[None].astype(np.float64), place)[0]


def box_of(size: tuple[int, int]) -> np.ndarray:
    """The corners of a picture, `(4, 2)`."""
    width, height = size
    return np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float32)


def fitted_boxes(
    model: str,
    corners: np.ndarray,
    seen: np.ndarray,
    agree: np.ndarray,
    size: tuple[int, int],
    progress: Progress | None = None,
) -> np.ndarray:
    """Where a model takes the picture's corners in each frame, `(T, 4, 2)`; NaN where too few points agree.

    Least squares, points that fit worse counting less (Cauchy's weights), in numbers around 1.
    """
    rows_of, matrix_of = MODELS[model]
    middle, half = np.array(size) / 2, max(size) / 2
    out = np.full((len(seen), 4, 2), np.nan)
    for to, points, good in zip(out, told(seen, len(seen), LOOKING, progress), agree, strict=True):
        if good.sum() < FEWEST:
            continue
        p, q = (corners[good] - middle) / half, (points[good] - middle) / half
        rows, wanted = rows_of(p, q)
        weight = np.ones(len(p))
        for _ in range(4):
            w = np.repeat(np.sqrt(weight), 2)
            numbers = np.linalg.lstsq(rows * w[:, None], wanted * w, rcond=None)[0]
            away = np.linalg.norm((rows @ numbers - wanted).reshape(-1, 2), axis=1)
            weight = 1 / (1 + np.square(away / max(1.5 * np.median(away), 0.02 / half)))
        place = np.array(matrix_of(*numbers)).reshape(3, 3)
        there = mapped(place, (box_of(size) - middle) / half) * half + middle
        if ZOOMED[0] < area_of(there) / (size[0] * size[1]) < ZOOMED[1]:
            to[:] = there
    return out


def area_of(box: np.ndarray) -> float:
    """A rectangle's area; of another box `(4, 2)` twice its smallest triangle of corners, below 0 if turned over."""
    a, b, c, d = box  # in the order of `box_of`

    def half(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return min(half(a, b, c), half(d, c, b), half(b, d, a), half(c, a, d))
