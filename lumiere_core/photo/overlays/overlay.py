"""An overlay on a photo or clip, frame by frame, looping. Where there is none of it, every pixel stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...limits import check
from ...media.frames import Frames, Rendered, shown_for
from ...media.pictures import opencv
from ..region import change_mask, feathered
from ..warp import resized
from .air import Air, Overlay, Veil, as_linear, as_srgb, glow_of, tint_of
from .falling import rain, snow
from .fog import mist, steam
from .shining import light_rays, rising_sparks

NOTHING = 1 / 2048  # of full light: less is nothing
LAID_ROWS = 128  # that are laid over at a time
SOFT_EDGE = 0.04  # picture widths inside a mask over which an overlay comes in


@dataclass(frozen=True)
class OverlayKind:
    """How a kind of overlay is painted, its own colour in sRGB, and whether a mask is where it rises from."""

    paint: Callable[[Air], Iterator[Veil]]
    tint: tuple[float, float, float]
    rises: bool = False


OVERLAYS = {
    "steam": OverlayKind(steam, (1.0, 1.0, 1.0), rises=True),
    "mist": OverlayKind(mist, (0.96, 0.98, 1.0)),
    "rain": OverlayKind(rain, (0.9, 0.95, 1.0)),
    "snow": OverlayKind(snow, (1.0, 1.0, 1.0)),
    "sparks": OverlayKind(rising_sparks, (1.0, 1.0, 1.0), rises=True),
    "rays": OverlayKind(light_rays, (1.0, 0.86, 0.62)),
}


def check_overlay(overlay: Overlay, frames: int) -> None:
    """Raises ValueError for settings outside their range."""
    if overlay.kind not in OVERLAYS:
        raise ValueError(f"kind is {overlay.kind!r}, but it has to be one of {', '.join(OVERLAYS)}.")
    check("overlay.amount", overlay.amount)
    check("overlay.speed", overlay.speed)
    check("overlay.size", overlay.size)
    check("wind", overlay.wind)
    check("brush.seed", overlay.seed)
    check("film.loop.frames", frames)
    tint_of(overlay.tint, (1, 1, 1))


def overlaid_frames(
    clip: Frames,
    overlay: Overlay,
    frames: int = 80,
    mask: Tensor | None = None,
    matte: Tensor | None = None,
) -> Rendered:
    """A photo, which is a clip of one frame, or a clip with an overlay, one frame at a time.

    A photo gives a loop of so many frames. A clip keeps its own frames; the overlay loops in as many, or in `frames`
    where the clip's are a multiple. mask `(H, W)` in [0, 1]: where steam and sparks rise from, and where the others are
    seen. matte `(1 or T, H, W)`: 1 is in front of it. Both are resized to the clip. Raises ValueError for numbers
    outside their range, an empty mask, and a matte of another length.
    """
    check_overlay(overlay, frames)
    height, width = clip.height, clip.width
    known = clip.count if clip.count is not None else sum(1 for _ in clip)
    count = frames if known == 1 else known
    loop = frames if count % frames == 0 else count
    kind = OVERLAYS[overlay.kind]
    tint = tint_of(overlay.tint, kind.tint)
    if mask is not None:
        mask = change_mask(mask, 1, height, width)[0]
    if matte is not None:
        matte = change_mask(matte, count, height, width) if (matte > 0).any() else None
    seen = None
    if mask is not None and not kind.rises:
        seen = feathered(mask, SOFT_EDGE * width).numpy()

    def render() -> Iterator[np.ndarray]:
        veils = before = None
        for i, picture in enumerate(shown_for(clip, count)):
            if not overlay.amount:
                yield picture.copy()
                continue
            if veils is None:
                place, bright = glow_of(picture)
                glow = resized(place * tint, height, width)
                veils = kind.paint(Air(overlay, width, height, loop, loop / clip.fps, _source(mask), bright))
            if before is not picture:
                before, linear = picture, as_linear(picture)
            free = None if matte is None else 1 - matte[i if len(matte) > 1 else 0].numpy()
            yield laid_over(picture, linear, next(veils), glow, tint, seen, free)

    return Rendered(count, height, width, clip.fps, render, heard=0 if known > 1 else None)


def _source(mask: Tensor | None) -> np.ndarray | None:
    """A mask, small enough to choose places in."""
    if mask is None:
        return None
    shrink = min(1.0, 400 / max(mask.shape))
    size = [max(1, round(n * shrink)) for n in mask.shape[::-1]]
    return opencv().resize(mask.numpy(), size, interpolation=opencv().INTER_AREA)


def laid_over(
    picture: np.ndarray,
    linear: np.ndarray,
    veil: Veil,
    glow: np.ndarray,
    tint: np.ndarray,
    *shares: np.ndarray | None,
) -> np.ndarray:
    """A picture `(H, W, 3)`, also given in linear light, behind a veil: exactly itself where the veil is nothing.

    Fog as bright as `glow` `(H, W, 3)` hides what is behind it; light in a tint `(3,)` is added as on a screen, so that
    nothing burns out. shares: `(H, W)` each, by which the veil is less.
    """
    height, width = picture.shape[:2]
    fog = veil.cover is not None
    over = veil.cover[..., None] if fog else veil.light
    if over.shape[:2] != (height, width):
        over = resized(over, height, width).reshape(height, width, -1)
    out = picture.copy()
    for top in range(0, height, LAID_ROWS):
        rows = slice(top, top + LAID_ROWS)
        part, below = over[rows], linear[rows]
        for share in shares:
            part = part if share is None else part * share[rows, :, None]
        if fog:
            made = below + part * (glow[rows] - below)
        else:
            part = (part * tint).clip(0, 1)
            made = below + part * (1 - below)
        touched = part.max(2) > NOTHING
        if touched.all():
            out[rows] = as_srgb(made)
        elif touched.any():
            out[rows][touched] = as_srgb(made[touched])
    return out
