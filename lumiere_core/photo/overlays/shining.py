"""Overlays that shine: sparks that rise and flicker, rays of light with dust in them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...media.pictures import opencv
from ..warp import resized
from .air import SHUTTER, Air, Stream, Veil, along, smooth, soft, splat
from .noise import Drifting, Swirls

SPARKS = 260  # in the air at once
MOTES = 420  # of dust in the rays


def rising_sparks(air: Air) -> Iterator[Veil]:
    """Sparks: embers that rise, swirl, flicker, cool from white over orange to red and go out."""
    o = air.overlay
    life, rise = 1.9 / o.speed, 0.5 * o.speed
    stream = Stream(air, round(SPARKS * o.amount), life)
    wide = Swirls(air.width, air.height, 0.5, (0, -0.6 * rise), 1.5 / o.speed, air.seconds, air.rng(2))
    fine = Swirls(air.width, air.height, 0.16, (0, -0.6 * rise), 0.8 / o.speed, air.seconds, air.rng(3))
    h, w = air.pixel_height, air.pixel_width
    vx = vy = np.zeros(0, np.float32)
    for number, due in stream.steps():
        phase = number % stream.total / stream.total
        stream.born(number)
        x, y, grown, lot = stream.x, stream.y, stream.grown, stream.lot
        turn = wide.pushing(phase)(x, y) * (0.08 + 0.22 * grown)[:, None]
        turn += fine.pushing(phase)(x, y) * (0.04 + 0.1 * grown)[:, None]
        vx = turn[:, 0] * o.speed + 0.3 * o.wind * o.speed
        vy = turn[:, 1] * o.speed - rise * (0.55 + 0.9 * lot) * (1 - 0.35 * grown)
        if due:
            own = (lot * 7919) % 1  # another number of each, independent of the first
            lasting = 0.35 + 0.65 * own
            left = (1 - grown / lasting).clip(0, 1)
            beat = np.sin(2 * np.pi * (grown * (9 + 14 * own) + 13 * lot))
            power = left**1.3 * smooth(0, 0.03, grown) * (0.62 + 0.38 * beat) * (0.25 + 2.6 * own**4)
            heat = (0.25 + 0.75 * left)[:, None]
            colour = np.concatenate([np.ones_like(heat), 0.5 * heat**1.5, 0.13 * heat**3], 1)
            bright = power[:, None] * colour
            radius = 0.0011 * o.size * air.short
            length = np.hypot(vx, vy) * SHUTTER * air.short
            samples = max(2, math.ceil(1.6 * float(np.quantile(length, 0.98)))) if len(length) else 2
            light = np.empty((h, w, 3), np.float32)
            for c in range(3):
                points = along(
                    x * air.short,
                    y * air.short,
                    vx * SHUTTER * air.short,
                    vy * SHUTTER * air.short,
                    bright[:, c] * 16 * radius**2 * o.size,
                    samples,
                )
                light[..., c] = splat(*points, h, w)
            yield Veil(light=_glowing(soft(light, max(0.5, radius)), 0.011 * o.size * air.short))
        stream.moved(vx, vy)


def _glowing(light: np.ndarray, sigma: float) -> np.ndarray:
    """Light with a halo, as a lens makes one: some of what shines is spread over so many pixels."""
    shrink = max(1.0, sigma / 3)
    h, w = light.shape[:2]
    size = max(2, round(w / shrink)), max(2, round(h / shrink))
    small = opencv().resize(light, size, interpolation=opencv().INTER_AREA)
    halo = 0.7 * soft(small, sigma / shrink) + 0.5 * soft(small, 2.6 * sigma / shrink)
    return light + resized(halo, h, w)


def light_rays(air: Air) -> Iterator[Veil]:
    """Rays of light from above that sweep softly through haze, and dust that glints in them."""
    o = air.overlay
    x, y = air.fog_places()
    lean = math.radians(32) * o.wind
    reach = math.hypot(air.width, air.height)
    sx = air.width / 2 - 1.1 * air.height * math.tan(lean)
    sy = -0.55 * air.height
    angle = np.arctan2(x - sx, y - sy)
    away = np.hypot(x - sx, y - sy)
    rng = air.rng(1)
    haze = Drifting(x, y, 0.4, (0.03 * o.speed, -0.015 * o.speed), 4 / o.speed, air.seconds, air.rng(2))
    waves = []
    for m in range(26):
        dense = (7 + 4.3 * m) / o.size
        turns = round(rng.uniform(-0.35, 0.35) * o.speed * air.seconds)
        turns = turns or (1 if m % 2 else -1)
        waves.append((dense, turns, rng.uniform(0, 2 * math.pi), 1 / (1 + 0.2 * m)))
    power = math.sqrt(sum(a * a for *_, a in waves) / 2)
    near = np.exp(-1.3 * (away - away.min()) / reach) * _shining_through(air, x, y, sx, sy)
    motes = rng.random((6, round(MOTES * min(1.5, o.amount))))
    h, w = air.pixel_height, air.pixel_width
    for phase in air.phases():
        beams = sum(a * np.sin(d * angle + 2 * math.pi * n * phase + s) for d, n, s, a in waves) / power
        beams = smooth(-0.35, 2.3, beams) * near
        shaft = beams * (0.8 + 0.3 * haze.at(phase).clip(-1.5, 1.5))
        light = resized(0.6 * o.amount * shaft, h, w) + o.amount * _dust(air, motes, phase, beams)
        yield Veil(light=light[..., None])


def _shining_through(air: Air, x: np.ndarray, y: np.ndarray, sx: float, sy: float) -> np.ndarray:
    """How much light comes from bright parts of the photo towards the source at (sx, sy), `(h, w)` about 0.3 to 1.

    Mitchell, "Volumetric light scattering as a post-process", GPU Gems 3, 2007.
    """
    cv2 = opencv()
    bright = air.bright / max(1e-6, float(np.quantile(air.bright, 0.97)))
    bright = cv2.GaussianBlur(smooth(0.15, 1.0, bright).astype(np.float32), (0, 0), 1.5)
    rows, columns = bright.shape
    total = np.zeros_like(x)
    for step in range(32):
        back = 1 - 0.75 * step / 32
        gx = (sx + (x - sx) * back) * np.float32(columns / air.width) - np.float32(0.5)
        gy = (sy + (y - sy) * back) * np.float32(rows / air.height) - np.float32(0.5)
        total += cv2.remap(bright, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / 32
    return 0.3 + 0.7 * (total / max(1e-6, float(np.quantile(total, 0.9)))).clip(0, 1.2)


def _dust(air: Air, motes: np.ndarray, phase: float, beams: np.ndarray) -> np.ndarray:
    """Specks `(H, W)` that float about and glint, as bright as the ray they are in."""
    x, y, a, b, lot, own = motes
    turns = 1 + (lot * 3).astype(int)
    round_ = 2 * math.pi * phase
    drift = 0.05 * air.overlay.speed
    px = x * air.width + drift * np.sin(turns * round_ + 6.3 * a) + 0.4 * drift * np.sin(2 * round_ + 6.3 * b)
    py = y * air.height + drift * np.cos(round_ + 6.3 * b) + 0.3 * drift * np.sin(turns * round_ + 6.3 * own)
    gh, gw = beams.shape
    cx = (px / air.width * gw).astype(int).clip(0, gw - 1)
    cy = (py / air.height * gh).astype(int).clip(0, gh - 1)
    glint = 0.55 + 0.45 * np.sin((3 + (own * 5).astype(int)) * round_ + 6.3 * lot)
    radius = 0.0012 * air.overlay.size * air.short
    weight = beams[cy, cx] * glint * (0.3 + 2.5 * own**3) * 6 * radius**2
    laid = splat(px * air.short, py * air.short, weight, air.pixel_height, air.pixel_width)
    return soft(laid, max(0.6, radius))
