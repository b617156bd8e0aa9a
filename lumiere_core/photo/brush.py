"""Motion painted into a photo, in a loop: flowing water, drifting smoke, swaying grass, flickering flames.

A photo is float32 `(H, W, 3)` in [0, 1]; `moves` is a mask, float32 `(H, W)` in [0, 1]: 1 moves, greys move less.
Only the box around the mask is computed, and frames come one at a time, so a 12-megapixel photo fits into memory.

Every motion is a function of the loop's phase with period 1, so the last frame leads back to the first. All motion
falls to zero towards the mask's edge.

Moved texture is looked up backwards along its path, not splatted forwards. The flow is constant in time, so both give
the same picture (0.4 of 255 levels apart around a stone in a river), and a lookup leaves no holes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..limits import check
from ..media.frames import Rendered, gathered
from ..media.pictures import opencv
from .region import Region, change_mask, feathered, region_of
from .warp import resized, warped

CutoutAt = Callable[[float], np.ndarray]  # phase -> the box's pixels (h, w, 3)

# The figures in brackets: doubled, the number changes 99.9 % of the example lake's values by at most so many levels of
# 255. Values without a figure are a matter of taste.
FIELD_SIDE = 400  # the long side of the grid on which motion is computed, at most (2.6, ripple)
STEPS = 32  # of Euler's method, from one restart of carried texture to the next (2.1, along a path)
PATH_POINTS = 64  # to which a painted path is resampled (0.6)
SHORTEST = 1.5  # seconds between two restarts of carried texture, at least
TRAVEL = (
    0.06  # photo widths of travel between two restarts: at flow's own speed, 0.04 a second, SHORTEST seconds
)
PATCH = 0.12  # photo widths: parts of a sky this far apart restart at different times


@dataclass(frozen=True)
class Stroke:
    """The settings of the brush.

    preset     a row of BRUSH_PRESETS
    direction  degrees, 0 is right and 90 is up; None is the preset's own
    speed      photo widths per second for drift and flow, cycles per second for the others; None is the preset's own
    path       points (x, y) in fractions of the photo, which the motion follows instead of the direction
    motion     0 is none, 1 the preset's own strength, up to 4
    edge       how far inside the mask the motion rises from zero, a fraction of the photo's width
    """

    preset: str = "flow"
    direction: float | None = None
    speed: float | None = None
    path: tuple[tuple[float, float], ...] = ()
    motion: float = 1.0
    edge: float = 0.03
    seed: int = 0


@dataclass(frozen=True)
class Cutout:
    """The box of a photo that moves."""

    pixels: np.ndarray  # (h, w, 3)
    pin: np.ndarray  # (gh, gw): 0 at the mask's edge, 1 inside, on the grid of the motion
    corner: tuple[int, int]  # left and top of the box in the photo
    photo: tuple[int, int]  # width and height

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the grid's points in pixels of the box, `(gh, gw)` each."""
        height, width = self.pixels.shape[:2]
        gh, gw = self.pin.shape
        x = (np.arange(gw, dtype=np.float32) + 0.5) * (width / gw) - 0.5
        y = (np.arange(gh, dtype=np.float32) + 0.5) * (height / gh) - 0.5
        return tuple(np.meshgrid(x, y))

    def moved(self, displacement: np.ndarray) -> np.ndarray:
        """The pixels looked up at `p + displacement`, which is `(gh, gw, 2)` in pixels."""
        return warped(self.pixels, resized(displacement, *self.pixels.shape[:2]))


def cutout_of(image: Tensor, moves: Tensor, region: Region, edge: float) -> Cutout:
    """The box of a region; edge as in `Stroke`."""
    pin = feathered(moves, edge * region.picture_width)[region.box].cpu().numpy()
    shrink = max(1.0, max(pin.shape) / FIELD_SIDE)
    grid = [max(2, round(n / shrink)) for n in pin.shape]
    pin = opencv().resize(pin, grid[::-1], interpolation=opencv().INTER_AREA)
    pixels = np.ascontiguousarray(image[region.box].cpu().numpy(), np.float32)
    return Cutout(pixels, pin, (region.left, region.top), (region.picture_width, region.picture_height))


def heading(cutout: Cutout, stroke: Stroke, direction: float) -> np.ndarray:
    """Unit vectors of the motion's direction, `(gh, gw, 2)` as (x, y) with y downwards."""
    if stroke.path:
        return _along_path(cutout, stroke.path)
    angle = math.radians(direction if stroke.direction is None else stroke.direction)
    one = np.array([math.cos(angle), -math.sin(angle)], np.float32)
    return np.broadcast_to(one, (*cutout.pin.shape, 2))


def _along_path(cutout: Cutout, path: tuple[tuple[float, float], ...]) -> np.ndarray:
    """The direction of a path at each point: a mean over the path's pieces, in which near pieces count most."""
    width, height = cutout.photo
    points = np.array(path, np.float32) * (width, height) - cutout.corner
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    marks = np.concatenate([[0], lengths.cumsum()])
    even = np.linspace(0, marks[-1], PATH_POINTS + 1)
    line = np.stack([np.interp(even, marks, points[:, axis]) for axis in (0, 1)], 1)  # (PATH_POINTS + 1, 2)
    places, ways = (line[1:] + line[:-1]) / 2, np.diff(line, axis=0).astype(np.float32)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True).clip(1e-6)
    x, y = cutout.grid()
    total = np.zeros((*x.shape, 2), np.float32)
    reach = 0.05 * width
    for (px, py), way in zip(places, ways, strict=True):
        total += way / (((x - px) ** 2 + (y - py) ** 2) / reach**2 + 0.05)[..., None] ** 2
    return total / np.linalg.norm(total, axis=2, keepdims=True).clip(1e-6)


# Two phases of advection: what was carried along from the last start, and what arrives at the next one, mixed so that
# each is invisible when it starts anew (Holynski et al., "Animating Pictures with Eulerian Motion Fields", CVPR 2021).
# Clouds would show twice halfway, so each place of a sky goes over at a time of its own, and faster; fine texture such
# as water hides it, and keeps the most even motion by taking all the time.
def carrying(cutout: Cutout, stroke: Stroke, row: Preset, seconds: float) -> CutoutAt:
    """Texture that moves along the direction: rivers, clouds, smoke."""
    speed = stroke.motion * (row.speed if stroke.speed is None else stroke.speed) * cutout.photo[0]
    starts = round(speed * seconds / (TRAVEL * cutout.photo[0]))
    starts = max(1, min(starts, int(seconds / SHORTEST)))
    step = heading(cutout, stroke, row.direction) * cutout.pin[..., None] * (speed * seconds / starts / STEPS)
    behind, ahead = traced(cutout, -step), traced(cutout, step)
    when = row.dissolve / 2 + (1 - row.dissolve) * evened(
        smooth_noise(cutout, PATCH, stroke.seed)
    )  # (gh, gw)

    def paint(phase: float) -> np.ndarray:
        done = (phase * starts) % 1
        old, new = cutout.moved(at(behind, done)), cutout.moved(at(ahead, 1 - done))
        share = ((done - when) / row.dissolve + 0.5).clip(0, 1)
        share = share * share * (3 - 2 * share)  # with no kink where a place begins to go over
        return mixed(old, new, resized(share, *old.shape[:2])[..., None], cutout.photo[0])

    return paint


def evened(field: np.ndarray) -> np.ndarray:
    """A field whose values keep their order and are spread evenly from 0 to 1."""
    ranks = field.ravel().argsort().argsort().reshape(field.shape)
    return (ranks / max(1, field.size - 1)).astype(np.float32)


def traced(cutout: Cutout, step: np.ndarray) -> np.ndarray:
    """Displacements `(STEPS + 1, gh, gw, 2)` along the field of steps `(gh, gw, 2)`, by Euler's method."""
    cv2 = opencv()
    height, width = cutout.pixels.shape[:2]
    gh, gw = cutout.pin.shape
    x, y = cutout.grid()
    out = np.zeros((STEPS + 1, gh, gw, 2), np.float32)
    for k in range(STEPS):
        gx = (x + out[k, ..., 0] + 0.5) * (gw / width) - 0.5
        gy = (y + out[k, ..., 1] + 0.5) * (gh / height) - 0.5
        out[k + 1] = out[k] + cv2.remap(step, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out


def at(path: np.ndarray, done: float) -> np.ndarray:
    """The displacement after a share `done` in [0, 1] of the way."""
    low = min(int(done * STEPS), STEPS - 1)
    share = np.float32(done * STEPS - low)
    return (1 - share) * path[low] + share * path[low + 1]


def mixed(a: np.ndarray, b: np.ndarray, share: np.ndarray, photo_width: int) -> np.ndarray:
    """`a` to `b` by shares `(h, w, 1)`, with the contrast of both.

    The mean of two different textures has less contrast than each. The difference from the local mean is therefore
    scaled up by what the local standard deviation lost; where the two agree, nothing changes.
    """
    blend = a + share * (b - a)
    stride = max(1, max(blend.shape) // 1000)
    reach = max(3, photo_width // 16)
    few = max(3, reach // stride)
    spreads = [_variance(p[::stride, ::stride].mean(2), few) for p in (a, b, blend)]
    few_shares = share[::stride, ::stride, 0]
    wanted = (1 - few_shares) * spreads[0] + few_shares * spreads[1]
    gain = np.sqrt((wanted + 1e-5) / (spreads[2] + 1e-5)).clip(1, 1.5)
    gain = resized(opencv().blur(gain, (few, few)), *blend.shape[:2])[..., None]
    mean = opencv().blur(blend, (2 * reach + 1, 2 * reach + 1))
    return (mean + (blend - mean) * gain).clip(0, 1)


def _variance(luma: np.ndarray, reach: int) -> np.ndarray:
    blur = opencv().blur
    return (blur(luma * luma, (reach, reach)) - blur(luma, (reach, reach)) ** 2).clip(0)


def cycles(rate: float, seconds: float) -> int:
    """Whole cycles in the loop, at least one."""
    return max(1, round(rate * seconds))


def smooth_noise(cutout: Cutout, size: float, seed: int) -> np.ndarray:
    """Random field `(gh, gw)` with mean 0 and spread 1 whose blobs are `size` photo widths large."""
    height, width = cutout.pixels.shape[:2]
    count = [max(2, round(n / (size * cutout.photo[0])) + 1) for n in (height, width)]
    coarse = torch.randn(count, generator=torch.Generator().manual_seed(seed)).numpy()
    gh, gw = cutout.pin.shape
    return opencv().resize(coarse, (gw, gh), interpolation=opencv().INTER_CUBIC)


def waves(cutout: Cutout, stroke: Stroke, row: Preset, seconds: float) -> Callable[[float], np.ndarray]:
    """phase -> displacement `(gh, gw, 2)`: three trains of waves running along the direction, of whole cycles each."""
    rate = row.speed if stroke.speed is None else stroke.speed
    way = heading(cutout, stroke, row.direction)
    fx, fy = way.mean((0, 1)) / max(
        1e-6, np.linalg.norm(way.mean((0, 1)))
    )  # one front, also along a bent path
    x, y = (part / (row.length * cutout.photo[0]) for part in cutout.grid())
    along, across = x * fx + y * fy, x * fy - y * fx
    sway = way if row.sideways else np.stack([-way[..., 1], way[..., 0]], 2)
    height = stroke.motion * row.amount * cutout.photo[0] * cutout.pin * row.grows(cutout)
    trains = [
        (cycles(rate * faster, seconds), along * denser + across * slanted, share, i)
        for i, (faster, denser, slanted, share) in enumerate(TRAINS)
    ]
    noise = [smooth_noise(cutout, 2 * row.length, stroke.seed * 8 + i) for i in range(len(TRAINS))]

    def displacement(phase: float) -> np.ndarray:
        push = sum(
            share * np.sin(2 * np.pi * (place - count * phase) + noise[i])
            for count, place, share, i in trains
        )
        return (push * height)[..., None].astype(np.float32) * sway

    return displacement


# How much faster, denser and more slanted each train of waves is, and its share of the height (they add up to 1).
# Ratios that are not whole numbers, so that crests of different trains meet at other places in each wave.
TRAINS = ((1.0, 1.0, 0.0, 0.55), (1.6, 1.7, 0.6, 0.3), (2.3, 2.3, -0.9, 0.15))


def swaying(cutout: Cutout, stroke: Stroke, row: Preset, seconds: float) -> CutoutAt:
    """Things that move to and fro: ripples on water, grass, cloth."""
    displacement = waves(cutout, stroke, row, seconds)
    return lambda phase: cutout.moved(displacement(phase))


def flickering(cutout: Cutout, stroke: Stroke, row: Preset, seconds: float) -> CutoutAt:
    """Brightness that changes, most in bright parts, and a flame that moves upwards."""
    displacement = waves(cutout, stroke, row, seconds)
    rate = row.speed if stroke.speed is None else stroke.speed
    generator = torch.Generator().manual_seed(stroke.seed)
    starts = (2 * np.pi * torch.rand(4, generator=generator)).tolist()
    beats = [cycles(rate * faster, seconds) for faster in (0.4, 1.0, 1.7, 2.6)]
    bright = resized(cutout.pin, *cutout.pixels.shape[:2]) * cutout.pixels.max(2)
    strength = bright[..., None] * np.array([0.7, 1.0, 1.3], np.float32)  # a weaker flame is redder

    def paint(phase: float) -> np.ndarray:
        waver = sum(math.sin(2 * np.pi * n * phase + s) for n, s in zip(beats, starts, strict=True)) / 4
        light = 1 + np.float32(row.light * stroke.motion * waver) * strength
        return (cutout.moved(displacement(phase)) * light).clip(0, 1)

    return paint


def evenly(cutout: Cutout) -> np.ndarray:
    return np.ones_like(cutout.pin)


def from_the_root(cutout: Cutout) -> np.ndarray:
    """0 at the bottom of the box, 1 at its top: grass is held below, a flame by its wick."""
    return np.linspace(1, 0, len(cutout.pin), dtype=np.float32)[:, None] ** 1.5 * evenly(cutout)


@dataclass(frozen=True)
class Preset:
    """A kind of motion and its values."""

    paint: Callable[[Cutout, Stroke, Preset, float], CutoutAt]
    direction: float  # degrees, 0 is right, 90 is up
    speed: float  # photo widths per second where texture is carried, cycles per second elsewhere
    amount: float = 0.0  # height of the waves in photo widths
    length: float = 0.0  # and their length
    sideways: bool = True  # the picture is pushed along the waves' direction, not across it
    grows: Callable[[Cutout], np.ndarray] = evenly
    light: float = 0.0  # how much brightness wavers
    dissolve: float = 1.0  # of the time between two starts a place takes to go over from old texture to new


# Speeds and heights are a matter of taste.
BRUSH_PRESETS = {
    "drift": Preset(carrying, direction=0, speed=0.015, dissolve=0.5),
    "flow": Preset(carrying, direction=0, speed=0.04),
    "ripple": Preset(swaying, direction=270, speed=0.5, amount=0.003, length=0.04),
    "sway": Preset(swaying, direction=0, speed=0.35, amount=0.008, length=0.25, grows=from_the_root),
    "flicker": Preset(
        flickering, 90, speed=2.0, amount=0.003, length=0.06, sideways=False, grows=from_the_root, light=0.25
    ),
}


def points_of(text: str) -> tuple[tuple[float, float], ...]:
    """`0.1,0.8 0.5,0.6` as points (x, y). Raises ValueError naming what is not a point."""
    points = []
    for part in text.replace(";", " ").split():
        try:
            x, y = (float(number) for number in part.split(","))
        except ValueError:
            raise ValueError(
                f"{part!r} in path is no point. Write points as x,y with spaces between: 0.1,0.8 0.5,0.6"
            ) from None
        points.append((x, y))
    return tuple(points)


def check_stroke(stroke: Stroke, frames: int, fps: float) -> None:
    """Raises ValueError for settings outside their range."""
    if stroke.preset not in BRUSH_PRESETS:
        raise ValueError(f"preset is {stroke.preset!r}, but it has to be one of {', '.join(BRUSH_PRESETS)}.")
    check("brush.motion", stroke.motion)
    if stroke.direction is not None:
        check("any.direction", stroke.direction)
    if stroke.speed is not None:
        check("speed", stroke.speed)
    check("edge", stroke.edge)
    check("brush.seed", stroke.seed)
    check("film.loop.frames", frames)
    check("file.fps", fps)
    if len(stroke.path) == 1:
        raise ValueError("the path has 1 point, but it takes at least 2. Add the next one.")
    for x, y in stroke.path:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(
                f"the point {x:g},{y:g} of the path lies outside the photo: points are shares of its width and height, "
                "from 0 to 1. Try 0.1,0.8 0.5,0.6"
            )


def painter(
    image: Tensor, moves: Tensor, stroke: Stroke = Stroke(), seconds: float = 5.0
) -> Callable[[float], Tensor]:
    """phase in [0, 1] -> the frame `(H, W, 3)` at this phase of a loop of `seconds`. Phases 0 and 1 are the same frame.

    Exactly the photo where the mask is 0, and everywhere if there is no motion. Raises ValueError for an empty mask.
    """
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            f"the photo has the shape {tuple(image.shape)}, but it has to be one picture (H, W, 3)."
        )
    height, width = image.shape[:2]
    moves = change_mask(moves, 1, height, width)[0]
    if stroke.motion == 0 or stroke.speed == 0:
        return lambda phase: image.clone()
    region = region_of(moves, margin=2, multiple=1)
    cutout = cutout_of(image, moves, region, stroke.edge)
    row = BRUSH_PRESETS[stroke.preset]
    paint = row.paint(cutout, stroke, row, seconds)
    shown = feathered((moves > 0).float(), 3)[region.box][..., None]

    def frame_at(phase: float) -> Tensor:
        frame = image.clone()
        box = frame[region.box]
        box.copy_(torch.lerp(box, torch.from_numpy(paint(phase)), shown))
        return frame

    return frame_at


def brushed_frames(
    image: Tensor, moves: Tensor, stroke: Stroke = Stroke(), frames: int = 80, fps: float = 16
) -> Rendered:
    """The frames `(H, W, 3)` of `motion_brush`, one at a time, so that they can go straight into a file."""
    check_stroke(stroke, frames, fps)
    frame_at = painter(image, moves, stroke, frames / fps)
    return Rendered(
        frames, *image.shape[:2], fps, lambda: (frame_at(i / frames).numpy() for i in range(frames))
    )


def motion_brush(
    image: Tensor, moves: Tensor, stroke: Stroke = Stroke(), frames: int = 80, fps: float = 16
) -> Tensor:
    """A photo whose painted part moves in a loop, `(T, H, W, 3)`: exactly the photo where the mask is 0.

    image `(H, W, 3)`, moves `(H, W)`, resized if it has another size. Raises ValueError.
    """
    return gathered(brushed_frames(image, moves, stroke, frames, fps))
