"""The brush of the drawn world: signed distances on a coordinate grid, the places and the subjects.

Everything is painted from coordinates in the unit square (x to the right, y down), so a picture does not depend on
its resolution or crop. Every plane is (B, C, T, H, W) with size 1 wherever a thing does not change: what stands still
is painted once, and only what moves costs a frame axis.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

CLIP_SECONDS = 5.0
WHITE = (1.0, 1.0, 1.0)

# Names of the random numbers of a scene, in the order they are drawn from its seed. Append only: what stands before
# a new name keeps its value, and with it the look of every known scene.
ROLLS = (
    "x", "y", "size", "speed", "phase", "facing", "rate", "horizon", "light side", "light x", "light y", "ground",
    "cells", "scenery x",
)  # fmt: skip


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


class Stage:
    """What a batch of scenes says, as numbers: each a (B, C, 1, 1, 1) tensor, time `t` (B, 1, T, 1, 1) in seconds."""

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
        self.phase = self.between("phase", 0.0, 2 * math.pi)

    def between(self, roll: str, low: float, high: float) -> Tensor:
        """A scene's random number `roll`, uniform in [low, high): (B, 1, 1, 1, 1)."""
        return low + (high - low) * self.rolls[roll]

    def pick(self, table: Mapping[str, float | Sequence[float]], word: str, default: float = 0.0) -> Tensor:
        """Row of `table` for each scene's `word` (the name of a field, "time"): (B, C, 1, 1, 1)."""
        rows = [table.get(getattr(scene, word), default) for scene in self.scenes]
        return torch.tensor(rows, dtype=torch.float32).to(self.device).view(len(rows), -1, 1, 1, 1)

    def colour(self, rgb: Sequence[float]) -> Tensor:
        """One colour for the whole batch: (1, 3, 1, 1, 1)."""
        return torch.tensor(rgb, dtype=torch.float32).to(self.device).view(1, 3, 1, 1, 1)

    def happens(self, word: str, value: str) -> bool:
        """Whether any scene needs a thing at all."""
        return any(getattr(scene, word) == value for scene in self.scenes)


class Canvas:
    """A picture (B, 3, 1 or T, H, W) and the coordinates of its pixels, painted back to front.

    `sharpness` is pixels per unit of length, so an edge is one pixel wide at any size and crop.
    """

    def __init__(self, x: Tensor, y: Tensor, sharpness: Tensor, image: Tensor, rows: tuple[Tensor, Tensor] | None = None):
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
        """The rows that can show heights between top and bottom, sharing the picture: spares the other pixels."""
        first = int((self.rows[1] < top).sum())
        last = max(int((self.rows[0] < bottom).sum()), first)
        image = self.image[..., first:last, :]
        return Canvas(self.x, self.y[..., first:last, :], self.sharpness, image)

    def at(self, x: Tensor, y: Tensor, size: Tensor, facing: Tensor | None = None, angle: Tensor | None = None) -> "Canvas":
        """The same picture in a subject's own coordinates: origin (x, y), unit `size`, mirrored where facing is -1."""
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


# ---------------------------------------------------------------------------- signed distances and noise


def length(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt()


def circle(at: Canvas, x: float | Tensor, y: float | Tensor, radius: float | Tensor) -> Tensor:
    return length(at.x - x, at.y - y) - radius


def ellipse(at: Canvas, x: float | Tensor, y: float | Tensor, a: float, b: float) -> Tensor:
    """Distance to an axis-parallel ellipse, exact on its short axis and good enough for one pixel elsewhere."""
    return (length((at.x - x) / a, (at.y - y) / b) - 1) * min(a, b)


def box(at: Canvas, x: float, y: float, half_width: float, half_height: float) -> Tensor:
    return torch.maximum((at.x - x).abs() - half_width, (at.y - y).abs() - half_height)


def segment(at: Canvas, x0: float, y0: float, x1: float, y1: float, radius: float) -> Tensor:
    """A stroke with round ends."""
    dx, dy = x1 - x0, y1 - y0
    along = (((at.x - x0) * dx + (at.y - y0) * dy) / (dx * dx + dy * dy)).clamp_(0, 1)
    return length(at.x - x0 - along * dx, at.y - y0 - along * dy) - radius


def polygon(at: Canvas, *corners: tuple[float, float]) -> Tensor:
    """A convex polygon, corners in either sense of rotation."""
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges)
    distance = None
    for (x0, y0), (x1, y1) in edges:
        scale = math.copysign(math.hypot(x1 - x0, y1 - y0), area)
        nx, ny = (y1 - y0) / scale, -(x1 - x0) / scale
        side = at.x * nx + (at.y * ny - (x0 * nx + y0 * ny))
        distance = side if distance is None else torch.maximum(distance, side)
    return distance


def bump(x: Tensor) -> Tensor:
    """A soft bell of height 1 and half width about 1, zero beyond 2."""
    return (1 - 0.25 * x * x).clamp_(min=0).square()


def noise(column: Tensor, row: Tensor | float, cells: Tensor) -> Tensor:
    """A random number in [0, 1) for each cell of a grid; no sines, so every device draws the same one.

    Source: hash13 of Dave Hoskins, "Hash without Sine".
    """
    a, c = (column * 0.1031).frac(), (cells * 0.1031).frac()
    a, c = a + (a < 0), c + (c < 0)
    b = torch.as_tensor(row, device=a.device) * 0.1031
    b = b - b.floor()
    mixed = a * (c + 31.32) + b * (b + 31.32) + c * (a + 31.32)
    value = (a + b + 2 * mixed) * (c + mixed)
    return value - value.floor()


# ---------------------------------------------------------------------------- colours and light

COLOURS = {
    "red": (0.90, 0.08, 0.12),
    "orange": (1.00, 0.50, 0.04),
    "yellow": (1.00, 0.90, 0.12),
    "green": (0.06, 0.66, 0.24),
    "blue": (0.10, 0.32, 0.95),
    "purple": (0.60, 0.16, 0.84),
}

# The light that falls on subjects: mild, since their colour has to be told at any hour.
SUBJECT_LIGHT = {"by day": WHITE, "at sunset": (1.0, 0.92, 0.90), "at night": (0.90, 0.88, 0.92)}
# The light that falls on the land.
LAND_LIGHT = {"by day": WHITE, "at sunset": (0.86, 0.60, 0.58), "at night": (0.22, 0.28, 0.60)}

SKY_TOP = {"by day": (0.22, 0.52, 0.93), "at sunset": (0.27, 0.20, 0.52), "at night": (0.02, 0.03, 0.12)}
SKY_MIDDLE = {"by day": (0.52, 0.78, 0.98), "at sunset": (0.86, 0.40, 0.55), "at night": (0.05, 0.08, 0.26)}
SKY_BOTTOM = {"by day": (0.88, 0.96, 1.00), "at sunset": (1.00, 0.80, 0.60), "at night": (0.18, 0.22, 0.46)}
SUN = {"by day": (1.00, 0.97, 0.74), "at sunset": (1.00, 0.90, 0.66), "at night": (0.96, 0.95, 0.84)}
GLOW = {"by day": 0.55, "at sunset": 0.60, "at night": 0.30}

SEA_FAR = {"by day": (0.30, 0.70, 0.84), "at sunset": (0.80, 0.50, 0.58), "at night": (0.11, 0.16, 0.36)}
SEA_NEAR = {"by day": (0.04, 0.36, 0.60), "at sunset": (0.24, 0.18, 0.42), "at night": (0.02, 0.05, 0.16)}

WATER_TOP = {"by day": (0.46, 0.92, 0.90), "at sunset": (1.00, 0.70, 0.52), "at night": (0.10, 0.17, 0.40)}
WATER_MIDDLE = {"by day": (0.16, 0.70, 0.80), "at sunset": (0.66, 0.40, 0.56), "at night": (0.04, 0.07, 0.24)}
WATER_BOTTOM = {"by day": (0.04, 0.38, 0.58), "at sunset": (0.20, 0.16, 0.40), "at night": (0.01, 0.02, 0.10)}
RAYS = {"by day": (0.86, 1.00, 0.94, 0.50), "at sunset": (1.00, 0.88, 0.66, 0.42), "at night": (0.60, 0.72, 1.00, 0.20)}


class Paints:
    """A subject's colour under its light: `base`, and its `dark`, `light` and `pale` relatives; `light_on` for others."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.lit = stage.pick(SUBJECT_LIGHT, "time")
        colour = stage.pick(COLOURS, "colour")
        self.base = colour * self.lit
        self.dark = colour * 0.70 * self.lit
        self.light = (colour * 0.72 + 0.28) * self.lit
        self.pale = (colour * 0.25 + 0.75) * self.lit

    def light_on(self, rgb: Sequence[float]) -> Tensor:
        return self.stage.colour(rgb) * self.lit


# ---------------------------------------------------------------------------- skies and places


def gradient(top: Tensor, middle: Tensor, bottom: Tensor, along: Tensor) -> Tensor:
    """A quadratic blend of three colours, `along` in [0, 1]."""
    back = 1 - along
    return top * (back * back) + middle * (2 * along * back) + bottom * (along * along)


def light_position(stage: Stage) -> tuple[Tensor, Tensor]:
    """Where the sun or moon stands: to either side, low at sunset."""
    side = stage.rolls["light side"] < 0.5
    x = stage.between("light x", 0.10, 0.30)
    high = stage.between("light y", 0.10, 0.22)
    low = stage.horizon - stage.between("light y", 0.02, 0.07)
    return torch.where(side, x, 1 - x), torch.where(stage.pick({"at sunset": 1.0}, "time") > 0, low, high)


def sky(stage: Stage, canvas: Canvas) -> None:
    """Blended sky, and a sun or a crescent moon."""
    top, middle, bottom = (stage.pick(table, "time") for table in (SKY_TOP, SKY_MIDDLE, SKY_BOTTOM))
    canvas.image[:] = gradient(top, middle, bottom, (canvas.y / stage.horizon).clamp(0, 1))
    x, y = light_position(stage)
    colour, night = stage.pick(SUN, "time"), stage.pick({"at night": 1.0}, "time")
    disc = circle(canvas, x, y, 0.068)
    canvas.paint(torch.exp(disc.clamp(min=0) / -0.09) * stage.pick(GLOW, "time"), colour)
    bite = circle(canvas, x + 0.034, y - 0.018, 0.056)
    canvas.paint(canvas.cover(disc) * (1 - night * canvas.cover(bite)), colour)


def stars(stage: Stage, canvas: Canvas) -> None:
    """Twinkling stars, one to a cell at most."""
    if not stage.happens("time", "at night"):
        return
    canvas = canvas.band(0.0, 0.56)
    cells = (stage.rolls["cells"] * 997).floor()
    u, v = canvas.x * 7.5, canvas.y * 7.5
    column, row = u.floor(), v.floor()
    luck = noise(column, row, cells)
    x = u - column - 0.2 - 0.6 * noise(column, row, cells + 1)
    y = v - row - 0.2 - 0.6 * luck
    here = (noise(column, row, cells + 2) > 0.5) & (row < 4)
    shape = canvas.cover(length(x, y) / 7.5 - 0.008) * here * stage.pick({"at night": 1.0}, "time")
    shape = shape * (circle(canvas, *light_position(stage), 0.09) > 0)
    canvas.paint(shape * (0.62 + 0.38 * torch.sin(stage.t * 2.5 + 40 * luck)), stage.colour((1.0, 1.0, 0.90)))


def sea(stage: Stage, canvas: Canvas) -> None:
    sky(stage, canvas)
    depth = ((canvas.y - stage.horizon) / (1 - stage.horizon)).clamp(0, 1)
    water = torch.lerp(stage.pick(SEA_FAR, "time"), stage.pick(SEA_NEAR, "time"), depth.sqrt())
    canvas.fill(stage.horizon - canvas.y, water)


def sea_moves(stage: Stage, canvas: Canvas) -> None:
    """Long waves that roll towards us, and the light's path on the water."""
    stars(stage, canvas)
    water, t = canvas.band(0.60), stage.t
    depth = ((water.y - stage.horizon) / (1 - stage.horizon)).clamp(0, 1)
    bend = 1.3 * torch.sin(water.x * 6 + 0.5 * t + stage.phase) + 0.6 * torch.sin(water.x * 13 - 0.8 * t)
    wave = torch.sin(17 * depth.pow(0.8) - 1.7 * t + bend) * (0.35 + 0.65 * depth)
    path = bump((water.x - light_position(stage)[0]) / 0.10) * stage.pick({"by day": 0.35, "at sunset": 0.6}, "time", 0.5)
    crest = wave.clamp(min=0) * (path + stage.pick({"by day": 0.16, "at sunset": 0.14}, "time", 0.10))
    inside = water.cover(stage.horizon - water.y)
    water.paint((wave * -0.22).clamp_(min=0) * inside, stage.pick(SEA_NEAR, "time"))
    water.paint(crest * inside, stage.pick(SUN, "time"))


def hills(stage: Stage, canvas: Canvas, colours: Sequence[Sequence[float]], heights: Sequence[float]) -> None:
    """Rolling hills, far to near, each a little lit along its ridge."""
    light = stage.pick(LAND_LIGHT, "time")
    haze = stage.pick(SKY_BOTTOM, "time")
    shift = stage.between("ground", 0.0, 2 * math.pi)
    for i, (rgb, height) in enumerate(zip(colours, heights, strict=True)):
        ridge = stage.horizon - 0.05 + 0.10 * i + height * torch.sin(canvas.x * (4 + 1.5 * i) + shift * (1 + i))
        below = canvas.y - ridge
        colour = torch.lerp(stage.colour(rgb) * light, haze, 0.25 - 0.125 * i)
        canvas.fill(-below, colour * (1.10 - 0.7 * below.clamp(0, 0.35)))


def meadow(stage: Stage, canvas: Canvas) -> None:
    sky(stage, canvas)
    hills(stage, canvas, ((0.56, 0.76, 0.50), (0.56, 0.76, 0.34), (0.48, 0.70, 0.26)), (0.030, 0.025, 0.015))


def meadow_moves(stage: Stage, canvas: Canvas) -> None:
    """Wind over the grass, and swaying daisies."""
    stars(stage, canvas)
    grass, t = canvas.band(0.74), stage.t
    light = stage.pick(LAND_LIGHT, "time")
    wind = torch.sin(grass.x * 5 + grass.y * 9 - 1.1 * t + stage.phase)
    grass.paint((wind * 0.16 * grass.cover(stage.horizon + 0.16 - grass.y)).clamp_(min=0), stage.colour((0.78, 0.90, 0.44)) * light)
    cells = (stage.rolls["cells"] * 997).floor()
    u, v = grass.x * 8, grass.y * 11
    column, row = u.floor(), v.floor()
    sway = 0.16 * torch.sin(1.6 * t + column * 0.9 + row * 2)
    x = u - column - 0.3 - 0.4 * noise(column, row, cells)
    y = v - row - 0.3 - 0.4 * noise(column, row, cells + 1)
    here = (noise(column, row, cells + 2) > 0.55) & (row / 11 > stage.horizon + 0.10)
    grass.paint(grass.cover(length((x - sway) / 8, y / 11) - 0.013) * here, stage.colour((1.0, 0.98, 0.90)) * (0.35 + 0.65 * light))


def desert(stage: Stage, canvas: Canvas) -> None:
    """Dunes, and one far cactus on the side away from the sun."""
    sky(stage, canvas)
    hills(stage, canvas, ((0.88, 0.62, 0.46), (0.92, 0.72, 0.50), (0.88, 0.66, 0.42)), (0.050, 0.030, 0.015))
    x = stage.between("scenery x", 0.05, 0.15)
    x = torch.where(stage.rolls["light side"] < 0.5, 1 - x, x)
    cactus = canvas.at(x, stage.horizon + 0.04, torch.full_like(x, 0.12))
    shape = segment(cactus, 0, 0, 0, -1, 0.16)
    for side in (-1, 1):
        shape = torch.minimum(shape, segment(cactus, 0, -0.34, side * 0.42, -0.42, 0.10))
        shape = torch.minimum(shape, segment(cactus, side * 0.42, -0.42, side * 0.42, -0.76, 0.10))
    cactus.fill(shape, stage.colour((0.30, 0.46, 0.34)) * stage.pick(LAND_LIGHT, "time"))


def desert_moves(stage: Stage, canvas: Canvas) -> None:
    """Ripples of sand that wander with the wind."""
    stars(stage, canvas)
    sand, t = canvas.band(0.74), stage.t
    ripple = torch.sin(sand.y * 60 + 2.2 * torch.sin(sand.x * 5 + stage.phase - 0.5 * t) - 0.8 * t)
    alpha = (ripple * 0.20).clamp_(min=0) * sand.cover(stage.horizon + 0.16 - sand.y)
    sand.paint(alpha, stage.colour((1.0, 0.86, 0.64)) * stage.pick(LAND_LIGHT, "time"))


def underwater(stage: Stage, canvas: Canvas) -> None:
    """Water that darkens with depth, over a bed of sand."""
    top, middle, bottom = (stage.pick(table, "time") for table in (WATER_TOP, WATER_MIDDLE, WATER_BOTTOM))
    canvas.image[:] = gradient(top, middle, bottom, canvas.y)
    bed = 0.90 + 0.018 * torch.sin(canvas.x * 7 + stage.between("ground", 0.0, 2 * math.pi))
    sand = stage.colour((0.80, 0.72, 0.52)) * (0.15 + 0.85 * stage.pick(LAND_LIGHT, "time"))
    canvas.fill(bed - canvas.y, sand * (1.1 - 1.6 * (canvas.y - bed).clamp(0, 0.2)))


def underwater_moves(stage: Stage, canvas: Canvas) -> None:
    """Slanting rays, swaying seaweed and rising bubbles."""
    t, cells = stage.t, (stage.rolls["cells"] * 997).floor()
    rays = stage.pick(RAYS, "time")
    upper = canvas.band(0.0, 0.85)
    slant = upper.x - 0.35 * upper.y
    shaft = torch.sin(slant * 11 + 0.45 * t + stage.phase) * torch.sin(slant * 7 - 0.30 * t + 2 * stage.phase)
    upper.paint(shaft.clamp_(min=0) * ((0.85 - upper.y).clamp(min=0) * rays[:, 3:]), rays[:, :3])

    weed = canvas.band(0.58)
    column = (weed.x * 7).floor()
    luck = noise(column, 1.0, cells)
    root = (column + 0.38 + 0.24 * noise(column, 2.0, cells)) / 7
    tip = 0.66 + 0.16 * luck
    sway = 0.028 * torch.sin(1.5 * t + 9 * weed.y + 6 * luck) * ((0.95 - weed.y) / 0.3).clamp(min=0)
    width = 0.022 * ((weed.y - tip) / 0.10).clamp(0, 1).sqrt()
    blade = (weed.x - root - sway).abs() - width
    green = stage.colour((0.10, 0.42, 0.30)) * (0.20 + 0.80 * stage.pick(LAND_LIGHT, "time"))
    weed.paint(weed.cover(blade) * ((luck > 0.35) & (weed.y > tip)), green)

    u = canvas.x * 6
    column = u.floor()
    luck = noise(column, 3.0, cells)
    v = canvas.y * 3 + (0.45 + 0.45 * luck) * t + 3 * luck
    row = v.floor()
    size = noise(column, row, cells + 1)
    x = u - column - 0.5 - 0.14 * torch.sin(2.2 * t + 6 * luck + 4 * canvas.y)
    bubble = canvas.cover(length(x / 6, (v - row - 0.5) / 3) - (0.010 + 0.012 * size))
    canvas.paint(bubble * (size > 0.62) * 0.45, rays[:, :3])


# ---------------------------------------------------------------------------- where subjects go

TURNING = {"turning slowly": 1.0, "turning fast": 4.2}
BURNING = {"burning slowly": 2.4, "burning fast": 9.0}

# subject: (width, height, lowest and highest y of its centre at rest; relative to the horizon if on the ground)
FRAMES = {
    "balloon": (0.28, 0.37, 0.30, 0.48),
    "boat": (0.35, 0.34, 0.00, 0.03),
    "fish": (0.34, 0.20, 0.36, 0.56),
    "windmill": (0.40, 0.62, -0.26, -0.24),
    "campfire": (0.26, 0.36, 0.00, 0.05),
}
ON_THE_GROUND = {"boat", "windmill", "campfire"}


def subject_centre(stage: Stage) -> tuple[Tensor, Tensor]:
    """The centre of the subjects, x and y (B, 1, 1 or T, 1, 1), as a function of absolute time.

    A travelling subject crosses the middle of the frame half way through the clip.
    """
    subject = stage.scenes[0].subject
    width, height, high, low = FRAMES[subject]
    steps = torch.tensor([scene.direction for scene in stage.scenes], dtype=torch.float32).to(stage.device)
    dx, dy = (steps[:, i].view(-1, 1, 1, 1, 1) for i in range(2))
    speed_x, speed_y = stage.between("speed", 0.105, 0.135), stage.between("speed", 0.100, 0.115)
    free = (1 - width - CLIP_SECONDS * speed_x).clamp(min=0)
    spread = torch.where(dx != 0, free, torch.full_like(free, 0.36))
    x = 0.5 + (stage.rolls["x"] - 0.5) * spread
    y = stage.between("y", high, low)
    if subject in ON_THE_GROUND:
        y = y + stage.horizon
    else:
        y = torch.where(dy != 0, torch.full_like(y, 0.49), y)
    if any(scene.direction != (0, 0) for scene in stage.scenes):
        x = x + dx * speed_x * (stage.t - CLIP_SECONDS / 2)
        y = y + dy * speed_y * (stage.t - CLIP_SECONDS / 2)
    if subject == "boat":
        y = y + 0.008 * torch.sin(stage.t * 1.9 + stage.phase)
    return x, y


def facing(stage: Stage) -> Tensor:
    """1 looks right, -1 left: along the way, at random where there is none."""
    ways = torch.tensor([scene.direction[0] for scene in stage.scenes], dtype=torch.float32)
    ways = ways.to(stage.device).view(-1, 1, 1, 1, 1)
    return torch.where(ways != 0, ways, (stage.rolls["facing"] < 0.5) * 2.0 - 1.0)


# ---------------------------------------------------------------------------- subjects


def balloon(stage: Stage, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A hot-air balloon with stripes and a basket."""
    paints, size = Paints(stage), stage.between("size", 0.122, 0.138)
    pen = canvas.at(x, y - 0.36 * size, size)
    for side in (-1, 1):
        pen.fill(segment(pen, side * 0.24, 1.2, side * 0.19, 1.45, 0.03), paints.light_on((0.35, 0.24, 0.16)))
    pen.fill(box(pen, 0, 1.55, 0.26, 0.18), paints.light_on((0.58, 0.36, 0.18)))
    pen.fill(box(pen, 0, 1.42, 0.29, 0.05), paints.light_on((0.36, 0.21, 0.10)))
    skirt = polygon(pen, (-0.82, 0.57), (0.82, 0.57), (0.28, 1.28), (-0.28, 1.28))
    half = torch.where(pen.y < 0.57, (1 - pen.y * pen.y).clamp(min=0.02).sqrt(), 0.82 - 0.76 * (pen.y - 0.57))
    stripe = torch.cos(pen.x * (7.85 / half.clamp(min=0.2))) * 0.5 + 0.5
    shine = bump((pen.x + 0.3) / 0.5) * bump((pen.y + 0.4) / 0.5)
    colour = torch.lerp(paints.dark, paints.light, stripe)
    colour = colour + shine * 0.16
    pen.fill(torch.minimum(circle(pen, 0, 0, 1), skirt), colour)


def boat(stage: Stage, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A sailing boat: hull and main sail in the colour, a pale jib towards the bow."""
    paints, size = Paints(stage), stage.between("size", 0.160, 0.176)
    sway = stage.pick({"rocking": 0.26, "standing still": 0.015}, "motion", 0.035)
    angle = sway * torch.sin(stage.t * 2.5 + stage.phase)
    pen = canvas.at(x, y + 0.58 * size, size, facing(stage), angle)
    pen.paint(bump(pen.x / 0.65) * bump((pen.y - 0.38) / 0.07) * 0.35, stage.colour((0.0, 0.04, 0.12)))
    pen.fill(polygon(pen, (0.08, -1.38), (0.08, -0.18), (0.86, -0.18)), paints.light_on((0.98, 0.95, 0.86)))
    sail = polygon(pen, (-0.06, -1.52), (-0.06, -0.18), (-0.92, -0.18))
    pen.fill(sail, torch.lerp(paints.light, paints.base, (pen.x + 1.0).clamp(0, 1)))
    pen.fill(box(pen, 0, -0.78, 0.035, 0.80), paints.light_on((0.36, 0.22, 0.12)))
    hull = polygon(pen, (-0.96, -0.08), (1.06, -0.14), (0.70, 0.38), (-0.74, 0.38))
    pen.fill(hull, torch.lerp(paints.base, paints.dark, ((pen.y + 0.05) / 0.4).clamp(0, 1)))
    pen.paint(pen.cover((pen.y - 0.02).abs() - 0.035) * pen.cover(hull), paints.pale)


def fish(stage: Stage, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A round fish with a pale band, a wagging tail and a big eye."""
    paints, size = Paints(stage), stage.between("size", 0.118, 0.132)
    looks = facing(stage)
    pen = canvas.at(x + 0.3 * size * looks, y, size, looks)
    wag = stage.pick({"standing still": 0.14}, "motion", 0.36) * torch.sin(stage.t * 6.5 + stage.phase)
    tail = pen.warped(y=pen.y + wag * (-0.6 - pen.x).clamp(min=0))
    shape = polygon(tail, (-0.70, 0.0), (-1.62, -0.66), (-1.62, 0.66))
    tail.fill(torch.maximum(shape, -circle(tail, -1.86, 0.0, 0.42)), paints.dark)
    pen.fill(ellipse(pen, -0.08, -0.52, 0.44, 0.34), paints.dark)
    pen.fill(ellipse(pen, -0.10, 0.54, 0.28, 0.24), paints.dark)
    body = pen.cover(ellipse(pen, 0, 0, 1, 0.66))
    colour = torch.lerp(paints.light, paints.base, ((pen.y + 0.62) / 0.6).clamp(0, 1))
    pen.paint(body, torch.lerp(colour, paints.dark, (pen.y / 0.8).clamp(0, 1)))
    band = (pen.x - 0.22 + 0.25 * pen.y.square()).abs() - 0.09
    pen.paint(pen.cover(band) * body, paints.pale)
    flap = ellipse(pen, -0.22, 0.12 + 0.2 * wag, 0.24, 0.14)
    pen.fill(flap, paints.light)
    pen.fill(circle(pen, 0.60, -0.14, 0.18), paints.light_on((1.0, 1.0, 0.98)))
    pen.fill(circle(pen, 0.64, -0.13, 0.10), paints.light_on((0.04, 0.04, 0.08)))


def windmill(stage: Stage, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A pale tower with four broad sails in the colour; the centre is the hub."""
    paints, size = Paints(stage), stage.between("size", 0.186, 0.206)
    pen = canvas.at(x, y, size)
    tower = polygon(pen, (-0.20, -0.10), (0.20, -0.10), (0.40, 2.05), (-0.40, 2.05))
    shade = ((pen.x + 0.4) / 0.8).clamp(0, 1)
    pen.fill(tower, torch.lerp(paints.light_on((0.98, 0.95, 0.88)), paints.light_on((0.74, 0.69, 0.66)), shade))
    pen.fill(polygon(pen, (-0.28, -0.02), (0.28, -0.02), (0.0, -0.42)), paints.light_on((0.40, 0.32, 0.36)))
    pen.fill(box(pen, 0, 1.85, 0.11, 0.20), paints.light_on((0.36, 0.26, 0.24)))
    pen.fill(circle(pen, 0, 1.10, 0.09), paints.light_on((0.36, 0.26, 0.24)))

    rate = stage.pick(TURNING, "motion") * stage.between("rate", 0.85, 1.15)
    pen = canvas.at(x, y, size, angle=rate * stage.t + stage.phase)
    # Four sails are one sail, seen from the quarter turn a pixel lies in.
    lying = pen.x.abs() > pen.y.abs()
    along = torch.where(lying, pen.x.abs(), pen.y.abs())
    across = torch.where(lying, pen.y * pen.x.sign(), -pen.x * pen.y.sign())
    sail = pen.warped(along, across)
    sail.fill(box(sail, 0.61, 0.125, 0.39, 0.185), torch.lerp(paints.base, paints.light, (along - 0.3).clamp(0, 1)))
    sail.fill(box(sail, 0.50, 0.0, 0.52, 0.035), paints.light_on((0.34, 0.22, 0.16)))
    pen.fill(circle(pen, 0, 0, 0.12), paints.light_on((0.34, 0.22, 0.16)))


def campfire(stage: Stage, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """Magic fire: the flame carries the colour, lighter inside, with a pale heart, over two logs."""
    paints, size = Paints(stage), stage.between("size", 0.31, 0.35)
    colour = torch.lerp(stage.pick(COLOURS, "colour"), paints.base, 0.3)
    pace = stage.pick(BURNING, "motion") * stage.between("rate", 0.9, 1.1)
    beat = pace * stage.t + stage.phase
    pen = canvas.at(x, y + 0.46 * size, size)
    dark = stage.pick({"by day": 0.30, "at sunset": 0.45}, "time", 0.60)
    pen.paint(bump(pen.x / 0.55) * bump((pen.y + 0.25) / 0.55) * dark * 0.8, torch.lerp(colour, paints.pale, 0.25))
    log = paints.light_on((0.44, 0.27, 0.15))
    pen.fill(segment(pen, -0.36, -0.03, 0.36, 0.10, 0.075), log * 0.75)
    pen.fill(segment(pen, -0.36, 0.10, 0.36, -0.03, 0.075), log)
    for scale, paint in ((1.0, colour), (0.66, torch.lerp(colour, paints.pale, 0.55)), (0.36, paints.pale)):
        tall = scale * (1 + 0.10 * torch.sin(1.3 * beat + 2 * scale))
        rise = (-pen.y / tall).clamp(0, 1)
        lean = (0.11 * torch.sin(3.6 * rise - beat + scale) + 0.05 * torch.sin(8 * rise - 1.7 * beat)) * rise * tall
        width = 0.60 * scale * (rise + 0.16).sqrt() * (1 - rise).pow(0.85) * (1 + 0.14 * torch.sin(7 * rise - 1.5 * beat))
        ends = torch.maximum(pen.y - 0.03, -pen.y - tall)
        pen.fill(torch.maximum(((pen.x - lean).abs() - width) * 0.8, ends), paint)
    sparks(stage, pen, pace, paints)


def sparks(stage: Stage, pen: Canvas, pace: Tensor, paints: Paints) -> None:
    """Sparks that rise over the flame and fade."""
    cells = (stage.rolls["cells"] * 997).floor()
    u = pen.x * 4
    column = u.floor()
    v = pen.y * 2.5 + (0.5 + 0.16 * pace) * stage.t + 5 * noise(column, 0.0, cells + 2)
    row = v.floor()
    spark = length((u - column - 0.3 - 0.4 * noise(column, row, cells)) / 4, (v - row - 0.5) / 2.5) - 0.028
    fade = ((pen.y + 1.55) / 0.5).clamp(0, 1) * ((-0.55 - pen.y) / 0.2).clamp(0, 1) * ((0.5 - pen.x.abs()) * 10).clamp(0, 1)
    pen.paint(pen.cover(spark) * fade * (noise(column, row, cells + 1) > 0.35), paints.light)


Still = Callable[[Stage, Canvas], None]
Draw = Callable[[Stage, Canvas, Tensor, Tensor], None]

PLACES: dict[str, tuple[Still, Still]] = {
    "sea": (sea, sea_moves),
    "meadow": (meadow, meadow_moves),
    "desert": (desert, desert_moves),
    "underwater": (underwater, underwater_moves),
}
SUBJECTS: dict[str, Draw] = {
    "balloon": balloon,
    "boat": boat,
    "fish": fish,
    "windmill": windmill,
    "campfire": campfire,
}
