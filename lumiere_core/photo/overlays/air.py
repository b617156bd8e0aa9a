"""What all overlays share: the settings, the picture they hang before, and how light and fog are laid over it.

Lengths are in the picture's short side, so that a setting looks alike at every size and shape; y goes downwards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...media.pictures import opencv

FOG_SIDE = 560  # cells on the long side of the grid on which soft things are painted
SHUTTER = 1 / 40  # seconds in which a drop draws a streak
DIM = 0.06  # the least light in which fog and flakes are seen, also at night
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
STEP = 1 / 24  # seconds, at most, in which what is carried by air is moved at once


@dataclass(frozen=True)
class Overlay:
    """The settings of an overlay.

    kind    a row of OVERLAYS
    amount  0 is none, 1 the kind's own, up to 4
    speed   1 is the kind's own
    size    1 is the kind's own
    wind    -2 to 2: to the left or to the right; rays lean
    tint    a colour such as #ffcc88; empty is the kind's own
    """

    kind: str = "steam"
    amount: float = 1.0
    speed: float = 1.0
    size: float = 1.0
    wind: float = 0.2
    tint: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Veil:
    """One frame of an overlay, at any size: fog that hides a share `(h, w)` of what is behind it, or light.

    light `(h, w, 1 or 3)`, linear, is added; fog is as bright as the light of the place.
    """

    cover: np.ndarray | None = None
    light: np.ndarray | None = None


@dataclass(frozen=True)
class Air:
    """The space before a picture. source: where things rise from, `(h, w)` in [0, 1], or None for the lower edge.

    bright `(h, w)`: a small picture of where the photo is bright, in linear light.
    """

    overlay: Overlay
    pixel_width: int
    pixel_height: int
    frames: int
    seconds: float
    source: np.ndarray | None
    bright: np.ndarray

    @property
    def short(self) -> int:
        return min(self.pixel_width, self.pixel_height)

    @property
    def width(self) -> float:
        return self.pixel_width / self.short

    @property
    def height(self) -> float:
        return self.pixel_height / self.short

    @cached_property
    def fog_shape(self) -> tuple[int, int]:
        shrink = min(1.0, FOG_SIDE / max(self.pixel_width, self.pixel_height))
        return max(2, round(self.pixel_height * shrink)), max(2, round(self.pixel_width * shrink))

    def fog_places(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the middles of the soft grid's cells, `(h, w)` each."""
        h, w = self.fog_shape
        x, y = np.meshgrid((np.arange(w) + 0.5) * self.width / w, (np.arange(h) + 0.5) * self.height / h)
        return x.astype(np.float32), y.astype(np.float32)

    def rng(self, *which: int) -> np.random.Generator:
        return np.random.default_rng([self.overlay.seed, *which])

    def phases(self) -> Iterator[float]:
        """Where each frame stands in the loop, in [0, 1), without end."""
        while True:
            yield from (i / self.frames for i in range(self.frames))


class Stream:
    """Many small things that rise from the source, at one moment after another, and go out.

    At each step new ones come, always the same at the same place of the loop, so after one life all that is there is
    what was there a loop ago. `grown` is their age over their life, in [0, 1); `lot` is a number in [0, 1) and `mass` a
    weight, which each keeps.
    """

    def __init__(self, air: Air, alive: int, life: float):
        self.air, self.life = air, life
        self.substeps = max(1, math.ceil(air.seconds / air.frames / STEP))
        self.step = air.seconds / air.frames / self.substeps
        self.count = max(1, round(alive * self.step / life))
        self.total = air.frames * self.substeps
        self.lasting = math.ceil(life / self.step)
        self.x = self.y = self.grown = self.lot = self.mass = np.zeros(0, np.float32)
        if air.source is not None:
            weight = air.source.ravel().astype(np.float64)
            self.sums = np.cumsum(weight)

    def born(self, number: int, mass: np.ndarray | None = None) -> None:
        """Those that come in step `number` of the loop; mass: of each place of the picture, `(h, w)`, else 1."""
        rng = self.air.rng(1, number % self.total)
        place, x, y, age, lot = rng.random((5, self.count), np.float32)
        if self.air.source is None:
            x = self.air.width * (0.5 + 0.36 * (place + x - 1))
            y = np.float32(self.air.height) + 0.1 * y
        else:
            h, w = self.air.source.shape
            cell = np.searchsorted(self.sums, place * self.sums[-1], side="right").clip(0, h * w - 1)
            x = (cell % w + x) * (self.air.width / w)
            y = (cell // w + y) * (self.air.height / h)
        weight = np.ones_like(x)
        if mass is not None:
            h, w = mass.shape
            row, column = (y / self.air.height * h).astype(int), (x / self.air.width * w).astype(int)
            weight = mass[row.clip(0, h - 1), column.clip(0, w - 1)]
        fresh = (x, y, age * self.step / self.life, lot, weight)
        self._keep(
            [np.concatenate([o, n], dtype=np.float32) for o, n in zip(self._all(), fresh, strict=True)]
        )

    def _all(self) -> tuple[np.ndarray, ...]:
        return self.x, self.y, self.grown, self.lot, self.mass

    def _keep(self, parts: list[np.ndarray]) -> None:
        self.x, self.y, self.grown, self.lot, self.mass = parts

    def moved(self, vx: np.ndarray, vy: np.ndarray) -> None:
        """All go on for one step; those that are over, or far outside, go."""
        self.x = self.x + vx * np.float32(self.step)
        self.y = self.y + vy * np.float32(self.step)
        self.grown = self.grown + np.float32(self.step / self.life)
        stay = (self.grown < 1) & (self.y > -0.3)
        self._keep([part[stay] for part in self._all()])

    def steps(self) -> Iterator[tuple[int, bool]]:
        """(step of the loop, is a frame due after it), from one life before the first frame on, without end."""
        frame = 0
        for number in range(-self.lasting, 0):
            yield number, False
        while True:
            for k in range(max(1, self.substeps - self.lasting), self.substeps if frame else 0):
                yield (frame - 1) * self.substeps + k, False
            yield frame * self.substeps, True
            frame += 1


def splat(x: np.ndarray, y: np.ndarray, weight: np.ndarray, height: int, width: int) -> np.ndarray:
    """Points laid on a grid `(height, width)` float32, each shared by the four cells around it; x, y in cells."""
    x, y = x - 0.5, y - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    u, v = x - left, y - top
    inside = (left >= -1) & (left < width) & (top >= -1) & (top < height)
    left, top, u, v, weight = left[inside], top[inside], u[inside], v[inside], weight[inside]
    at = (top + 1) * (width + 2) + left + 1  # with a border of one cell for what lies half outside
    places = np.concatenate([at, at + 1, at + width + 2, at + width + 3])
    shares = [(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v]
    total = np.bincount(places, np.concatenate([weight * s for s in shares]), (height + 2) * (width + 2))
    return total.reshape(height + 2, width + 2)[1:-1, 1:-1].astype(np.float32)


def along(
    x: np.ndarray, y: np.ndarray, dx: np.ndarray, dy: np.ndarray, weight: np.ndarray, samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points cut into streaks that end in them and come from (-dx, -dy); thin at both ends, as bright in sum."""
    back = (np.arange(samples) + 0.5) / samples
    taper = np.sin(np.pi * back) ** 0.7
    taper /= taper.sum()
    return (
        (x - dx * back[:, None]).ravel(),
        (y - dy * back[:, None]).ravel(),
        (weight * taper[:, None]).ravel(),
    )


def soft(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred by so many cells; beyond the border there is nothing."""
    if sigma < 0.2:
        return picture
    return opencv().GaussianBlur(picture, (0, 0), float(sigma), borderType=opencv().BORDER_CONSTANT)


def smooth(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below low, 1 above high, with no kink."""
    x = ((x - low) / (high - low)).clip(0, 1)
    return x * x * (3 - 2 * x)


def _curve(x: np.ndarray) -> np.ndarray:
    """sRGB as light (IEC 61966-2-1)."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


SIXTEEN_BITS = np.linspace(0, 1, 2**16)
LIGHT_OF = _curve(SIXTEEN_BITS).astype(np.float32)
# By the root of the light, along which sRGB is nearly even.
SRGB_OF = np.interp(SIXTEEN_BITS**2, _curve(SIXTEEN_BITS), SIXTEEN_BITS).astype(np.float32)


def as_linear(picture: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] as light, to 16 bits."""
    return LIGHT_OF[(picture.clip(0, 1) * np.float32(len(SIXTEEN_BITS) - 1) + 0.5).astype(np.int32)]


def as_srgb(light: np.ndarray) -> np.ndarray:
    """Light as sRGB in [0, 1], to 16 bits."""
    return SRGB_OF[(np.sqrt(light.clip(0, 1)) * np.float32(len(SIXTEEN_BITS) - 1) + 0.5).astype(np.int32)]


def tint_of(written: str, own: tuple[float, float, float]) -> np.ndarray:
    """A tint as linear light `(3,)`; `own`, in sRGB, where none is written. Raises ValueError for what is no colour."""
    written = written.strip()
    if not written:
        return as_linear(np.array(own, np.float32))
    found = re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", written)
    if not found:
        raise ValueError(f"tint is {written[:30]!r}, but it is written as #rrggbb. Try #ffffff.")
    return as_linear(np.array([int(part, 16) / 255 for part in found.groups()], np.float32))


def glow_of(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The light of a place `(h, w, 3)`, linear and soft, from its picture in sRGB; and its brightness `(h, w)`, small.

    Fog, drops and flakes are seen in it: half by what shines near them, half by what shines most.
    """
    cv2 = opencv()
    shrink = min(1.0, 128 / max(picture.shape[:2]))
    size = [max(2, round(n * shrink)) for n in picture.shape[1::-1]]
    light = as_linear(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    near = cv2.GaussianBlur(light, (0, 0), 0.1 * max(size), borderType=cv2.BORDER_REFLECT)
    luma = light @ LUMA
    bright = light[luma >= np.quantile(luma, 0.95)].mean(0)
    glow = 0.4 * near + 0.6 * bright
    glow = 0.5 * glow + 0.5 * (glow @ LUMA)[..., None]
    return np.maximum(glow, DIM).astype(np.float32), luma
