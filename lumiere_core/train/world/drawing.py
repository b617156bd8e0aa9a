"""The shapes of the drawn world: scenes as numbers, a canvas, signed distances and noise.

Everything is painted from coordinates in the unit square (x to the right, y down), so a picture does not
depend on its resolution or crop. Every plane is (B, C, T, H, W) with size 1 wherever a thing does not change:
what stands still is painted once, and only what moves costs a frame axis.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

TURN = 2 * math.pi
WHITE = (1.0, 1.0, 1.0)

# Names of the random numbers of a scene, in the order they are drawn from its seed. Append only: what stands
# before a new name keeps its value, and with it the look of every known scene.
ROLLS = (
    *("x", "y", "size", "speed", "phase", "rate"),
    *("horizon", "light x", "light y", "ground", "cells", "scenery x"),
    *("clouds", "bounce"),
)


class Words(Protocol):
    """The part of `scenes.Scene` that the drawing needs."""

    subject: str
    colour: str
    motion: str
    place: str
    time: str
    weather: str
    seed: int

    @property
    def direction(self) -> tuple[int, int]: ...


class SceneBatch:
    """What some scenes say, as numbers (B, C, 1, 1, 1), and the time `t` in seconds (B, 1, T, 1, 1)."""

    def __init__(self, scenes: Sequence[Words], t: Tensor, device: torch.device | str):
        self.scenes = scenes
        self.device = device
        self.t = t
        draws = []
        for scene in scenes:
            generator = random.Random(scene.seed)
            draws.append([generator.random() for _ in ROLLS])
        columns = torch.tensor(draws, dtype=torch.float32).to(device)
        self.rolls = {name: columns[:, i].view(-1, 1, 1, 1, 1) for i, name in enumerate(ROLLS)}
        self.horizon = self.between("horizon", 0.62, 0.74)
        # Nearly alike in all scenes: then the second alone says how far a sail has turned or a wave has rolled, and
        # single pictures, which are cheap, teach what moves.
        self.phase = self.between("phase", 0.0, TURN / 40)
        self.cells = (self.rolls["cells"] * 997).floor()
        self.directions = self._rows([scene.direction for scene in scenes])

    def _rows(self, rows: Sequence[float | Sequence[float]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.float32).to(self.device).view(len(rows), -1, 1, 1, 1)

    def between(self, roll: str, low: float, high: float) -> Tensor:
        """A scene's random number `roll`, uniform in [low, high): (B, 1, 1, 1, 1)."""
        return low + (high - low) * self.rolls[roll]

    def pick(self, table: Mapping[str, float | Sequence[float]], word: str, default: float = 0.0) -> Tensor:
        """Row of `table` for each scene's `word` (the name of a field, "time"): (B, C, 1, 1, 1)."""
        return self._rows([table.get(getattr(scene, word), default) for scene in self.scenes])

    def when(self, word: str, value: str) -> Tensor:
        """1 where a scene's `word` is `value`, else 0: (B, 1, 1, 1, 1)."""
        return self.pick({value: 1.0}, word)

    def happens(self, word: str, value: str) -> bool:
        """Whether any scene needs a thing at all."""
        return any(getattr(scene, word) == value for scene in self.scenes)

    def colour(self, rgb: Sequence[float]) -> Tensor:
        """One colour for the whole batch: (1, 3, 1, 1, 1)."""
        return self._rows([rgb])


class Canvas:
    """A picture (B, 3, 1 or T, H, W) and the coordinates of its pixels, painted back to front.

    `sharpness` is pixels per unit of length, so an edge is one pixel wide at any size and crop. `rows` are
    the lowest and highest y of each row of pixels over the batch, kept on the CPU.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        sharpness: Tensor,
        image: Tensor,
        rows: tuple[Tensor, Tensor] | None = None,
    ):
        self.x, self.y, self.sharpness, self.image, self.rows = x, y, sharpness, image, rows

    def cover(self, distance: Tensor) -> Tensor:
        """Share of each pixel that lies inside a shape, from the signed distance (negative inside)."""
        return (distance * -self.sharpness).add_(0.5).clamp_(0, 1)

    def paint(self, alpha: Tensor, colour: Tensor) -> None:
        """Blend `colour` over the picture with `alpha` in [0, 1]."""
        self.image.lerp_(colour, alpha)

    def fill(self, distance: Tensor, colour: Tensor) -> None:
        """Paint the inside of a shape."""
        self.paint(self.cover(distance), colour)

    def moving(self, num_frames: int) -> "Canvas":
        """The same picture with a frame axis: from here on things may move."""
        image = self.image.expand(-1, -1, num_frames, -1, -1).clone()
        return Canvas(self.x, self.y, self.sharpness, image, self.rows)

    def band(self, top: float, bottom: float = 1.0) -> "Canvas":
        """The rows that can show heights between top and bottom, sharing the picture: spares the others."""
        first = int((self.rows[1] < top).sum())
        last = max(int((self.rows[0] < bottom).sum()), first)
        image = self.image[..., first:last, :]
        return Canvas(self.x, self.y[..., first:last, :], self.sharpness, image)

    def at(
        self,
        x: Tensor,
        y: Tensor,
        size: Tensor,
        facing: Tensor | None = None,
        angle: Tensor | None = None,
    ) -> "Canvas":
        """The same picture in a subject's own coordinates.

        Origin (x, y), unit `size`, mirrored where `facing` is -1, turned clockwise by `angle`.
        """
        u = (self.x - x) / size
        v = (self.y - y) / size
        if facing is not None:
            u = u * facing
        if angle is not None:
            cos, sin = torch.cos(angle), torch.sin(angle)
            u, v = u * cos + v * sin, v * cos - u * sin
        return Canvas(u, v, self.sharpness * size, self.image)

    def warped(self, x: Tensor | None = None, y: Tensor | None = None) -> "Canvas":
        """The same picture with other coordinates, for shapes that bend."""
        return Canvas(self.x if x is None else x, self.y if y is None else y, self.sharpness, self.image)


# ------------------------------------------------------------------- signed distances


def length(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt()


def circle(at: Canvas, x: float | Tensor, y: float | Tensor, radius: float | Tensor) -> Tensor:
    return length(at.x - x, at.y - y) - radius


def ellipse(at: Canvas, x: float | Tensor, y: float | Tensor, a: float, b: float) -> Tensor:
    """An axis-parallel ellipse: exact on its short axis, good enough for one pixel elsewhere."""
    return (length((at.x - x) / a, (at.y - y) / b) - 1) * min(a, b)


def box(at: Canvas, x: float, y: float, half_width: float, half_height: float) -> Tensor:
    return torch.maximum((at.x - x).abs() - half_width, (at.y - y).abs() - half_height)


def segment(at: Canvas, x0: float, y0: float, x1: float, y1: float, radius: float) -> Tensor:
    """A stroke with round ends."""
    dx, dy = x1 - x0, y1 - y0
    along = (((at.x - x0) * dx + (at.y - y0) * dy) / (dx * dx + dy * dy)).clamp_(0, 1)
    return length(at.x - x0 - along * dx, at.y - y0 - along * dy) - radius


def polygon(at: Canvas, *corners: tuple[float, float]) -> Tensor:
    """A convex polygon, its corners in either sense of rotation."""
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges)
    distance = None
    for (x0, y0), (x1, y1) in edges:
        scale = math.copysign(math.hypot(x1 - x0, y1 - y0), area)
        nx, ny = (y1 - y0) / scale, -(x1 - x0) / scale
        side = at.x * nx + (at.y * ny - (x0 * nx + y0 * ny))
        distance = side if distance is None else torch.maximum(distance, side)
    return distance


def pentagram(at: Canvas, radius: float, waist: float) -> tuple[Tensor, Tensor]:
    """A five-pointed star with one point up, and the side of its ray a pixel lies on (negative left).

    `waist` is how fat the rays are, in (0, 1). Source: sdStar5 of Inigo Quilez, "2D distance functions".
    """
    ax, ay = math.cos(math.pi / 5), -math.sin(math.pi / 5)
    x, y = at.x.abs(), -at.y
    fold = 2 * (ax * x + ay * y).clamp(min=0)
    x, y = x - fold * ax, y - fold * ay
    fold = 2 * (ay * y - ax * x).clamp(min=0)
    side = x + fold * ax
    x, y = side.abs(), y - fold * ay - radius
    bx, by = -waist * ay, waist * ax - 1
    along = ((x * bx + y * by) / (bx * bx + by * by)).clamp(0, radius)
    return length(x - bx * along, y - by * along) * (y * bx - x * by).sign(), side * at.x.sign()


# ------------------------------------------------------------------- bells and noise


def bump(x: Tensor) -> Tensor:
    """A soft bell of height 1 and half width about 1, zero beyond 2."""
    return (1 - 0.25 * x * x).clamp_(min=0).square()


def fraction(x: Tensor) -> Tensor:
    return x - x.floor()


def cell_noise(column: Tensor, row: Tensor | float, cells: Tensor) -> Tensor:
    """A random number in [0, 1) for each cell of a grid; no sines, so every device draws the same one.

    Source: hash13 of Dave Hoskins, "Hash without Sine".
    """
    row = torch.as_tensor(row, device=column.device)
    a, b, c = fraction(column * 0.1031), fraction(row * 0.1031), fraction(cells * 0.1031)
    mixed = a * (c + 31.32) + b * (b + 31.32) + c * (a + 31.32)
    return fraction((a + b + 2 * mixed) * (c + mixed))
