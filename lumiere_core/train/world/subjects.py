"""The subjects of the drawn world: where they go and how they look.

Each is drawn in its own coordinates, about one unit large and looking to the right, on a canvas turned, mirrored and
moved to its place. Numbers are colours in [0, 1], and shapes in units of the subject. They are a matter of taste, and
fixed: others make another world.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .drawing import (
    WHITE,
    Canvas,
    SceneBatch,
    box,
    bump,
    cell_noise,
    circle,
    ellipse,
    fraction,
    length,
    pentagram,
    polygon,
    segment,
)

CLIP_SECONDS = 5.0  # 80 frames at 16 per second, as in the paper

PIGMENTS = {
    "red": (0.90, 0.08, 0.12),
    "orange": (1.00, 0.50, 0.04),
    "yellow": (1.00, 0.90, 0.12),
    "green": (0.06, 0.66, 0.24),
    "blue": (0.10, 0.32, 0.95),
    "purple": (0.60, 0.16, 0.84),
    "pink": (1.00, 0.50, 0.74),
    "white": (0.97, 0.97, 0.95),
}
# What stripes and bands on a subject are painted in: nearly white, but for white itself.
ACCENTS = {name: tuple(0.25 * part + 0.75 for part in rgb) for name, rgb in PIGMENTS.items()}
ACCENTS["white"] = (0.60, 0.68, 0.80)

# The light that falls on subjects: mild, since their colour has to be told at any hour.
LIGHT = {"by day": WHITE, "at sunset": (1.0, 0.92, 0.90), "at night": (0.90, 0.88, 0.92)}

# Radians a second. At 16 fps all stay below half a turn a frame, or half of their pattern's share of a turn.
TURN_RATES = {"turning slowly": 1.0, "turning fast": 2.4}
BURN_RATES = {"burning slowly": 2.4, "burning fast": 6.0}
WAVE_RATES = {"waving slowly": 2.2, "waving fast": 6.0}
FLOW_RATES = {"flowing slowly": 3.0, "flowing fast": 7.0}


class Paints:
    """A subject's colour under its light: `base` and its `dark`, `light`, `pale` and `accent` relatives."""

    def __init__(self, batch: SceneBatch):
        self.batch = batch
        self.lit = batch.pick(LIGHT, "time")
        colour = batch.pick(PIGMENTS, "colour")
        self.base = colour * self.lit
        self.dark = colour * 0.70 * self.lit
        self.light = (colour * 0.72 + 0.28) * self.lit
        self.pale = (colour * 0.25 + 0.75) * self.lit
        self.accent = batch.pick(ACCENTS, "colour") * self.lit

    def of(self, rgb: Sequence[float]) -> Tensor:
        """Any other colour under the same light."""
        return self.batch.colour(rgb) * self.lit


# ------------------------------------------------------------------- where they go

# Width, then highest and lowest y of the centre at rest.
IN_THE_AIR = {
    "balloon": (0.28, 0.30, 0.48),
    "fish": (0.34, 0.36, 0.56),
    "bird": (0.34, 0.28, 0.44),
    "star": (0.34, 0.28, 0.42),
}
# The same, but y from the horizon.
ON_THE_GROUND = {
    "boat": (0.35, 0.00, 0.03),
    "windmill": (0.40, -0.26, -0.24),
    "campfire": (0.26, 0.00, 0.05),
    "ball": (0.27, 0.06, 0.10),
    "flag": (0.38, -0.30, -0.26),
    "fountain": (0.42, -0.02, 0.02),
}


def subject_centre(batch: SceneBatch) -> tuple[Tensor, Tensor]:
    """The centre of the subjects, x and y (B, 1, 1 or T, 1, 1), as a function of absolute time.

    A travelling subject crosses the middle of the frame half way through the clip.
    """
    subject = batch.scenes[0].subject
    grounded = subject in ON_THE_GROUND
    width, high, low = ON_THE_GROUND[subject] if grounded else IN_THE_AIR[subject]
    dx, dy = batch.directions[:, :1], batch.directions[:, 1:]
    speed_x, speed_y = batch.between("speed", 0.105, 0.135), batch.between("speed", 0.100, 0.115)
    free = (1 - width - CLIP_SECONDS * speed_x).clamp(min=0)
    x = 0.5 + (batch.rolls["x"] - 0.5) * torch.where(dx != 0, free, 0.36)
    y = batch.between("y", high, low)
    y = y + batch.horizon if grounded else torch.where(dy != 0, 0.49, y)
    if any(scene.direction != (0, 0) for scene in batch.scenes):
        x = x + dx * speed_x * (batch.t - CLIP_SECONDS / 2)
        y = y + dy * speed_y * (batch.t - CLIP_SECONDS / 2)
    if subject == "boat":
        y = y + 0.008 * torch.sin(batch.t * 1.9 + batch.phase)
    if batch.happens("motion", "swinging"):
        x = x + 0.32 * torch.sin(swing(batch))
    if batch.happens("motion", "bouncing"):
        beat = fraction(0.8 * batch.t + batch.rolls["bounce"])
        y = y - batch.when("motion", "bouncing") * 1.6 * beat * (1 - beat)
    return x, y


def swing(batch: SceneBatch) -> Tensor:
    """Angle of a swinging subject."""
    return batch.when("motion", "swinging") * 0.40 * torch.sin(batch.t * 2.4 + batch.phase)


def facing(batch: SceneBatch) -> Tensor:
    """1 looks right, -1 left: along the way, to the right where there is none."""
    way = batch.directions[:, :1]
    return torch.where(way != 0, way, torch.ones_like(way))


# ------------------------------------------------------------------- how they look


def balloon(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A hot-air balloon with stripes and a basket."""
    paints, size = Paints(batch), batch.between("size", 0.122, 0.138)
    angle = -swing(batch) if batch.happens("motion", "swinging") else None
    pen = canvas.at(x, y - 0.36 * size, size, angle=angle)
    for side in (-1, 1):
        pen.fill(segment(pen, side * 0.24, 1.2, side * 0.19, 1.45, 0.03), paints.of((0.35, 0.24, 0.16)))
    pen.fill(box(pen, 0, 1.55, 0.26, 0.18), paints.of((0.58, 0.36, 0.18)))
    pen.fill(box(pen, 0, 1.42, 0.29, 0.05), paints.of((0.36, 0.21, 0.10)))
    skirt = polygon(pen, (-0.82, 0.57), (0.82, 0.57), (0.28, 1.28), (-0.28, 1.28))
    half = torch.where(pen.y < 0.57, (1 - pen.y * pen.y).clamp(min=0.02).sqrt(), 0.82 - 0.76 * (pen.y - 0.57))
    stripe = torch.cos(pen.x * (7.85 / half.clamp(min=0.2))) * 0.5 + 0.5
    shine = bump((pen.x + 0.3) / 0.5) * bump((pen.y + 0.4) / 0.5)
    colour = torch.lerp(paints.dark, paints.light, stripe)
    colour = colour + shine * 0.16
    pen.fill(torch.minimum(circle(pen, 0, 0, 1), skirt), colour)


def boat(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A sailing boat: hull and main sail in the colour, a pale jib towards the bow."""
    paints, size = Paints(batch), batch.between("size", 0.160, 0.176)
    sway = batch.pick({"rocking": 0.26, "standing still": 0.015}, "motion", 0.035)
    angle = sway * torch.sin(batch.t * 2.5 + batch.phase)
    pen = canvas.at(x, y + 0.58 * size, size, facing(batch), angle)
    shadow = bump(pen.x / 0.65) * bump((pen.y - 0.38) / 0.07) * 0.35
    pen.paint(shadow, batch.colour((0.0, 0.04, 0.12)))
    pen.fill(polygon(pen, (0.08, -1.38), (0.08, -0.18), (0.86, -0.18)), paints.of((0.98, 0.95, 0.86)))
    sail = polygon(pen, (-0.06, -1.52), (-0.06, -0.18), (-0.92, -0.18))
    pen.fill(sail, torch.lerp(paints.light, paints.base, (pen.x + 1.0).clamp(0, 1)))
    pen.fill(box(pen, 0, -0.78, 0.035, 0.80), paints.of((0.36, 0.22, 0.12)))
    hull = polygon(pen, (-0.96, -0.08), (1.06, -0.14), (0.70, 0.38), (-0.74, 0.38))
    pen.fill(hull, torch.lerp(paints.base, paints.dark, ((pen.y + 0.05) / 0.4).clamp(0, 1)))
    pen.paint(pen.cover((pen.y - 0.02).abs() - 0.035) * pen.cover(hull), paints.accent)


def fish(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A round fish with a pale band, a wagging tail and a big eye."""
    paints, size = Paints(batch), batch.between("size", 0.118, 0.132)
    looks = facing(batch)
    pen = canvas.at(x + 0.3 * size * looks, y, size, looks)
    wag = batch.pick({"standing still": 0.14}, "motion", 0.36) * torch.sin(batch.t * 6.5 + batch.phase)
    tail = pen.warped(y=pen.y + wag * (-0.6 - pen.x).clamp(min=0))
    shape = polygon(tail, (-0.70, 0.0), (-1.62, -0.66), (-1.62, 0.66))
    tail.fill(torch.maximum(shape, -circle(tail, -1.86, 0.0, 0.42)), paints.dark)
    pen.fill(ellipse(pen, -0.08, -0.52, 0.44, 0.34), paints.dark)
    pen.fill(ellipse(pen, -0.10, 0.54, 0.28, 0.24), paints.dark)
    body = pen.cover(ellipse(pen, 0, 0, 1, 0.66))
    colour = torch.lerp(paints.light, paints.base, ((pen.y + 0.62) / 0.6).clamp(0, 1))
    pen.paint(body, torch.lerp(colour, paints.dark, (pen.y / 0.8).clamp(0, 1)))
    band = (pen.x - 0.22 + 0.25 * pen.y.square()).abs() - 0.09
    pen.paint(pen.cover(band) * body, paints.accent)
    pen.fill(ellipse(pen, -0.22, 0.12 + 0.2 * wag, 0.24, 0.14), paints.light)
    pen.fill(circle(pen, 0.60, -0.14, 0.18), paints.of((1.0, 1.0, 0.98)))
    pen.fill(circle(pen, 0.64, -0.13, 0.10), paints.of((0.04, 0.04, 0.08)))


def windmill(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A pale tower with four broad sails in the colour; the centre is the hub."""
    paints, size = Paints(batch), batch.between("size", 0.186, 0.206)
    wood, dark = paints.of((0.34, 0.22, 0.16)), paints.of((0.36, 0.26, 0.24))
    pen = canvas.at(x, y, size)
    tower = polygon(pen, (-0.20, -0.10), (0.20, -0.10), (0.40, 2.05), (-0.40, 2.05))
    shade = ((pen.x + 0.4) / 0.8).clamp(0, 1)
    pen.fill(tower, torch.lerp(paints.of((0.98, 0.95, 0.88)), paints.of((0.74, 0.69, 0.66)), shade))
    pen.fill(polygon(pen, (-0.28, -0.02), (0.28, -0.02), (0.0, -0.42)), paints.of((0.40, 0.32, 0.36)))
    pen.fill(box(pen, 0, 1.85, 0.11, 0.20), dark)
    pen.fill(circle(pen, 0, 1.10, 0.09), dark)

    rate = batch.pick(TURN_RATES, "motion") * batch.between("rate", 0.98, 1.02)
    pen = canvas.at(x, y, size, angle=rate * batch.t + batch.phase)
    # Four sails are one sail, seen from the quarter turn a pixel lies in.
    lying = pen.x.abs() > pen.y.abs()
    along = torch.where(lying, pen.x.abs(), pen.y.abs())
    across = torch.where(lying, pen.y * pen.x.sign(), -pen.x * pen.y.sign())
    sail = pen.warped(along, across)
    cloth = torch.lerp(paints.base, paints.light, (along - 0.3).clamp(0, 1))
    sail.fill(box(sail, 0.61, 0.125, 0.39, 0.185), cloth)
    sail.fill(box(sail, 0.50, 0.0, 0.52, 0.035), wood)
    pen.fill(circle(pen, 0, 0, 0.12), wood)


def campfire(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """Magic fire: the flame carries the colour, lighter inside, with a pale heart, over two logs."""
    paints, size = Paints(batch), batch.between("size", 0.31, 0.35)
    colour = torch.lerp(batch.pick(PIGMENTS, "colour"), paints.base, 0.3)
    middle = torch.lerp(colour, paints.accent, 0.55)
    pace = batch.pick(BURN_RATES, "motion") * batch.between("rate", 0.98, 1.02)
    beat = pace * batch.t + batch.phase
    pen = canvas.at(x, y + 0.46 * size, size)
    glow = bump(pen.x / 0.55) * bump((pen.y + 0.25) / 0.55)
    glow = glow * batch.pick({"by day": 0.30, "at sunset": 0.45, "at night": 0.60}, "time") * 0.8
    pen.paint(glow, torch.lerp(colour, paints.pale, 0.25))
    log = paints.of((0.44, 0.27, 0.15))
    pen.fill(segment(pen, -0.36, -0.03, 0.36, 0.10, 0.075), log * 0.75)
    pen.fill(segment(pen, -0.36, 0.10, 0.36, -0.03, 0.075), log)
    for scale, paint in ((1.0, colour), (0.66, middle), (0.36, paints.pale)):
        tall = scale * (1 + 0.10 * torch.sin(1.3 * beat + 2 * scale))
        rise = (-pen.y / tall).clamp(0, 1)
        lean = 0.11 * torch.sin(3.6 * rise - beat + scale) + 0.05 * torch.sin(8 * rise - 1.7 * beat)
        lick = 1 + 0.14 * torch.sin(7 * rise - 1.5 * beat)
        width = 0.60 * scale * (rise + 0.16).sqrt() * (1 - rise).pow(0.85) * lick
        side = ((pen.x - lean * rise * tall).abs() - width) * 0.8
        pen.fill(torch.maximum(side, torch.maximum(pen.y - 0.03, -pen.y - tall)), paint)
    sparks(batch, pen, pace, paints)


def sparks(batch: SceneBatch, pen: Canvas, pace: Tensor, paints: Paints) -> None:
    """Sparks that rise over the flame and fade."""
    u = pen.x * 4
    column = u.floor()
    v = pen.y * 2.5 + (0.5 + 0.16 * pace) * batch.t + 5 * cell_noise(column, 0.0, batch.cells + 2)
    row = v.floor()
    x = u - column - 0.3 - 0.4 * cell_noise(column, row, batch.cells)
    spark = pen.cover(length(x / 4, (v - row - 0.5) / 2.5) - 0.028)
    fade = ((pen.y + 1.55) / 0.5).clamp(0, 1) * ((-0.55 - pen.y) / 0.2).clamp(0, 1)
    fade = fade * ((0.5 - pen.x.abs()) * 10).clamp(0, 1)
    pen.paint(spark * fade * (cell_noise(column, row, batch.cells + 1) > 0.35), paints.light)


def bird(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A plump bird with beating wings."""
    paints, size = Paints(batch), batch.between("size", 0.128, 0.142)
    looks = facing(batch)
    pen = canvas.at(x + 0.10 * size * looks, y + 0.25 * size, size, looks)
    beat = torch.sin(batch.t * 6.5 + batch.phase)
    lift = 0.30 + 1.05 * beat
    wing(pen, 0.18, lift, paints.dark * 0.8)
    pen.fill(polygon(pen, (-0.55, 0.02), (-1.42, -0.26), (-1.30, 0.24)), paints.dark)
    pen.fill(polygon(pen, (0.90, -0.34), (0.90, -0.06), (1.34, -0.16)), paints.of((1.0, 0.66, 0.10)))
    body = ellipse(pen, 0, 0, 0.84, 0.50)
    head = circle(pen, 0.68, -0.24, 0.37)
    shape = torch.minimum(body, head)
    pen.fill(shape, torch.lerp(paints.light, paints.base, ((pen.y + 0.5) / 0.5).clamp(0, 1)))
    pen.paint(pen.cover(shape) * bump((pen.x - 0.2) / 0.35) * bump((pen.y - 0.42) / 0.16), paints.accent)
    pen.fill(circle(pen, 0.80, -0.26, 0.085), paints.of((0.04, 0.04, 0.08)))
    wing(pen, -0.04, lift, paints.dark)


def wing(pen: Canvas, shoulder: float, lift: Tensor, colour: Tensor) -> None:
    """A wing that stands `lift` above the back, or below it where that is negative."""
    lift = torch.where(lift < 0, lift.clamp(max=-0.3), lift.clamp(min=0.3))
    along = (-0.05 - pen.y) / lift
    middle = shoulder - 0.35 * along * along
    width = 0.46 * (1 - along).clamp(0, 1).sqrt()
    ends = torch.maximum(-along, along - 1) * lift.abs()
    pen.fill(torch.maximum((pen.x - middle).abs() - width, ends), colour)


def ball(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A beach ball that turns as it rolls, and its shadow on the ground."""
    paints, size = Paints(batch), batch.between("size", 0.124, 0.138)
    floor = batch.horizon + batch.between("y", *ON_THE_GROUND["ball"][1:])
    shadow = canvas.at(x, floor + size, size)
    near = 0.40 - 0.6 * (floor - y)
    shadow.paint(bump(shadow.x / 0.65) * bump(shadow.y / 0.11) * near, batch.colour((0.03, 0.04, 0.10)))
    pen = canvas.at(x, y, size, angle=(x - 0.5) / size + batch.phase)
    out = length(pen.x, pen.y)
    # sin(3 angle) tells the six sectors apart; its slope along a circle is 3 / out.
    sector = (3 * pen.y * out.square() - 4 * pen.y.pow(3)) / out.pow(3).clamp(min=1e-4)
    colour = torch.lerp(paints.accent, paints.base, pen.cover((-0.35 - sector) * out / 3))
    colour = torch.lerp(colour, paints.base, pen.cover(out - 0.22))
    pen.fill(out - 1, colour)
    pen = canvas.at(x, y, size)
    inside = pen.cover(circle(pen, 0, 0, 1))
    pen.paint(inside * (length(pen.x + 0.3, pen.y + 0.4) - 0.6).clamp(0, 1) * 0.45, paints.dark * 0.7)
    pen.paint(inside * bump((pen.x + 0.35) / 0.22) * bump((pen.y + 0.42) / 0.20) * 0.6, paints.of(WHITE))


def star(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A five-pointed star with a glow, lit from one side of each ray."""
    paints, size = Paints(batch), batch.between("size", 0.160, 0.176)
    angle = batch.when("motion", "spinning") * batch.between("rate", 1.7, 1.8) * batch.t
    still = batch.when("motion", "standing still") + batch.when("motion", "spinning")
    angle = angle + 0.16 * (1 - still) * torch.sin(2.0 * batch.t + batch.phase)
    pen = canvas.at(x, y, size, angle=angle)
    glow = bump(length(pen.x, pen.y) / 0.80)
    glow = glow * batch.pick({"by day": 0.30, "at sunset": 0.30, "at night": 0.45}, "time")
    pen.paint(glow, paints.light)
    shape, side = pentagram(pen, 0.94, 0.48)
    facet = 0.5 + 0.5 * (side * 8).clamp(-1, 1)
    pen.fill(shape - 0.06, torch.lerp(paints.light, paints.dark * 0.4 + paints.base * 0.6, facet))


def flag(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A flag with a pale disc, flying from a pole; the centre is the middle of the cloth."""
    paints, size = Paints(batch), batch.between("size", 0.34, 0.38)
    pen = canvas.at(x, y, size, facing(batch))
    pen.fill(box(pen, -0.53, 0.42, 0.030, 0.80), paints.of((0.70, 0.62, 0.52)))
    pen.fill(circle(pen, -0.53, -0.42, 0.060), paints.of((0.96, 0.80, 0.30)))
    beat = batch.pick(WAVE_RATES, "motion") * batch.between("rate", 0.98, 1.02) * batch.t + batch.phase
    along = pen.x + 0.5
    swell = along.clamp(0, 1).sqrt()
    cloth = pen.warped(y=pen.y - 0.085 * torch.sin(6.5 * along - beat) * swell)
    shape = box(cloth, 0, 0, 0.5, 0.33)
    fold = torch.cos(6.5 * along - beat) * swell
    colour = torch.lerp(paints.base, paints.dark, (fold * 0.8).clamp(0, 1))
    cloth.fill(shape, torch.lerp(colour, paints.light, (fold * -0.8).clamp(0, 1)))
    cloth.fill(circle(cloth, 0, 0, 0.15), paints.accent)


def fountain(batch: SceneBatch, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """A stone basin under a dome of falling water in the colour."""
    paints, size = Paints(batch), batch.between("size", 0.30, 0.33)
    stone, shade = paints.of((0.80, 0.78, 0.78)), paints.of((0.52, 0.50, 0.54))
    pen = canvas.at(x, y + 0.22 * size, size)
    pen.fill(box(pen, 0, 0.38, 0.14, 0.14), shade)
    pen.fill(box(pen, 0, 0.50, 0.30, 0.06), stone)
    bowl = polygon(pen, (-0.68, 0.0), (0.68, 0.0), (0.40, 0.30), (-0.40, 0.30))
    pen.fill(bowl, torch.lerp(stone, shade, (pen.y / 0.3).clamp(0, 1)))
    pen.fill(ellipse(pen, 0, 0.0, 0.68, 0.09), stone)
    pen.fill(ellipse(pen, 0, 0.0, 0.60, 0.06), paints.dark)

    pace = batch.pick(FLOW_RATES, "motion") * batch.between("rate", 0.98, 1.02)
    beat = pace * batch.t + batch.phase
    out = pen.x.abs()
    middle = torch.lerp(paints.base, paints.light, 0.5)
    # Curtains of water, each under the arc its jet describes, and waves that run down them.
    for reach, top, paint in ((0.60, 0.72, paints.base), (0.34, 0.88, middle)):
        arc = top * ((out / reach - 0.3) / 0.7).clamp(min=-0.2).square() - top
        inside = torch.maximum(torch.maximum((arc - pen.y) * 0.4, pen.y - 0.02), out - reach)
        waves = 0.5 + 0.5 * torch.sin(15 * (pen.y - 0.5 * arc) - beat + 9 * reach)
        pen.paint(pen.cover(inside) * 0.94, torch.lerp(paint, paints.accent, waves.square() * 0.35))
    pen.fill(segment(pen, 0, -0.90, 0, -0.70, 0.07), paints.accent)


DrawSubject = Callable[[SceneBatch, Canvas, Tensor, Tensor], None]

SUBJECTS: dict[str, DrawSubject] = {
    "balloon": balloon,
    "boat": boat,
    "fish": fish,
    "windmill": windmill,
    "campfire": campfire,
    "bird": bird,
    "ball": ball,
    "star": star,
    "flag": flag,
    "fountain": fountain,
}


def paint_subject(batch: SceneBatch, canvas: Canvas) -> None:
    """The subject of all the scenes, in front of everything."""
    SUBJECTS[batch.scenes[0].subject](batch, canvas, *subject_centre(batch))
