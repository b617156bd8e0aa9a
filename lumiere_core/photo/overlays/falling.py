"""Overlays that fall: rain in streaks, snow in flakes; each in layers from near to far."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..warp import resized
from .air import SHUTTER, Air, Veil, along, smooth, soft, splat
from .noise import Drifting

LONGEST_TABLE = 30.0  # seconds, after which what falls repeats itself, also within a longer loop


class Fall:
    """Things that fall from above the picture to below it, at one speed, each at its own time and place.

    Each begins once in a loop; a fall that takes longer than a loop is seen several times at once, at several ages.
    """

    def __init__(
        self, air: Air, alive: float, speed: float, slant: float, room: float, rng: np.random.Generator
    ):
        self.cycles = max(1, math.ceil(air.seconds / LONGEST_TABLE))
        self.seconds = air.seconds / self.cycles
        self.top, self.speed, self.slant = -room, speed, slant
        reach = air.height + 2 * room
        self.life = reach / speed  # seconds
        side = abs(slant) * reach / speed
        many = max(1, round(alive * (air.width + side) / air.width * self.seconds / self.life))
        self.birth, x, self.lot, self.mark = rng.random((4, many))
        self.x = x * (air.width + side) - (side if slant > 0 else 0)
        self.pace = 0.85 + 0.3 * rng.random(many)  # of its own

    def at(self, phase: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of all that fall now: which, and their age in seconds, x and y."""
        age = (phase * self.cycles - self.birth) % 1 * self.seconds
        found = []
        for k in range(math.ceil(self.life / 0.85 / self.seconds)):
            older = age + k * self.seconds
            which = np.flatnonzero(older * self.pace < self.life)
            found.append((which, older[which]))
        which = np.concatenate([n for n, _ in found])
        old = np.concatenate([a for _, a in found])
        gone = old * self.pace[which]
        return which, old, self.x[which] + self.slant * gone, self.top + self.speed * gone


# Distances of layers of rain: what is twice as far is half as large and half as fast, and there is four times of it.
RAIN_LAYERS = (1.0, 1.7, 2.8, 4.5, 7.0)


def rain(air: Air) -> Iterator[Veil]:
    """Rain: streaks as long as drops move while the shutter is open, blurred where near, a veil far away."""
    o = air.overlay
    h, w = air.pixel_height, air.pixel_width
    layers = []
    for k, far in enumerate(RAIN_LAYERS):
        speed = 4.2 * o.speed / far
        slant = 0.45 * o.wind * speed
        fall = Fall(air, 30 * o.amount * far**1.75 / o.size, speed, slant, 0.12, air.rng(1, k))
        layers.append((far, fall))
    x, y = air.fog_places()
    sheets = Drifting(
        x * 2.2, y, 0.6, (1.1 * o.wind * o.speed, 0.55 * o.speed), 1.6 / o.speed, air.seconds, air.rng(2), 1.6
    )
    for phase in air.phases():
        gust = sheets.at(phase)
        clear = np.zeros((h, w), np.float32)  # as an optical thickness
        for far, fall in layers:
            which, _, px, py = fall.at(phase)
            length = fall.speed * SHUTTER * air.short  # pixels
            wide = max(0.42, 0.0019 * o.size * air.short / far)  # a sigma, in pixels
            thin = min(1.0, 0.0019 * o.size * air.short / far / 0.42)
            sharp = 0.55 if far == 1 else 0.7 if far < 2 else 0.9
            peak = sharp * thin * (0.35 + 1.3 * fall.lot[which] ** 2)
            pace = fall.pace[which]
            samples = max(2, math.ceil(length * 1.6))
            points = along(
                px * air.short,
                py * air.short,
                fall.slant / fall.speed * length * pace,
                length * pace,
                peak * length * wide * 1.6,
                samples,
            )
            clear += soft(splat(*points, h, w), wide)
        veil = 0.07 * o.amount * smooth(-2.0, 2.2, gust)
        cover = 1 - np.exp(-clear)
        thick = 1 - (1 - cover) * (1 - resized(veil, h, w))
        yield Veil(thick)


# Distances of layers of snow, and how much of it is in each.
SNOW_LAYERS = ((1.0, 9.0), (1.7, 26.0), (2.8, 80.0), (4.5, 230.0), (7.0, 600.0), (11.0, 1200.0))


def snow(air: Air) -> Iterator[Veil]:
    """Snow: flakes that sway as they sink, near ones large and out of focus, far ones small, slow and many."""
    o = air.overlay
    layers = []
    for k, (far, many) in enumerate(SNOW_LAYERS):
        speed = 0.42 * o.speed / far**0.8
        fall = Fall(
            air, many * o.amount / o.size**1.5, speed, 0.55 * o.wind * speed, 0.06 + 0.05 / far, air.rng(1, k)
        )
        layers.append((far, fall))
    gusts = air.rng(3).uniform(0, 2 * math.pi, 3)
    beats = [max(1, round(rate * air.seconds * o.speed)) for rate in (0.11, 0.23, 0.4)]
    for phase in air.phases():
        blown = sum(
            a * math.sin(2 * math.pi * n * phase + g)
            for a, n, g in zip((0.03, 0.014, 0.006), beats, gusts, strict=True)
        ) * (0.4 + abs(o.wind))
        thick = np.zeros((air.pixel_height, air.pixel_width), np.float32)
        for far, fall in layers:
            which, old, px, py = fall.at(phase)
            lot, mark = fall.lot[which], fall.mark[which]
            rate = (0.9 + 1.3 * mark) * o.speed
            turn = rate * old + 2 * math.pi * lot * 7
            wide = (0.012 + 0.02 * lot) / far**0.7
            px = px + wide * np.sin(turn) + 0.4 * wide * np.sin(2.3 * turn + 40 * mark) + blown / far**0.7
            radius = 0.0085 * o.size / far**0.75 * air.short * (0.55 + 0.9 * mark**2)  # pixels
            solid = 0.5 if far == 1 else 0.8 if far < 2 else 1.1
            thick += _flakes(air, px, py, radius, solid, (fall.slant, fall.speed))
        yield Veil(1 - np.exp(-thick))


def _flakes(
    air: Air, x: np.ndarray, y: np.ndarray, radius: np.ndarray, solid: float, way: tuple[float, float]
) -> np.ndarray:
    """Discs of a radius in pixels, soft at the edge, moved while the shutter is open: an optical thickness `(H, W)`."""
    typical = float(np.sqrt((radius**2).mean())) if radius.size else 0.0
    shrink = max(1.0, typical / 2.5)  # large discs are painted small
    h, w = (max(1, round(n / shrink)) for n in (air.pixel_height, air.pixel_width))
    scale_x, scale_y = w / air.width, h / air.height
    dx, dy = (v * SHUTTER for v in way)
    samples = max(1, math.ceil(1.5 * math.hypot(dx * scale_x, dy * scale_y)))
    weight = solid * np.pi * (radius / shrink) ** 2
    ones = np.ones_like(x)
    points = along(x * scale_x, y * scale_y, dx * scale_x * ones, dy * scale_y * ones, weight, samples)
    laid = splat(*points, h, w)
    sigma = max(0.45, 0.55 * typical / shrink)
    return resized(soft(laid, sigma), air.pixel_height, air.pixel_width) if shrink > 1 else soft(laid, sigma)
