"""Motion painted into a photo, in a loop: flowing water, drifting smoke, swaying grass, flickering flames.

A photo is float32 `(H, W, 3)` in [0, 1]; `moves` is a mask, float32 `(H, W)` in [0, 1]: 1 moves, greys move less.
Only the box around the mask is computed, and frames come one at a time, so a 12-megapixel photo fits into memory.

Every motion is a function of the loop's phase with period 1, and none at phase 0, so a loop begins with the photo and
the last frame leads back to it. All motion falls to zero towards the mask's edge and towards anchors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..limits import check
from ..media.frames import Rendered, gathered
from ..media.pictures import opencv
from .field import GOLDEN, Layer, Waves, cycles, grid_of, layers_of, resampled, wobble
from .region import Region, change_mask, feathered, region_of
from .strokes import Drawing, Stroke, check_drawing
from .warp import resized

# The figures in brackets: doubled, the number changes 99.9 % of the example lake's values by at most so many levels of
# 255. Values without a figure are a matter of taste.
FIELD_SIDE = 400  # the long side of the grid on which motion is computed, at most (2.6, ripple)
STEPS = 32  # of Euler's method, from one restart of carried texture to the next (2.1, along a path)
SHORTEST = 1.5  # seconds between two restarts of carried texture, at least
TRAVEL = (
    0.06  # photo widths of travel between two restarts: at flow's own speed, 0.04 a second, SHORTEST seconds
)
PATCH = 0.12  # photo widths: parts of a sky this far apart restart at different times
DISSOLVE = 0.3  # of the time between two restarts in which a place goes over from old texture to new
TAPS = 16  # of the filter that puts pixels between pixels


@dataclass(frozen=True)
class Brush:
    """The settings of the brush.

    preset     a row of BRUSH_PRESETS, for strokes that name none
    direction  degrees, 0 is right and 90 is up, where nothing is drawn; None is the preset's own
    speed      photo widths per second for drift and flow, cycles per second for the others; None is the preset's own
    drawing    strokes and anchors
    motion     0 is none, 1 the preset's own strength, up to 4
    edge       how far inside the mask the motion rises from zero, a fraction of the photo's width
    """

    preset: str = "flow"
    direction: float | None = None
    speed: float | None = None
    drawing: Drawing = Drawing()
    motion: float = 1.0
    edge: float = 0.03
    seed: int = 0


@dataclass(frozen=True)
class MovingBox:
    """The box of a photo that moves, and the grid of its motion: x `(gw,)`, y `(gh,)` in shares of the photo."""

    region: Region
    x: np.ndarray
    y: np.ndarray
    pin: np.ndarray  # (gh, gw): 0 at the mask's edge, 1 inside
    moves: np.ndarray  # (h, w) of bool, each pixel of the box

    def apart(self) -> tuple[float, float]:
        """Pixels of the photo from one point of the grid to the next, across and down."""
        return self.region.width / len(self.x), self.region.height / len(self.y)


def moving_box(moves: Tensor, edge: float) -> MovingBox:
    """The box of all that a mask moves; edge as in `Brush`."""
    region = region_of(moves, margin=2, multiple=1)
    pin = feathered(moves, edge * region.picture_width)[region.box].cpu().numpy()
    shrink = max(1.0, max(pin.shape) / FIELD_SIDE)
    gh, gw = (max(2, round(n / shrink)) for n in pin.shape)
    x = (region.left + (np.arange(gw, dtype=np.float32) + 0.5) * (region.width / gw)) / region.picture_width
    y = (region.top + (np.arange(gh, dtype=np.float32) + 0.5) * (region.height / gh)) / region.picture_height
    return MovingBox(region, x, y, _shrunk(pin, gw, gh), (moves[region.box] > 0).cpu().numpy())


def _shrunk(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    return opencv().resize(picture, (width, height), interpolation=opencv().INTER_AREA)


def spread_out(picture: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """What moves `(h, w)`, spread over what does not, so that no still thing is mirrored in from beyond the border."""
    if moves.all() or not moves.any():
        return picture
    known = moves.astype(np.float32)[..., None]
    if min(picture.shape[:2]) < 2:
        return np.where(known > 0, picture, (picture * known).sum((0, 1)) / known.sum())
    half = [(n + 1) // 2 for n in picture.shape[1::-1]]
    weight = _shrunk(known, *half)
    less = _shrunk(picture * known, *half) / weight.clip(1e-6)[..., None]
    wide = resized(spread_out(less, weight > 0), *picture.shape[:2])
    return np.where(known > 0, picture, wide)


class Finer:
    """A picture `(h, w, 3)` to be looked up anywhere between its pixels, as sharp as on them.

    It is doubled by a windowed sinc, which keeps its own pixels, and looked up there by another: halfway between two
    pixels noise keeps 0.94 of its gradient (bicubically 0.74), steps of a sixteenth of a pixel are alike to 0.92 (0.80;
    OpenCV's bicubic kernel keeps no straight line straight), and OpenCV 4's 32nds of a pixel become 64ths.
    """

    def __init__(self, picture: np.ndarray):
        cv2 = opencv()
        height, width = picture.shape[:2]
        self.times = 2 if 2 * max(height, width) < 32_000 else 1  # what OpenCV's `remap` takes
        doubled = picture
        if self.times == 2:
            half = TAPS // 2
            away = np.arange(TAPS) - half + 0.5
            taps = (np.sinc(away) * np.i0(5 * np.sqrt(1 - (away / half) ** 2))).astype(np.float32)
            taps /= taps.sum()
            doubled = np.empty((2 * height, 2 * width, 3), np.float32)
            border = cv2.BORDER_REFLECT
            doubled[::2, ::2] = picture
            doubled[::2, 1::2] = cv2.filter2D(
                picture, -1, taps[None], anchor=(half - 1, 0), borderType=border
            )
            doubled[1::2] = cv2.filter2D(
                doubled[::2], -1, taps[:, None], anchor=(0, half - 1), borderType=border
            )
        self.pixels = np.empty(doubled.shape, np.uint16)
        for row, to in zip(
            doubled, self.pixels, strict=True
        ):  # a large picture twice over in float is too much
            to[:] = row.clip(0, 1) * 65535 + 0.5

    def moved(self, displacement: np.ndarray) -> np.ndarray:
        """The picture looked up at `p + displacement`, `(gh, gw, 2)` in pixels; mirrored beyond its border."""
        height, width = (n // self.times for n in self.pixels.shape[:2])
        places = resized(displacement, height, width)
        places[..., 0] += np.arange(width, dtype=np.float32)
        places[..., 1] += np.arange(height, dtype=np.float32)[:, None]
        return self.seen_at(places)

    def seen_at(self, places: np.ndarray) -> np.ndarray:
        """The picture at places `(h, w, 2)`, x and y in its own pixels; mirrored beyond its border. Scales `places`."""
        cv2 = opencv()
        places *= self.times
        out = cv2.remap(self.pixels, places, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT)
        return out.astype(np.float32) / 65535


# Two phases of advection: what was carried along from the last start, and what arrives at the next one (Holynski et
# al., "Animating Pictures with Eulerian Motion Fields", CVPR 2021). Mixed everywhere at once, as there, structure is
# seen twice halfway; so each place goes over at a time of its own, and fast. Gravel, lettering and stars then are by
# 0.29, 0.28 and 0.23 of the photo's contrast unlike any place of it (symmetric splatting of both phases: 0.49, 0.49 and
# 0.44), and keep 0.95 of its sharpness (0.69 to 0.87).
class Carried:
    """Texture that moves along the field: rivers, clouds, smoke. step: `(gh, gw, 2)`, pixels in a whole loop."""

    def __init__(self, box: MovingBox, loop: np.ndarray, seconds: float, seed: int):
        width = box.region.picture_width
        starts = round(float(np.hypot(*np.moveaxis(loop, 2, 0)).max()) / (TRAVEL * width))
        self.starts = max(1, min(starts, int(seconds / SHORTEST)))
        step = loop / (self.starts * STEPS)
        self.behind, self.ahead = traced(box, -step), traced(box, step)
        self.when = when_new(box, seed)

    def paint(self, finer: Finer, phase: float, waves: np.ndarray | float) -> np.ndarray:
        done = (phase * self.starts) % 1
        old = finer.moved(at(self.behind, done) + waves)
        new = finer.moved(at(self.ahead, 1 - done) + waves)
        share = ((done - self.when) / DISSOLVE + 0.5).clip(0, 1)
        share = share * share * (3 - 2 * share)  # with no kink where a place begins to go over
        return old + resized(share, *old.shape[:2])[..., None] * (new - old)


def when_new(box: MovingBox, seed: int) -> np.ndarray:
    """The share of the time between two starts at which each place goes over, `(gh, gw)`: even, in patches."""
    region = box.region
    unit = PATCH / 2
    x, y = np.meshgrid(box.x / unit, box.y * (region.picture_height / region.picture_width) / unit)
    even = 1 / (1 + np.exp(-1.7 * wobble(x, y, seed)))  # nearly the normal distribution's
    return (DISSOLVE / 2 + (1 - DISSOLVE) * even).astype(np.float32)


def traced(box: MovingBox, step: np.ndarray) -> np.ndarray:
    """Displacements `(STEPS + 1, gh, gw, 2)` along the field of steps `(gh, gw, 2)`, by Euler's method."""
    cv2 = opencv()
    gh, gw = box.pin.shape
    dx, dy = box.apart()
    x, y = np.meshgrid(np.arange(gw, dtype=np.float32), np.arange(gh, dtype=np.float32))
    out = np.zeros((STEPS + 1, gh, gw, 2), np.float32)
    for k in range(STEPS):
        gx, gy = x + out[k, ..., 0] / dx, y + out[k, ..., 1] / dy
        out[k + 1] = out[k] + cv2.remap(step, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out


def at(path: np.ndarray, done: float) -> np.ndarray:
    """The displacement after a share `done` in [0, 1] of the way."""
    low = min(int(done * STEPS), STEPS - 1)
    share = np.float32(done * STEPS - low)
    return (1 - share) * path[low] + share * path[low + 1]


def as_bright(made: np.ndarray, photo: np.ndarray, pin: np.ndarray) -> np.ndarray:
    """A frame `(h, w, 3)` as bright on average as its photo: light parts that leave do not darken what moves."""
    stride = max(1, max(made.shape) // 500)
    few, known = made[::stride, ::stride].mean(2), photo[::stride, ::stride].mean(2)
    share = resized(pin, *few.shape)
    gain = float((share * (known - few)).sum() / max(1e-6, (share * share * few).sum()))
    return made * (1 + np.float32(min(0.1, max(-0.1, gain))) * resized(pin, *made.shape[:2])[..., None])


class Light:
    """Brightness that wavers, most in bright parts: flames, lamps."""

    def __init__(self, box: MovingBox, layer: Layer, strength: float, seconds: float, seed: int):
        # Each begins at its middle, upwards or downwards, so that the loop does with the photo's own light.
        signs = [1 if (4 * seed + i + 1) * GOLDEN % 1 < 0.5 else -1 for i in range(4)]
        beats = [cycles(layer.speed * faster, seconds) for faster in (0.4, 1.0, 1.7, 2.6)]
        self.waves = list(zip(beats, signs, strict=True))
        self.amount = (resampled(layer.share, box.x, box.y) * box.pin * strength * layer.row.light).astype(
            np.float32
        )

    def shine(self, picture: np.ndarray, phase: float) -> np.ndarray:
        """The picture `(h, w, 3)` in the light of this phase; at phase 0 in its own."""
        waver = sum(sign * math.sin(2 * math.pi * n * phase) for n, sign in self.waves) / 4
        bright = resized(self.amount, *picture.shape[:2]) * picture.max(2)
        return picture * (1 + np.float32(waver) * bright[..., None] * np.array([0.7, 1.0, 1.3], np.float32))


def check_brush(brush: Brush, frames: int, fps: float) -> None:
    """Raises ValueError for settings outside their range."""
    check_drawing(Drawing((Stroke(brush.preset), *brush.drawing.strokes), brush.drawing.anchors))
    check("brush.motion", brush.motion)
    if brush.direction is not None:
        check("any.direction", brush.direction)
    if brush.speed is not None:
        check("speed", brush.speed)
    check("edge", brush.edge)
    check("brush.seed", brush.seed)
    check("film.loop.frames", frames)
    check("file.fps", fps)


Painter = Callable[..., Tensor]  # (phase in [0, 1], picture or nothing) -> (H, W, 3)


def painter(image: Tensor, moves: Tensor, brush: Brush = Brush(), seconds: float = 5.0) -> Painter:
    """phase -> the frame `(H, W, 3)` at this phase of a loop of `seconds`; with a second argument, of that picture.

    Phases 0 and 1 are the photo. It is exactly the photo where the mask is 0, and everywhere if there is no motion.
    Raises ValueError for an empty mask.
    """
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            f"the photo has the shape {tuple(image.shape)}, but it has to be one picture (H, W, 3)."
        )
    height, width = image.shape[:2]
    moves = change_mask(moves, 1, height, width)[0]
    if brush.motion == 0 or brush.speed == 0:
        return lambda phase, picture=image: picture.clone()
    box = moving_box(moves, brush.edge)
    shown = feathered((moves > 0).float(), 3)[box.region.box][..., None]
    paint = _mover(image, moves, box, brush, seconds)

    def frame_at(phase: float, picture: Tensor = image) -> Tensor:
        frame = picture.clone()
        if phase % 1:
            moving = frame[box.region.box]
            moving.copy_(torch.lerp(moving, torch.from_numpy(paint(phase % 1, picture)), shown))
        return frame

    return frame_at


def _array(picture: Tensor) -> np.ndarray:
    return np.ascontiguousarray(picture.cpu().numpy(), np.float32)


def _mover(
    image: Tensor, moves: Tensor, box: MovingBox, brush: Brush, seconds: float
) -> Callable[[float, Tensor], np.ndarray]:
    """(phase, picture) -> the box's pixels `(h, w, 3)`."""
    height, width = moves.shape
    gw, gh = grid_of(width, height)
    small, mask = (_shrunk(_array(picture), gw, gh) for picture in (image, moves))
    own = Stroke(brush.preset, brush.speed)
    layers = layers_of(brush.drawing, own, brush.direction, small, mask, width / height)
    pushes = [
        resampled(layer.push, box.x, box.y) * box.pin[..., None] * (brush.motion * width) for layer in layers
    ]
    carried = [
        push * seconds for layer, push in zip(layers, pushes, strict=True) if layer.row.kind == "carried"
    ]
    waving = [
        (Waves(layer, box.x, box.y, mask, width / height, seconds, brush.seed), push * layer.row.amount)
        for layer, push in zip(layers, pushes, strict=True)
        if layer.row.kind != "carried"
    ]
    lights = [Light(box, layer, brush.motion, seconds, brush.seed) for layer in layers if layer.row.light]
    flow = Carried(box, sum(carried), seconds, brush.seed) if carried else None
    kept: list = [None, None, None]  # a picture, its Finer and its pixels, until another comes

    def paint(phase: float, picture: Tensor) -> np.ndarray:
        if kept[0] is not picture:
            pixels = _array(picture[box.region.box])
            kept[:] = picture, Finer(spread_out(pixels, box.moves)), pixels
        sway = sum(wave.at(phase)[..., None] * push for wave, push in waving)
        made = flow.paint(kept[1], phase, sway) if flow else kept[1].moved(sway)
        made = as_bright(made, kept[2], box.pin)
        for light in lights:
            made = light.shine(made, phase)
        return made.clip(0, 1)

    return paint


def brushed_frames(
    image: Tensor, moves: Tensor, brush: Brush = Brush(), frames: int = 80, fps: float = 16
) -> Rendered:
    """The frames `(H, W, 3)` of `motion_brush`, one at a time, so that they can go straight into a file."""
    check_brush(brush, frames, fps)
    pictures = list(image if image.ndim == 4 else image[None])  # each the same Tensor whenever it is painted
    count = frames if len(pictures) == 1 else len(pictures)
    loop = frames if count % frames == 0 else count
    frame_at = painter(pictures[0], moves, brush, loop / fps)

    def render() -> Iterator[np.ndarray]:
        for i in range(count):
            yield frame_at(i / loop, pictures[i % len(pictures)]).numpy()

    return Rendered(count, *pictures[0].shape[:2], fps, render)


def motion_brush(
    image: Tensor, moves: Tensor, brush: Brush = Brush(), frames: int = 80, fps: float = 16
) -> Tensor:
    """A photo whose painted part moves in a loop, `(T, H, W, 3)`: exactly the photo where the mask is 0.

    image `(H, W, 3)`, moves `(H, W)`, resized if it has another size. A clip `(T, H, W, 3)` keeps its own motion and
    its length: the new one loops in as many frames, or in `frames` where the clip's are a multiple. Raises ValueError.
    """
    return gathered(brushed_frames(image, moves, brush, frames, fps))
