"""The smooth field of motion that a drawing makes on a photo, and waves that run over it.

A field lies on a grid over the whole photo, GRID cells along its long side. `js/brush_field.js` and `js/brush_paint.js`
compute the same for the preview in the browser; tests/test_panels.py compares. Places are x, y in shares of the photo,
lengths in photo widths, with y downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..media.pictures import opencv
from .strokes import BRUSH_PRESETS, Drawing, Points, Preset, Stroke

GRID = 96
EDGE = 0.1  # a step in colour, of 1, across which motion spreads e times less
LEAK = 0.02  # how well it spreads over the mask's border, of 1 inside: strokes may begin outside
BARRIER = 1e-3  # how well over the hardest edge
ROUNDS = 48  # of relaxation on each level
AROUND = 0.12  # photo widths from an anchor at which an even motion is whole
ANCHOR = 0.012  # its own radius
BESIDE = 0.02  # photo widths from a stroke within which its root counts, and no other's
GOLDEN = 0.6180339887498949  # multiples of it, less their whole part, are spread evenly
HORIZON = 0.25  # photo heights above the top of a mask of water


@dataclass(frozen=True)
class Layer:
    """All strokes that move alike.

    push   `(gh, gw, 2)`: photo widths per second where texture is carried; elsewhere which way and how far, up to 1
    share  `(gh, gw)`: 1 on its strokes, 0 at anchors and on the strokes of others
    front  the direction in which waves run, of length 1
    speed  cycles per second
    """

    row: Preset
    speed: float
    push: np.ndarray
    share: np.ndarray
    front: tuple[float, float]


def grid_of(width: int, height: int) -> tuple[int, int]:
    """Columns and rows of the field's grid."""
    scale = GRID / max(width, height)
    return max(2, round(width * scale)), max(2, round(height * scale))


def layers_of(
    drawing: Drawing,
    own: Stroke,
    direction: float | None,
    photo: np.ndarray,
    moves: np.ndarray,
    aspect: float,
) -> list[Layer]:
    """The layers of a drawing, from the photo `(gh, gw, 3)` and the mask `(gh, gw)` on the field's grid.

    own: preset and speed of what says none. direction: in degrees, where nothing is drawn; None is the preset's own.
    aspect: the photo's width over its height. With no stroke, everything but the anchors moves in the direction.
    """
    strokes = drawing.strokes or (Stroke(),)
    groups: dict[tuple, list[Stroke]] = {}
    for stroke in strokes:
        name = stroke.preset or own.preset
        row, speed = BRUSH_PRESETS[name], stroke.speed if stroke.speed is not None else own.speed
        speed = row.speed if speed is None else speed
        groups.setdefault((name, 0 if row.kind == "carried" else speed), []).append(
            Stroke(name, speed, stroke.points)
        )
    values = np.zeros((*moves.shape, 3 * len(groups)), np.float32)
    count = np.zeros(moves.shape, np.float32)
    fronts = []
    for k, members in enumerate(groups.values()):
        total = np.zeros(2)
        for stroke in members:
            if stroke.points:
                total += _drawn(stroke, values[..., 3 * k : 3 * k + 3], count, aspect)
            else:
                even = _along_mask(photo, moves, aspect) if drawing.strokes else None
                total += _everywhere(
                    stroke, even, direction, values[..., 3 * k : 3 * k + 3], count, drawing, moves, aspect
                )
        length = np.hypot(*total)
        fronts.append((float(total[0] / length), float(total[1] / length)) if length > 1e-6 else (1.0, 0.0))
    fixed = count > 0
    values[fixed] /= count[fixed][:, None]
    still = _near(drawing.anchors, ANCHOR, moves.shape, aspect)
    values[still] = 0
    values = relaxed(photo, moves, values, fixed | still)
    near, _ = depth(moves, (np.arange(len(moves), dtype=np.float32) + 0.5) / len(moves))
    layers = []
    for k, (name, speed) in enumerate(groups):
        row = BRUSH_PRESETS[name]
        push = values[..., 3 * k : 3 * k + 2] * (near[:, None, None] if row.water else 1)
        if row.kind == "rooted" and all(stroke.points for stroke in groups[name, speed]):
            push = push * _grown(groups[name, speed], moves.shape, aspect)[..., None]
        layers.append(Layer(row, speed, push, values[..., 3 * k + 2].clip(0, 1), fronts[k]))
    return layers


def _drawn(stroke: Stroke, values: np.ndarray, count: np.ndarray, aspect: float) -> np.ndarray:
    """Lays a stroke down on the cells it passes; the sum of its directions."""
    row = BRUSH_PRESETS[stroke.preset]
    height, width = count.shape
    places, ways = pieces(stroke.points, width, height, aspect)
    push = ways * stroke.speed if row.kind == "carried" else ways
    if row.kind == "rooted":
        push = np.stack([-ways[:, 1], ways[:, 0]], 1)
    x, y = (places * (width, height)).astype(int).clip(0, (width - 1, height - 1)).T
    np.add.at(values, (y, x), np.concatenate([push, np.ones((len(push), 1))], 1).astype(np.float32))
    np.add.at(count, (y, x), 1)
    return push.sum(0)


def _grown(strokes: list[Stroke], shape: tuple[int, int], aspect: float) -> np.ndarray:
    """How far things on a root give way, `(gh, gw)`: 0 where strokes begin and behind, 1 from their tips on.

    By each stroke's own axis, also far beside it; between strokes the near ones count most.
    """
    x = (np.arange(shape[1])[None] + 0.5) / shape[1]
    y = (np.arange(shape[0])[:, None] + 0.5) / shape[0] / aspect
    total, weights = np.zeros(shape), np.zeros(shape)
    for stroke in strokes:
        (ax, ay), (bx, by) = stroke.points[0], stroke.points[-1]
        dx, dy = bx - ax, (by - ay) / aspect
        along = (((x - ax) * dx + (y - ay / aspect) * dy) / max(1e-9, dx * dx + dy * dy)).clip(0, 1)
        away = (x - ax - along * dx) ** 2 + (y - ay / aspect - along * dy) ** 2
        weight = 1 / (away + BESIDE**2) ** 2
        total += weight * along**1.5
        weights += weight
    return (total / weights).astype(np.float32)


def pieces(points: Points, width: int, height: int, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """A path cut into pieces of equal length, at most half a cell: middles in shares, and directions of length 1."""
    line = np.array(points, np.float64) * (1, 1 / aspect)  # in photo widths
    marks = np.concatenate([[0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
    many = max(1, math.ceil(2 * width * marks[-1]))
    even = np.linspace(0, marks[-1], many + 1)
    line = np.stack([np.interp(even, marks, line[:, axis]) for axis in (0, 1)], 1)
    ways = np.diff(line, axis=0)
    ways /= np.hypot(*ways.T)[:, None].clip(1e-9)
    return (line[1:] + line[:-1]) / 2 * (1, aspect), ways


def _everywhere(
    stroke: Stroke,
    ways: np.ndarray | None,
    direction: float | None,
    values: np.ndarray,
    count: np.ndarray,
    drawing: Drawing,
    moves: np.ndarray,
    aspect: float,
) -> np.ndarray:
    """Motion of the whole mask: in one direction, or by `ways` `(gh, gw, 2)`. The sum of its directions."""
    row = BRUSH_PRESETS[stroke.preset]
    if ways is None:
        angle = math.radians((row.direction if direction is None else direction) - (90 if row.light else 0))
        ways = np.broadcast_to(np.array([math.cos(angle), -math.sin(angle)], np.float32), (*moves.shape, 2))
    strength = np.full(moves.shape, stroke.speed if row.kind == "carried" else 1, np.float32)
    if row.kind == "rooted":
        top, bottom = height_of(moves)
        y = (np.arange(len(moves), dtype=np.float32) + 0.5) / len(moves)
        strength *= (((bottom - y) / (bottom - top)).clip(0, 1) ** 1.5)[:, None]
    here = (moves > 0) & ~_near(drawing.anchors, AROUND, moves.shape, aspect)
    push = ways * strength[..., None]
    values[here] += np.concatenate([push, np.ones_like(push[..., :1])], 2)[here]
    count[here] += 1
    return push[here].sum(0)


def _near(points: Points, radius: float, shape: tuple[int, int], aspect: float) -> np.ndarray:
    """Cells within so many photo widths of any point, and those that hold one: `(gh, gw)` of bool."""
    height, width = shape
    x = (np.arange(width)[None] + 0.5) / width
    y = (np.arange(height)[:, None] + 0.5) / height
    near = np.zeros(shape, bool)
    for px, py in points:
        near |= (x - px) ** 2 + ((y - py) / aspect) ** 2 <= radius**2
        near[min(height - 1, int(py * height)), min(width - 1, int(px * width))] = True
    return near


def _along_mask(photo: np.ndarray, moves: np.ndarray, aspect: float) -> np.ndarray:
    """Directions `(gh, gw, 2)` in which water would flow through the mask, from its left or upper end to the other.

    A potential that rises from one end of the mask's longer axis to the other, and has no slope across its banks.
    """
    height, width = moves.shape
    inside = moves > 0
    y, x = np.nonzero(inside)
    place = np.stack([(x + 0.5) / width, (y + 0.5) / height / aspect], 1)
    place -= place.mean(0)
    _, axes = np.linalg.eigh(place.T @ place)
    axis = axes[:, 1] * (1 if axes[np.abs(axes[:, 1]).argmax(), 1] > 0 else -1)
    along = place @ axis
    room = 0.02 + 0.04 * np.ptp(along)
    values, fixed = np.zeros((*moves.shape, 1), np.float32), np.zeros(moves.shape, bool)
    low, high = along <= along.min() + room, along >= along.max() - room
    fixed[y[low], x[low]] = fixed[y[high], x[high]] = True
    values[y[high], x[high]] = 1
    potential = relaxed(np.zeros_like(photo), moves, values, fixed, 10 * ROUNDS, BARRIER)[..., 0]
    # Slopes from neighbours inside only: over the banks there is a cliff.
    ways = np.zeros((*moves.shape, 2), np.float32)
    right, down = inside[:, 1:] & inside[:, :-1], inside[1:] & inside[:-1]
    ways[:, 1:, 0] += np.where(right, np.diff(potential, axis=1), 0)
    ways[:, :-1, 0] += np.where(right, np.diff(potential, axis=1), 0)
    ways[1:, :, 1] += np.where(down, np.diff(potential, axis=0), 0)
    ways[:-1, :, 1] += np.where(down, np.diff(potential, axis=0), 0)
    return ways / np.hypot(*np.moveaxis(ways, 2, 0))[..., None].clip(1e-9)


def relaxed(
    photo: np.ndarray,
    moves: np.ndarray,
    values: np.ndarray,
    fixed: np.ndarray,
    sweeps: int = ROUNDS,
    leak: float = LEAK,
) -> np.ndarray:
    """Values `(gh, gw, C)` that are kept where `fixed` and spread evenly between, less over edges of photo and mask.

    The weighted Laplace equation (Levin et al., "Colorization using Optimization", 2004), by Jacobi's method from the
    coarsest grid to the finest.
    """
    across, down = (_bonds(photo, moves, axis, leak) for axis in (1, 0))
    return _level(across, down, values * fixed[..., None], fixed, sweeps)


def _bonds(photo: np.ndarray, moves: np.ndarray, axis: int, leak: float) -> np.ndarray:
    """How well motion spreads between neighbours along an axis."""
    apart = (np.diff(photo, axis=axis) ** 2).sum(2)
    inside = moves > 0
    both = inside[:, 1:] & inside[:, :-1] if axis else inside[1:] & inside[:-1]
    neither = ~(inside[:, 1:] | inside[:, :-1]) if axis else ~(inside[1:] | inside[:-1])
    bond = np.exp(-apart / (2 * EDGE**2)) * np.where(both | neither, 1, leak)
    return (bond + BARRIER).astype(np.float32)


def _level(
    across: np.ndarray, down: np.ndarray, values: np.ndarray, fixed: np.ndarray, sweeps: int
) -> np.ndarray:
    height, width, channels = values.shape
    x = values
    if max(height, width) > 3:
        held = _quartered(fixed[..., None].astype(np.float32))
        coarse = _quartered(values) / held.clip(1e-9)
        x = _level(*_coarser(across, down), coarse, held[..., 0] > 0, sweeps)
        x = x.repeat(2, 0).repeat(2, 1)[:height, :width]
        x = np.where(fixed[..., None], values, x)
    total = np.zeros((height, width), np.float32)
    total[:, 1:] += across
    total[:, :-1] += across
    total[1:] += down
    total[:-1] += down
    total = total[..., None].clip(1e-9)
    across, down, free = across[..., None], down[..., None], ~fixed[..., None]
    for _ in range(sweeps):
        pulled = np.zeros_like(x)
        pulled[:, 1:] += across * x[:, :-1]
        pulled[:, :-1] += across * x[:, 1:]
        pulled[1:] += down * x[:-1]
        pulled[:-1] += down * x[1:]
        x = np.where(free, x + np.float32(0.9) * (pulled / total - x), x)
    return x


def _quartered(field: np.ndarray) -> np.ndarray:
    """The sum of each four cells, `(h, w, C)`; beyond an odd side there is nothing."""
    height, width = field.shape[:2]
    field = np.pad(field, ((0, height % 2), (0, width % 2), (0, 0)))
    return field[::2, ::2] + field[1::2, ::2] + field[::2, 1::2] + field[1::2, 1::2]


def _coarser(across: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bonds between fours of cells: the mean of the two between them."""
    a, d = across[:, 1::2], down[1::2]
    a = np.pad(a, ((0, len(a) % 2), (0, 0)), mode="edge")
    d = np.pad(d, ((0, 0), (0, d.shape[1] % 2)), mode="edge")
    return (a[::2] + a[1::2]) / 2, (d[:, ::2] + d[:, 1::2]) / 2


def height_of(moves: np.ndarray) -> tuple[float, float]:
    """Top and bottom of a mask, in shares of its height."""
    used = np.nonzero((moves > 0).any(1))[0]
    return float(used[0] / len(moves)), float((used[-1] + 1) / len(moves))


def depth(moves: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How large things on water are at heights y, and how far away: it lies flat, with a horizon above the mask's top.

    Sizes are 1 on average, distances in photo heights, growing downwards by 1 over the size. A mask that begins at the
    photo's own top has no horizon: it is seen from above.
    """
    top, bottom = height_of(moves)
    if top == 0:
        return np.ones_like(y), y
    span = bottom - top + HORIZON
    mean = (HORIZON / span + 1) / 2
    size = ((y - top + HORIZON) / span).clip(0.05) / mean
    return size, span * mean * np.log(size)


def resampled(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A field of the grid at places x `(w,)`, y `(h,)` in shares of the photo: `(h, w)` or `(h, w, C)`, linearly."""
    height, width = field.shape[:2]
    gx, gy = np.meshgrid(x * width - 0.5, y * height - 0.5)
    remap, border = opencv().remap, opencv().BORDER_REPLICATE
    return remap(
        field, gx.astype(np.float32), gy.astype(np.float32), opencv().INTER_LINEAR, borderMode=border
    )


# How much faster, denser and more slanted each train of waves is, and its share of the height (they add up to 1).
# Ratios that are not whole numbers, so that crests of different trains meet at other places in each wave.
TRAINS = ((1.0, 1.0, 0.0, 0.55), (1.6, 1.7, 0.6, 0.3), (2.3, 2.3, -0.9, 0.15))


def cycles(rate: float, seconds: float) -> int:
    """Whole cycles in the loop, at least one."""
    return max(1, round(rate * seconds))


class Waves:
    """Three trains of waves of whole cycles each, at places `(h, w)`; at phase 0 there is none."""

    def __init__(
        self,
        layer: Layer,
        x: np.ndarray,
        y: np.ndarray,
        moves: np.ndarray,
        aspect: float,
        seconds: float,
        seed: int,
    ):
        row, (fx, fy) = layer.row, layer.front
        size, away = depth(moves, y) if row.water else (np.ones_like(y), y)
        gx, gy = (x - 0.5)[None] / size[:, None], (away / aspect)[:, None] * np.ones((1, len(x)))
        gx, gy = gx / row.length, gy / row.length
        along, across = gx * fx + gy * fy, gx * fy - gy * fx
        self.counts = [cycles(layer.speed * faster, seconds) for faster, _, _, _ in TRAINS]
        self.starts = [
            (2 * np.pi * (along * denser + across * slanted) + wobble(gx, gy, 3 * seed + i)).astype(
                np.float32
            )
            for i, (_, denser, slanted, _) in enumerate(TRAINS)
        ]

    def at(self, phase: float) -> np.ndarray:
        """Height `(h, w)`, of spread about as large as that of waves as high as 1."""
        return sum(
            np.float32(share * math.sqrt(0.5))
            * (np.sin(start - np.float32(2 * np.pi * (count * phase % 1))) - np.sin(start))
            for start, count, (*_, share) in zip(self.starts, self.counts, TRAINS, strict=True)
        )


def wobble(x: np.ndarray, y: np.ndarray, number: int) -> np.ndarray:
    """Another field for each number, smooth over about two wave lengths, of spread 1: so waves are not all alike."""
    total = np.zeros_like(x)
    for k in range(4):
        n = 4 * number + k + 1
        angle, start = 2 * np.pi * (n * GOLDEN % 1), 2 * np.pi * (n * 0.7548776662466927 % 1)
        total += np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / (3 + k)) + start)
    return total * math.sqrt(0.5)
