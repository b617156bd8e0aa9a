"""Noise that moves and changes without end, and comes back to the bit after a loop: fog, turbulence, gusts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...media.pictures import opencv

TILE = 512  # sides of the noise that is looked up; it closes on itself
WAVES = 8  # of the largest structures on a tile: a picture seldom shows the same place of it twice
GENERATIONS = 3  # of noise at once; with two, what changes would do so by fits
GRID_SIDE = 160  # cells on the long side of the grid on which air moves


def noise_tile(rng: np.random.Generator, roughness: float) -> np.ndarray:
    """Fractal noise `(TILE, TILE)` of mean 0 and spread 1 that closes on itself; larger roughness is smoother.

    Its largest structures are a WAVES-th of it: its spectrum falls with that power above, and is even below.
    """
    waves = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]) * TILE / WAVES
    noise = np.fft.irfft2(waves / np.maximum(frequency, 1) ** roughness, (TILE, TILE))
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


class Drifting:
    """Noise on places x, y `(h, w)` that is carried along and changes on the way; of spread 1 at every moment.

    Three generations of it, each with a life of its own: one comes softly as the others go. They are unlike each other
    and the squares of their shares, and of the shares' slopes, add up to the same at every moment (those of raised
    cosines do), so nothing pulses and nothing turns back. What comes need not be where the last one began, so the loop
    closes at any speed. wave, velocity: in the units of x and y; seconds: of the loop.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        wave: float,
        velocity: tuple[float, float],
        life: float,
        seconds: float,
        rng: np.random.Generator,
        roughness: float = 1.8,
    ):
        self.tile = noise_tile(rng, roughness)
        self.times = max(1, round(seconds / life))  # generations in a loop
        self.scale = TILE / WAVES / wave
        self.x, self.y = (x * self.scale).astype(np.float32), (y * self.scale).astype(np.float32)
        self.way = [v * seconds / self.times * self.scale for v in velocity]
        self.starts = rng.uniform(0, TILE, (GENERATIONS, self.times, 2))
        self.begin = rng.random()

    def at(self, phase: float, aside: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
        """The noise `(h, w)` at a phase in [0, 1); aside: looked up that far away, in x and y, at each place."""
        cv2 = opencv()
        total = np.zeros_like(self.x)
        here_x, here_y = self.x, self.y
        if aside is not None:
            here_x, here_y = (
                h + np.float32(self.scale) * a for h, a in zip((here_x, here_y), aside, strict=True)
            )
        for k in range(GENERATIONS):
            done = phase * self.times + self.begin + k / GENERATIONS
            left, up = self.starts[k, int(done) % self.times]
            done %= 1
            x = np.mod(here_x + np.float32(left - self.way[0] * (done - 0.5)), TILE)
            y = np.mod(here_y + np.float32(up - self.way[1] * (done - 0.5)), TILE)
            seen = cv2.remap(self.tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            total += np.float32(math.sin(math.pi * done) ** 2 / math.sqrt(3 / 8 * GENERATIONS)) * seen
        return total


class Swirls:
    """Turbulent air over a picture: a flow without sources, so that what it carries curls and never piles up.

    The curl of noise (Bridson et al., "Curl-noise for procedural fluid flow", 2007); its speed is 1 on average.
    """

    def __init__(
        self,
        width: float,
        height: float,
        wave: float,
        velocity: tuple[float, float],
        life: float,
        seconds: float,
        rng: np.random.Generator,
    ):
        self.cell = max(width, height) / GRID_SIDE
        self.room = 4 * self.cell  # around the picture
        x = np.arange(-self.room, width + self.room + self.cell, self.cell, dtype=np.float32)
        y = np.arange(-self.room, height + self.room + self.cell, self.cell, dtype=np.float32)
        self.potential = Drifting(*np.meshgrid(x, y), wave, velocity, life, seconds, rng, roughness=2.6)
        self.gain = 1.0
        self.gain = 1 / float(np.sqrt((self.flow(0.0) ** 2).sum(2).mean()))

    def flow(self, phase: float) -> np.ndarray:
        """Velocities `(h, w, 2)` on the grid."""
        down, across = np.gradient(self.potential.at(phase))
        return np.stack([down, -across], 2) * np.float32(self.gain)

    def pushing(self, phase: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """(x, y), `(n,)` each -> velocities there, `(n, 2)`."""
        flow = self.flow(phase)

        def push(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            gx = ((x + self.room) / self.cell).clip(0, flow.shape[1] - 1.001)
            gy = ((y + self.room) / self.cell).clip(0, flow.shape[0] - 1.001)
            left, top = gx.astype(np.int32), gy.astype(np.int32)
            u, v = (gx - left)[:, None], (gy - top)[:, None]
            above = (1 - u) * flow[top, left] + u * flow[top, left + 1]
            below = (1 - u) * flow[top + 1, left] + u * flow[top + 1, left + 1]
            return (1 - v) * above + v * below

        return push
