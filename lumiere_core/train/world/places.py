"""The places of the drawn world, under the light of three hours and four weathers.

Each place is two functions: what stands still is painted on one frame, what moves on all of them. Numbers are colours
in [0, 1], and places and sizes as shares of the picture. They are a matter of taste, and fixed: others make another
world.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .drawing import (
    TURN,
    WHITE,
    Canvas,
    SceneBatch,
    box,
    bump,
    cell_noise,
    circle,
    ellipse,
    length,
    polygon,
    segment,
)

# The light that falls on the land, and on snow, which takes less colour.
LAND_LIGHT = {"by day": WHITE, "at sunset": (0.86, 0.60, 0.58), "at night": (0.22, 0.28, 0.60)}
SNOW_LIGHT = {"by day": WHITE, "at sunset": (0.94, 0.74, 0.76), "at night": (0.32, 0.37, 0.58)}

SKY_TOP = {"by day": (0.22, 0.52, 0.93), "at sunset": (0.27, 0.20, 0.52), "at night": (0.02, 0.03, 0.12)}
SKY_MIDDLE = {"by day": (0.52, 0.78, 0.98), "at sunset": (0.86, 0.40, 0.55), "at night": (0.05, 0.08, 0.26)}
SKY_BOTTOM = {"by day": (0.88, 0.96, 1.00), "at sunset": (1.00, 0.80, 0.60), "at night": (0.18, 0.22, 0.46)}
SUN = {"by day": (1.00, 0.97, 0.74), "at sunset": (1.00, 0.90, 0.66), "at night": (0.96, 0.95, 0.84)}
GLOW = {"by day": 0.55, "at sunset": 0.60, "at night": 0.30}
LIGHT_AT_LEFT = {"sea": 1.0, "desert": 1.0}
CLOUDS = {"by day": (1.00, 1.00, 1.00), "at sunset": (1.00, 0.74, 0.68), "at night": (0.34, 0.38, 0.56)}
OVERCAST = {"by day": (0.66, 0.72, 0.80), "at sunset": (0.62, 0.46, 0.54), "at night": (0.12, 0.14, 0.24)}

SEA_FAR = {"by day": (0.30, 0.70, 0.84), "at sunset": (0.80, 0.50, 0.58), "at night": (0.11, 0.16, 0.36)}
SEA_NEAR = {"by day": (0.04, 0.36, 0.60), "at sunset": (0.24, 0.18, 0.42), "at night": (0.02, 0.05, 0.16)}

WATER_TOP = {"by day": (0.46, 0.92, 0.90), "at sunset": (1.00, 0.70, 0.52), "at night": (0.10, 0.17, 0.40)}
WATER_MIDDLE = {"by day": (0.16, 0.70, 0.80), "at sunset": (0.66, 0.40, 0.56), "at night": (0.04, 0.07, 0.24)}
WATER_BOTTOM = {"by day": (0.04, 0.38, 0.58), "at sunset": (0.20, 0.16, 0.40), "at night": (0.01, 0.02, 0.10)}
RAYS = {"by day": (0.86, 1.00, 0.94), "at sunset": (1.00, 0.88, 0.66), "at night": (0.60, 0.72, 1.00)}
RAY_STRENGTH = {"by day": 0.50, "at sunset": 0.42, "at night": 0.20}

GRASS = ((0.56, 0.76, 0.50), (0.56, 0.76, 0.34), (0.48, 0.70, 0.26))  # far to near
DUNES = ((0.88, 0.62, 0.46), (0.92, 0.72, 0.50), (0.88, 0.66, 0.42))
SNOW = ((0.66, 0.78, 0.90), (0.80, 0.89, 0.96), (0.92, 0.97, 1.00))


# ------------------------------------------------------------------- sky


def gradient(top: Tensor, middle: Tensor, bottom: Tensor, along: Tensor) -> Tensor:
    """A quadratic blend of three colours, `along` in [0, 1]."""
    back = 1 - along
    return top * (back * back) + middle * (2 * along * back) + bottom * (along * along)


def light_at_left(batch: SceneBatch) -> Tensor:
    """Known from the place, not left to chance: between two sides, the frames of a clip would not agree."""
    return batch.pick(LIGHT_AT_LEFT, "place") > 0


def light_position(batch: SceneBatch) -> tuple[Tensor, Tensor]:
    """Where the sun or moon stands: at the side that belongs to the place, low at sunset."""
    x = batch.between("light x", 0.14, 0.26)
    high = batch.between("light y", 0.10, 0.22)
    low = batch.horizon - batch.between("light y", 0.02, 0.07)
    return torch.where(light_at_left(batch), x, 1 - x), torch.where(
        batch.when("time", "at sunset") > 0, low, high
    )


def sky(batch: SceneBatch, canvas: Canvas) -> None:
    """Blended sky, and a sun or a crescent moon."""
    top, middle, bottom = (batch.pick(table, "time") for table in (SKY_TOP, SKY_MIDDLE, SKY_BOTTOM))
    canvas.image[:] = gradient(top, middle, bottom, (canvas.y / batch.horizon).clamp(0, 1))
    x, y = light_position(batch)
    colour, night = batch.pick(SUN, "time"), batch.when("time", "at night")
    disc = circle(canvas, x, y, 0.068)
    canvas.paint(torch.exp(disc.clamp(min=0) / -0.09) * batch.pick(GLOW, "time"), colour)
    bite = circle(canvas, x + 0.034, y - 0.018, 0.056)
    canvas.paint(canvas.cover(disc) * (1 - night * canvas.cover(bite)), colour)


def stars(batch: SceneBatch, canvas: Canvas) -> None:
    """Twinkling stars, one to a cell at most, none by the moon."""
    if not batch.happens("time", "at night"):
        return
    canvas = canvas.band(0.0, 0.56)
    u, v = canvas.x * 7.5, canvas.y * 7.5
    column, row = u.floor(), v.floor()
    luck = cell_noise(column, row, batch.cells)
    x = u - column - 0.2 - 0.6 * cell_noise(column, row, batch.cells + 1)
    y = v - row - 0.2 - 0.6 * luck
    here = (cell_noise(column, row, batch.cells + 2) > 0.5) & (row < 4)
    shape = canvas.cover(length(x, y) / 7.5 - 0.008) * here * batch.when("time", "at night")
    shape = shape * (circle(canvas, *light_position(batch), 0.09) > 0)
    twinkle = 0.62 + 0.38 * torch.sin(batch.t * 2.5 + 40 * luck)
    canvas.paint(shape * twinkle, batch.colour((1.0, 1.0, 0.90)))


# ------------------------------------------------------------------- places


def sea(batch: SceneBatch, canvas: Canvas) -> None:
    sky(batch, canvas)
    depth = ((canvas.y - batch.horizon) / (1 - batch.horizon)).clamp(0, 1)
    water = torch.lerp(batch.pick(SEA_FAR, "time"), batch.pick(SEA_NEAR, "time"), depth.sqrt())
    canvas.fill(batch.horizon - canvas.y, water)


def sea_moves(batch: SceneBatch, canvas: Canvas) -> None:
    """Long waves that roll towards us, and the light's path on the water."""
    stars(batch, canvas)
    water, t = canvas.band(0.60), batch.t
    depth = ((water.y - batch.horizon) / (1 - batch.horizon)).clamp(0, 1)
    bend = 1.3 * torch.sin(water.x * 6 + 0.5 * t + batch.phase) + 0.6 * torch.sin(water.x * 13 - 0.8 * t)
    wave = torch.sin(17 * depth.pow(0.8) - 1.7 * t + bend) * (0.35 + 0.65 * depth)
    path = bump((water.x - light_position(batch)[0]) / 0.10)
    path = path * batch.pick({"by day": 0.35, "at sunset": 0.60, "at night": 0.50}, "time")
    shine = path + batch.pick({"by day": 0.16, "at sunset": 0.14, "at night": 0.10}, "time")
    inside = water.cover(batch.horizon - water.y)
    water.paint((wave * -0.22).clamp_(min=0) * inside, batch.pick(SEA_NEAR, "time"))
    water.paint(wave.clamp(min=0) * shine * inside, batch.pick(SUN, "time"))


def hills(
    batch: SceneBatch,
    canvas: Canvas,
    light: Tensor,
    colours: Sequence[Sequence[float]],
    heights: Sequence[float],
) -> None:
    """Rolling hills, far to near, each a little lit along its ridge."""
    haze = batch.pick(SKY_BOTTOM, "time")
    shift = batch.between("ground", 0.0, TURN)
    for i, (rgb, height) in enumerate(zip(colours, heights, strict=True)):
        roll = torch.sin(canvas.x * (4 + 1.5 * i) + shift * (1 + i))
        below = canvas.y - (batch.horizon - 0.05 + 0.10 * i + height * roll)
        colour = torch.lerp(batch.colour(rgb) * light, haze, 0.25 - 0.125 * i)
        canvas.fill(-below, colour * (1.10 - 0.7 * below.clamp(0, 0.35)))


def meadow(batch: SceneBatch, canvas: Canvas) -> None:
    sky(batch, canvas)
    hills(batch, canvas, batch.pick(LAND_LIGHT, "time"), GRASS, (0.030, 0.025, 0.015))


def meadow_moves(batch: SceneBatch, canvas: Canvas) -> None:
    """Wind over the grass, and swaying daisies."""
    stars(batch, canvas)
    grass, t = canvas.band(0.74), batch.t
    light = batch.pick(LAND_LIGHT, "time")
    wind = torch.sin(grass.x * 5 + grass.y * 9 - 1.1 * t + batch.phase)
    near = grass.cover(batch.horizon + 0.16 - grass.y)
    grass.paint((wind * 0.16 * near).clamp_(min=0), batch.colour((0.78, 0.90, 0.44)) * light)

    u, v = grass.x * 8, grass.y * 11
    column, row = u.floor(), v.floor()
    x = u - column - 0.3 - 0.4 * cell_noise(column, row, batch.cells)
    y = v - row - 0.3 - 0.4 * cell_noise(column, row, batch.cells + 1)
    here = (cell_noise(column, row, batch.cells + 2) > 0.55) & (row / 11 > batch.horizon + 0.10)
    sway = 0.16 * torch.sin(1.6 * t + column * 0.9 + row * 2)
    daisy = grass.cover(length((x - sway) / 8, y / 11) - 0.013) * here
    grass.paint(daisy, batch.colour((1.0, 0.98, 0.90)) * (0.35 + 0.65 * light))


def away_from_light(batch: SceneBatch, low: float, high: float) -> Tensor:
    """An x near the edge on the side where the sun is not."""
    x = batch.between("scenery x", low, high)
    return torch.where(light_at_left(batch), 1 - x, x)


def desert(batch: SceneBatch, canvas: Canvas) -> None:
    """Dunes, and one far cactus."""
    sky(batch, canvas)
    hills(batch, canvas, batch.pick(LAND_LIGHT, "time"), DUNES, (0.050, 0.030, 0.015))
    x = away_from_light(batch, 0.05, 0.15)
    cactus = canvas.at(x, batch.horizon + 0.04, torch.full_like(x, 0.12))
    shape = segment(cactus, 0, 0, 0, -1, 0.16)
    for side in (-1, 1):
        shape = torch.minimum(shape, segment(cactus, 0, -0.34, side * 0.42, -0.42, 0.10))
        shape = torch.minimum(shape, segment(cactus, side * 0.42, -0.42, side * 0.42, -0.76, 0.10))
    cactus.fill(shape, batch.colour((0.30, 0.46, 0.34)) * batch.pick(LAND_LIGHT, "time"))


def desert_moves(batch: SceneBatch, canvas: Canvas) -> None:
    """Ripples of sand that wander with the wind."""
    stars(batch, canvas)
    sand, t = canvas.band(0.74), batch.t
    ripple = torch.sin(sand.y * 60 + 2.2 * torch.sin(sand.x * 5 + batch.phase - 0.5 * t) - 0.8 * t)
    alpha = (ripple * 0.20).clamp_(min=0) * sand.cover(batch.horizon + 0.16 - sand.y)
    sand.paint(alpha, batch.colour((1.0, 0.86, 0.64)) * batch.pick(LAND_LIGHT, "time"))


def snowy_hills(batch: SceneBatch, canvas: Canvas) -> None:
    """Hills under snow, and a pair of far fir trees."""
    sky(batch, canvas)
    light = batch.pick(SNOW_LIGHT, "time")
    hills(batch, canvas, light, SNOW, (0.045, 0.030, 0.015))
    x = away_from_light(batch, 0.06, 0.14)
    for shift, tall in ((0.0, 0.20), (0.09, 0.14)):
        place = x + torch.where(x < 0.5, shift, -shift)
        fir = canvas.at(place, batch.horizon + 0.07, torch.full_like(x, tall))
        fir.fill(box(fir, 0, -0.1, 0.05, 0.1), batch.colour((0.36, 0.28, 0.24)) * light)
        shape = polygon(fir, (-0.30, -0.14), (0.30, -0.14), (0.0, -0.62))
        shape = torch.minimum(shape, polygon(fir, (-0.22, -0.46), (0.22, -0.46), (0.0, -0.98)))
        fir.fill(shape, batch.colour((0.22, 0.42, 0.40)) * light)


def snowy_hills_move(batch: SceneBatch, canvas: Canvas) -> None:
    """Wind that lifts light veils off the snow."""
    stars(batch, canvas)
    snow, t = canvas.band(0.74), batch.t
    veil = torch.sin(snow.x * 6 - 1.2 * t + batch.phase + 2 * torch.sin(snow.y * 14 + 0.5 * t))
    near = snow.cover(batch.horizon + 0.14 - snow.y)
    shade = batch.colour((0.74, 0.84, 0.96)) * batch.pick(SNOW_LIGHT, "time")
    snow.paint((veil * 0.20 * near).clamp_(min=0), shade)


def underwater(batch: SceneBatch, canvas: Canvas) -> None:
    """Water that darkens with depth, over a bed of sand."""
    top, middle, bottom = (batch.pick(table, "time") for table in (WATER_TOP, WATER_MIDDLE, WATER_BOTTOM))
    canvas.image[:] = gradient(top, middle, bottom, canvas.y)
    bed = 0.90 + 0.018 * torch.sin(canvas.x * 7 + batch.between("ground", 0.0, TURN))
    sand = batch.colour((0.80, 0.72, 0.52)) * (0.15 + 0.85 * batch.pick(LAND_LIGHT, "time"))
    canvas.fill(bed - canvas.y, sand * (1.1 - 1.6 * (canvas.y - bed).clamp(0, 0.2)))


def underwater_moves(batch: SceneBatch, canvas: Canvas) -> None:
    """Slanting rays, swaying seaweed and rising bubbles."""
    rays(batch, canvas)
    seaweed(batch, canvas)
    bubbles(batch, canvas)


def rays(batch: SceneBatch, canvas: Canvas) -> None:
    water, t = canvas.band(0.0, 0.85), batch.t
    slant = water.x - 0.35 * water.y
    shaft = torch.sin(slant * 11 + 0.45 * t + batch.phase)
    shaft = shaft * torch.sin(slant * 7 - 0.30 * t + 2 * batch.phase)
    fade = (0.85 - water.y).clamp(min=0) * batch.pick(RAY_STRENGTH, "time")
    water.paint(shaft.clamp_(min=0) * fade, batch.pick(RAYS, "time"))


def seaweed(batch: SceneBatch, canvas: Canvas) -> None:
    """One blade to a column at most."""
    water = canvas.band(0.58)
    column = (water.x * 7).floor()
    luck = cell_noise(column, 1.0, batch.cells)
    root = (column + 0.38 + 0.24 * cell_noise(column, 2.0, batch.cells)) / 7
    tip = 0.66 + 0.16 * luck
    sway = 0.028 * torch.sin(1.5 * batch.t + 9 * water.y + 6 * luck) * ((0.95 - water.y) / 0.3).clamp(min=0)
    width = 0.022 * ((water.y - tip) / 0.10).clamp(0, 1).sqrt()
    blade = water.cover((water.x - root - sway).abs() - width) * ((luck > 0.35) & (water.y > tip))
    green = batch.colour((0.10, 0.42, 0.30)) * (0.20 + 0.80 * batch.pick(LAND_LIGHT, "time"))
    water.paint(blade, green)


def bubbles(batch: SceneBatch, canvas: Canvas) -> None:
    """One bubble to a cell at most; the cells of a column rise together."""
    t = batch.t
    u = canvas.x * 6
    column = u.floor()
    luck = cell_noise(column, 3.0, batch.cells)
    v = canvas.y * 3 + (0.45 + 0.45 * luck) * t + 3 * luck
    row = v.floor()
    size = cell_noise(column, row, batch.cells + 1)
    x = u - column - 0.5 - 0.14 * torch.sin(2.2 * t + 6 * luck + 4 * canvas.y)
    bubble = canvas.cover(length(x / 6, (v - row - 0.5) / 3) - (0.010 + 0.012 * size))
    canvas.paint(bubble * (size > 0.62) * 0.45, batch.pick(RAYS, "time"))


# ------------------------------------------------------------------- weather, always behind the subject


def overcast(batch: SceneBatch, canvas: Canvas) -> None:
    """A grey light over the still part of the picture, in snow and rain."""
    grey = batch.pick({"in the snow": 0.22, "in the rain": 0.32}, "weather")
    canvas.paint(grey, batch.pick(OVERCAST, "time"))


def clouds(batch: SceneBatch, canvas: Canvas) -> None:
    """Two rows of clouds that drift with the wind, at different heights."""
    canvas = canvas.band(0.0, 0.46)
    here, colour = batch.when("weather", "with clouds"), batch.pick(CLOUDS, "time")
    for height, step, pace in ((0.10, 0.62, 0.030), (0.28, 0.50, 0.045)):
        u = (canvas.x - pace * batch.t) / step + 2 * batch.rolls["clouds"] + height
        column = u.floor()
        luck = cell_noise(column + 8, 7.0, batch.cells)
        x = (u - column - 0.42 - 0.16 * luck) * step
        at = canvas.warped(x, canvas.y - height - 0.06 * luck)
        puffs = torch.minimum(ellipse(at, 0, 0, 0.15, 0.038), circle(at, -0.045, -0.022, 0.052))
        puffs = torch.minimum(puffs, circle(at, 0.045, -0.032, 0.062))
        shade = 0.86 + 0.14 * ((0.03 - at.y) / 0.09).clamp(0, 1)
        canvas.paint((0.5 - puffs * at.sharpness * 0.6).clamp(0, 1) * here * 0.92, colour * shade)


def snowfall(batch: SceneBatch, canvas: Canvas) -> None:
    """Flakes, one to a cell at most, in a far and a near layer."""
    here = batch.when("weather", "in the snow")
    for cells, radius, fall in ((11, 0.011, 0.10), (7, 0.016, 0.16)):
        u = canvas.x * cells
        column = u.floor()
        luck = cell_noise(column, float(cells), batch.cells)
        v = (canvas.y - fall * (0.8 + 0.4 * luck) * batch.t) * cells + 9 * luck
        row = v.floor()
        size = cell_noise(column, row, batch.cells + cells)
        x = u - column - 0.5 - 0.28 * torch.sin(1.3 * batch.t + TURN * luck + row)
        flake = length(x, v - row - 0.5) / cells - radius * (0.7 + 0.5 * size)
        canvas.paint(canvas.cover(flake) * (size > 0.64) * here * 0.9, batch.colour((0.97, 0.98, 1.0)))


def rainfall(batch: SceneBatch, canvas: Canvas) -> None:
    """Slanting streaks, one to a cell at most."""
    u = (canvas.x + 0.14 * canvas.y) * 11
    column = u.floor()
    luck = cell_noise(column, 5.0, batch.cells)
    v = (canvas.y - (1.1 + 0.3 * luck) * batch.t) * 2.6 + 9 * luck
    row = v.floor()
    across = (u - column - 0.5).abs() / 11 - 0.0055
    ends = bump((v - row - 0.5) / 0.22) * (cell_noise(column, row, batch.cells + 6) > 0.25)
    streak = canvas.cover(across) * ends * batch.when("weather", "in the rain") * 0.6
    canvas.paint(streak, batch.colour((0.84, 0.91, 1.0)))


PaintScenery = Callable[[SceneBatch, Canvas], None]

WEATHERS: dict[str, PaintScenery] = {"with clouds": clouds, "in the snow": snowfall, "in the rain": rainfall}
PLACES: dict[str, tuple[PaintScenery, PaintScenery]] = {
    "sea": (sea, sea_moves),
    "meadow": (meadow, meadow_moves),
    "desert": (desert, desert_moves),
    "snowy hills": (snowy_hills, snowy_hills_move),
    "underwater": (underwater, underwater_moves),
}


def paint_still(batch: SceneBatch, canvas: Canvas) -> None:
    """All of the scenery that stands still."""
    PLACES[batch.scenes[0].place][0](batch, canvas)
    if any(scene.weather for scene in batch.scenes):
        overcast(batch, canvas)


def paint_moving(batch: SceneBatch, canvas: Canvas) -> None:
    """All of the scenery that moves."""
    PLACES[batch.scenes[0].place][1](batch, canvas)
    for weather, paint in WEATHERS.items():
        if batch.happens("weather", weather):
            paint(batch, canvas)
