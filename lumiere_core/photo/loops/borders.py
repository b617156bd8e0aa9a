"""Which kind of loop each pixel takes, so that neighbours that loop in different ways do not tear what lies on both.

`periods.py` says what each kind costs at each pixel; here borders have their costs, and the picture is divided.
"""

from __future__ import annotations

import numpy as np

from ...media.measure import BLOCKS
from ...media.pictures import opencv
from ...progress import Progress

UNSEEN = (1.5 / 255) ** 2  # of an energy: nobody sees less
MOMENTS = 48  # moments of the loop at which two kinds of loop are compared
SWEEPS = 10  # of the messages over the picture, each way
MERGES = 3  # rounds in which patches are given to other kinds
HIDDEN = 4.0  # energies of a usual contrast: a border that differs by less is hardly seen in it
PASSING = 6  # moments: for so long two loops are compared at a time, and the worst such time counts
HIGHEST = 400.0  # of such a cost
WORST_TORN = 0.005  # of the blocks may be torn worse than is said
NEIGHBOURHOOD = 9  # pixels of the small clip, as far as two loops are compared around a border


def streams(
    clip: np.ndarray, still: np.ndarray | None, kinds: list[tuple[int, int]], length: int
) -> np.ndarray:
    """Which frame each kind shows at some moments of the loop, as pictures `(L, n, h, w, 3)` by index, lazily."""
    times = np.unique(np.linspace(0, length - 1, min(length, MOMENTS)).round().astype(int))
    source = clip if still is None else np.concatenate([clip, still[None]])
    index = np.array([[s + (t - s) % p if p else len(clip) for t in times] for p, s in kinds])  # (L, n)
    return source, index


def contrasts(clip: np.ndarray) -> np.ndarray:
    """The energy of a usual contrast between neighbours that comes and goes, `(h, w)`, with what the eye leaves of it.

    A border between two loops is seen where neighbours always stand to each other in the same way.
    """
    middle = clip.mean(0)
    heights = np.zeros(middle.shape[:2], np.float32)
    for frame in clip:
        away = np.pad(frame - middle, ((0, 1), (0, 1), (0, 0)), mode="edge")
        down, across = away[1:, :-1] - away[:-1, :-1], away[:-1, 1:] - away[:-1, :-1]
        heights += np.sqrt((np.square(down) + np.square(across)).mean(-1) / 2)
    return opencv().blur(np.square(heights / len(clip)), (3, 3)).clip(0) + UNSEEN


def border_costs(
    pictures: tuple[np.ndarray, np.ndarray], scale: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """What it costs at each pixel that two kinds meet there, `(h, w, L, L)`: how unlike they are at their worst time.

    The mean over the loop would allow that somebody who crosses the border is cut in two. Looked at around each pixel:
    behind a post two loops meet unseen, but nobody who passes it comes out again.
    """
    source, index = pictures
    height, width = scale.shape
    out = np.zeros((height, width, len(index), len(index)), np.float32)
    for y in range(height):
        row = source[:, y]  # (T, w, 3)
        for part in np.array_split(index, max(1, index.shape[1] // PASSING), axis=1):
            shown = row[part].transpose(2, 0, 1, 3).reshape(width, len(index), -1)  # (w, L, n * 3)
            square = np.square(shown).sum(-1)
            apart = square[:, :, None] + square[:, None] - 2 * shown @ shown.transpose(0, 2, 1)
            np.maximum(out[y], apart / shown.shape[-1], out=out[y])
        out[y] /= scale[y][:, None, None]
        if progress:
            progress(y + 1, height, "comparing loops")
    np.clip(out * out / (out + HIDDEN), 0, HIGHEST, out=out)
    for kind in range(len(index)):
        out[:, :, kind] = opencv().blur(np.ascontiguousarray(out[:, :, kind]), (NEIGHBOURHOOD, NEIGHBOURHOOD))
    return out


def fitted_together(
    unary: np.ndarray, between: np.ndarray, free: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """Which kind each cell takes, `(h, w)`: loopy belief propagation in sweeps (Tappen and Freeman, ICCV 2003).

    unary `(L, h, w)`; between `(h, w, L, L)`, of which a border costs the mean of both sides, but nothing where the
    mask ends, `free` `(h, w)`: that border is the artist's, and softened later.
    """
    costs = np.ascontiguousarray(unary.transpose(1, 2, 0), np.float32)  # (h, w, L)
    height, width, _ = costs.shape
    from_left, from_right, from_top, from_bottom = (np.zeros_like(costs) for _ in range(4))

    inside = free[..., None, None] / np.float32(2)

    def told_on(told: np.ndarray, a: tuple, b: tuple) -> np.ndarray:
        message = (told[..., None] + (between[a] + between[b]) * np.minimum(inside[a], inside[b])).min(-2)
        return message - message.min(-1, keepdims=True)

    for sweep in range(SWEEPS):
        if progress:
            progress(sweep + 1, SWEEPS, "fitting loops together")
        for x in range(width - 1):
            told = costs[:, x] + from_left[:, x] + from_top[:, x] + from_bottom[:, x]
            from_left[:, x + 1] = told_on(told, np.s_[:, x], np.s_[:, x + 1])
        for x in range(width - 1, 0, -1):
            told = costs[:, x] + from_right[:, x] + from_top[:, x] + from_bottom[:, x]
            from_right[:, x - 1] = told_on(told, np.s_[:, x], np.s_[:, x - 1])
        for y in range(height - 1):
            told = costs[y] + from_top[y] + from_left[y] + from_right[y]
            from_top[y + 1] = told_on(told, np.s_[y], np.s_[y + 1])
        for y in range(height - 1, 0, -1):
            told = costs[y] + from_bottom[y] + from_left[y] + from_right[y]
            from_bottom[y - 1] = told_on(told, np.s_[y], np.s_[y - 1])
    cells = (costs + from_left + from_right + from_top + from_bottom).argmin(-1)
    return _merged(cells, costs, between, free, progress)


def _merged(
    cells: np.ndarray,
    costs: np.ndarray,
    between: np.ndarray,
    free: np.ndarray,
    progress: Progress | None = None,
) -> np.ndarray:
    """The cells with every patch given to the kind that serves it best, until none is better off with another.

    Messages settle small things well and leave patches whose borders cost more than they are worth. A patch is what one
    kind covers in one piece, or all that a kind could take over in one piece. Every change lowers the whole cost.
    """
    count = costs.shape[-1]
    for _ in range(MERGES):
        before = cells.copy()
        for kind in range(count):
            if progress:
                progress(kind + 1, count, "joining patches")
            _give(cells, cells != kind, kind, costs, between, free)
            for other in np.unique(cells):
                if other != kind:
                    _give(cells, cells == other, kind, costs, between, free)
        if (cells == before).all():
            break
    return cells


def _give(
    cells: np.ndarray,
    patches: np.ndarray,
    kind: int,
    costs: np.ndarray,
    between: np.ndarray,
    free: np.ndarray,
) -> None:
    """Give those patches to a kind, in place, for which that costs less, borders and all."""
    if not (patches := patches & free).any():
        return
    count, patch = opencv().connectedComponents(patches.astype(np.uint8), connectivity=4, ltype=4)
    rows, columns = np.nonzero(patches)
    mine = patch[rows, columns]
    gain = costs[rows, columns, cells[rows, columns]] - costs[rows, columns, kind]
    given = np.where(patches, kind, cells)
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        y, x = rows + down, columns + across
        there = (y >= 0) & (y < cells.shape[0]) & (x >= 0) & (x < cells.shape[1])
        y, x = y.clip(0, cells.shape[0] - 1), x.clip(0, cells.shape[1] - 1)
        there &= free[y, x]
        inner = there & patches[y, x]
        for taken, sign in ((cells, 1), (given, -1)):
            a, b = taken[rows, columns], taken[y, x]
            cost = (between[rows, columns, a, b] + between[y, x, a, b]) / 2
            gain += sign * np.where(inner, cost / 2, np.where(there, cost, 0))
    better = np.bincount(mine, gain, count) > 1e-3
    better[0] = False
    cells[better[patch]] = kind


def torn(cells: np.ndarray, between: np.ndarray, free: np.ndarray) -> float:
    """How much the worst borders tear, in usual contrasts between neighbours: 3 is seen by who looks for it, 10 by all.

    A border that goes through a whole block counts in full; the worst block in two hundred says how much.
    """
    height, width = cells.shape
    costs = np.zeros((height, width), np.float32)
    for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        y, x = np.nonzero((cells[a] != cells[b]) & free[a] & free[b])
        kinds = cells[a][y, x], cells[b][y, x]
        cost = (between[a][(y, x, *kinds)] + between[b][(y, x, *kinds)]) / 2
        np.maximum.at(costs, (y, x), cost)
    side = max(4, -(-max(height, width) // BLOCKS))
    rows, columns = -(-height // side), -(-width // side)
    full = np.zeros((rows * side, columns * side), np.float32)
    full[:height, :width] = costs
    blocks = np.sort(full.reshape(rows, side, columns, side).sum((1, 3)) / side, axis=None)
    return float(np.sqrt(blocks[-max(1, round(WORST_TORN * blocks.size))]))
