"""Overlays that hide what is behind them: steam that rises and curls, mist that drifts in layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .air import Air, Stream, Veil, smooth, soft, splat
from .noise import Drifting, Swirls

PUFFS = 40_000  # small parts of steam in the air at once
TOGETHER = 14  # of them, at least, are seen as one
AGES = 6  # of steam that are spread differently


def steam(air: Air) -> Iterator[Veil]:
    """Steam: parts that rise from the source, curl in turbulent air, spread and fade with height."""
    o = air.overlay
    pace, life = o.size * o.speed, 2.4 / o.speed
    rise = 0.25 * pace
    stream = Stream(air, PUFFS, life)
    up, seconds = (0, -0.75 * rise), air.seconds
    wide = Swirls(air.width, air.height, 0.36 * o.size, up, 1.7 / o.speed, seconds, air.rng(2))
    fine = Swirls(air.width, air.height, 0.12 * o.size, up, 0.85 / o.speed, seconds, air.rng(3))
    puff = min(0.3, max(0.07, 0.3 * _across(air))) * o.size  # a wide source steams in wide puffs
    puffs = Drifting(
        *air.fog_places(), puff, (0.02 * pace, -0.02 * pace), 0.65 / o.speed, seconds, air.rng(4), 1.5
    )
    h, w = air.fog_shape
    cell = air.width / w
    strength = None
    for number, due in stream.steps():
        phase = number % stream.total / stream.total
        stream.born(number, np.exp(puffs.at(phase)))
        x, y, grown = stream.x, stream.y, stream.grown
        turn = wide.pushing(phase)(x, y) * (0.03 + 0.11 * grown)[:, None]
        turn += fine.pushing(phase)(x, y) * (0.03 + 0.045 * grown)[:, None]
        turn *= pace
        if due:
            fade = stream.mass * smooth(0, 0.1, grown) * (1 - grown) ** 1.5
            density = np.zeros((h, w), np.float32)
            for k in range(AGES):
                of = (grown * AGES).astype(int) == k
                part = splat(x[of] / cell, y[of] / cell, fade[of], h, w)
                own = (0.0025 + 0.010 * (k + 0.5) / AGES) * o.size
                density += soft(part, max(own, _grain(x[of], y[of])) / cell)
            if strength is None:  # by the first frame, for all
                seen = density[density > 0.01 * density.max()]
                strength = 0.7 * o.amount / max(1e-9, float(np.quantile(seen, 0.93))) if seen.size else 0.0
            yield Veil(1 - np.exp(-strength * density))
        stream.moved(
            turn[:, 0] + 0.24 * o.wind * pace * grown,
            turn[:, 1] - rise * (0.75 + 0.5 * stream.lot - 0.25 * grown),
        )


def _across(air: Air) -> float:
    """How wide the source is."""
    if air.source is None:
        return 0.7 * air.width
    used = np.flatnonzero(air.source.max(0) > 0)
    return float(used[-1] - used[0] + 1) / air.source.shape[1] * air.width


def _grain(x: np.ndarray, y: np.ndarray) -> float:
    """How far parts are blurred at least, so that TOGETHER of them make each place: more where they are spread wide."""
    if not len(x):
        return 0.0
    area = 12 * float(x.std() * y.std())  # as if they filled a box evenly
    return float(np.sqrt(TOGETHER * area / (2 * np.pi * len(x))))


# How far away each layer of mist lies: its size, speed, and share of the whole.
BANKS = ((1.0, 1.0, 0.45), (0.55, 0.6, 0.35), (0.3, 0.38, 0.2))


def mist(air: Air) -> Iterator[Veil]:
    """Mist: banks one behind the other that drift at their own speeds, denser towards the ground."""
    o = air.overlay
    x, y = air.fog_places()
    rng = air.rng(2)
    seconds, side = air.seconds, (1 if o.wind >= 0 else -1) * max(0.25, abs(o.wind) * 2.5)
    bent = [
        Drifting(x, y, 0.5 * o.size, (0.02 * side * o.speed, 0), 4 / o.speed, seconds, rng, 2.4)
        for _ in range(2)
    ]
    banks = []
    for size, quick, share in BANKS:
        wave, pace = 0.7 * size * o.size, 0.26 * quick * side * o.speed
        bank = Drifting(
            x / 2.2, y, wave, (pace / 2.2, -0.004 * o.speed), 4 * size**0.5 / o.speed, seconds, rng, 1.75
        )
        banks.append((bank, size, share))
    for phase in air.phases():
        warp = [b.at(phase) for b in bent]
        thick = np.zeros_like(x)
        for bank, size, share in banks:
            noise = bank.at(phase, (np.float32(0.035 * size) * warp[0], np.float32(0.05 * size) * warp[1]))
            ground = smooth(0.12, 0.95, y / air.height + 0.09 * warp[1]) if air.source is None else 1
            thick += share * smooth(-1.1, 2.0, noise) ** 1.3 * ground
        yield Veil(1 - np.exp(-1.7 * o.amount * thick))
