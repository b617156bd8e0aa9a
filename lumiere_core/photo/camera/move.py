"""Slow camera moves over a photo or clip, frame by frame: zoom, pan, circle; a loop there and back, or one way.

No frame shows anything beyond the photo: what moves sideways is cropped by as much as it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...limits import check
from ...media.frames import Frames, Rendered, shown_for
from ...media.pictures import opencv
from ..brush import Finer
from ..warp import resized
from .relief import fitted_nearness, sheets_of

CELL = 3  # pixels: motion is computed on a grid this much coarser
WIDE = 1024  # pixels that are looked up side by side
UNSEEN_SHARE = 1e-4
ROUNDS_BACK = 4  # of looking up how near what moved here was


@dataclass(frozen=True)
class View:
    """Where the camera stands: its zoom, and its shift in shares of the photo's width and height."""

    zoom: float = 1.0
    x: float = 0.0
    y: float = 0.0


# How far each move is from rest to its end: (zoom, x, y), in parts of the amount. Pans go through the middle.
MOVES = {
    "zoom in": (1, 0, 0),
    "zoom out": (-1, 0, 0),
    "pan left": (0, -1, 0),
    "pan right": (0, 1, 0),
    "pan up": (0, 0, -1),
    "pan down": (0, 0, 1),
    "circle": (0, 1, 1),
}
PATHS = ("there and back", "one way")


@dataclass(frozen=True)
class CameraMove:
    """The settings of a camera move.

    move      a row of MOVES
    path      one of PATHS; a circle always comes back
    amount    how far: 0.1 zooms in by 10 %, or pans by 10 % of the photo's width
    parallax  how much more near things move than far ones, where depth is given: 0 is none, up to 2
    """

    move: str = "zoom in"
    path: str = "there and back"
    amount: float = 0.1
    parallax: float = 1.0


def check_move(move: CameraMove, frames: int) -> None:
    """Raises ValueError for settings outside their range."""
    if move.move not in MOVES:
        raise ValueError(f"move is {move.move!r}, but it has to be one of {', '.join(MOVES)}.")
    if move.path not in PATHS:
        raise ValueError(f"path is {move.path!r}, but it has to be one of {', '.join(PATHS)}.")
    check("camera.amount", move.amount)
    check("parallax", move.parallax)
    check("film.loop.frames", frames)


def view_at(move: CameraMove, done: float) -> View:
    """The view after a share of the clip, in [0, 1]: with no jerk at either end."""
    zoom, x, y = MOVES[move.move]
    far = move.amount
    if move.move == "circle":
        turn = 2 * math.pi * done
        return View(1.0, 0.5 * far * math.cos(turn), 0.5 * far * math.sin(turn))
    if move.path == "one way":
        way = done**3 * (10 - 15 * done + 6 * done**2)
    else:
        way = (1 - math.cos(2 * math.pi * done)) / 2
    if zoom < 0:
        way = 1 - way
    return View(1 + far * way * abs(zoom), far * x * (way - 0.5), far * y * (way - 0.5))


def moved_frames(
    clip: Frames,
    move: CameraMove = CameraMove(),
    frames: int = 80,
    depth: Tensor | None = None,
    white_is_near: bool = True,
) -> Rendered:
    """A photo, which is a clip of one frame, or a clip, seen by a camera that moves.

    A photo gives so many frames, a clip keeps its own. depth: `(1 or T, h, w)` in any range, fitted to the clip's
    size; without one all moves alike. Raises ValueError for settings outside their range and a depth of another length.
    """
    check_move(move, frames)
    height, width = clip.height, clip.width
    known = clip.count if clip.count is not None else sum(1 for _ in clip)
    count = frames if known == 1 else known
    if depth is not None and len(depth) not in (1, known):
        raise ValueError(
            f"the depth has {len(depth)} frames, but the clip has {known}. Give one depth for all, or {known}."
        )
    said = []
    if depth is not None and tuple(depth.shape[1:]) != (height, width):
        said.append(f"depth fitted from {depth.shape[2]}x{depth.shape[1]} to {width}x{height}")
    if depth is not None and not any(float(d.max() - d.min()) > 0 for d in depth):
        said.append("the depth is flat, so everything moves alike")
    last = max(1, count - 1) if move.path == "one way" and move.move != "circle" else count

    def render() -> Iterator[np.ndarray]:
        seen: list = [None, None]  # a picture and its sheets, until another comes
        for i, picture in enumerate(shown_for(clip, count)):
            view = view_at(move, i / last)
            if view == View() or not move.amount:
                yield picture.copy()
                continue
            if seen[0] is not picture:
                near = None if depth is None else depth[i if len(depth) > 1 else 0].numpy()
                near = 1 - near if near is not None and not white_is_near else near
                seen[:] = picture, Scenery(picture, near, move)
            yield seen[1].seen(view)

    return Rendered(
        count, height, width, clip.fps, render, heard=0 if known > 1 else None, said="; ".join(said)
    )


class Scenery:
    """A photo `(H, W, 3)` to be looked at from anywhere near its own view, with its depth `(h, w)` or None."""

    def __init__(self, photo: np.ndarray, depth: np.ndarray | None, move: CameraMove):
        nearness = None if depth is None or not move.parallax else fitted_nearness(depth, photo)
        self.height, self.width = photo.shape[:2]
        self.sheets = sheets_of(photo, nearness)
        self.grid = max(2, -(-self.height // CELL)), max(2, -(-self.width // CELL))
        middle = 0.0 if nearness is None else float(np.median(nearness))
        strength = 0.0 if nearness is None else move.parallax
        # How much each place moves, of what all would move without depth.
        self.pace = [
            np.maximum(0, 1 + strength * (self._small(sheet.nearness) - middle)).astype(np.float32)
            for sheet in self.sheets
        ]
        _, x, y = MOVES[move.move]
        most = 0.5 * move.amount * max(float(pace.max()) for pace in self.pace) * (x != 0 or y != 0)
        self.crop = 1 - 2 * min(0.45, most)

    def _small(self, field: np.ndarray) -> np.ndarray:
        h, w = self.grid
        return opencv().resize(field, (w, h), interpolation=opencv().INTER_AREA)

    def places(self, view: View, pace: np.ndarray) -> np.ndarray:
        """Where in the photo a sheet is looked up, in its pixels, `(H, W, 2)`: what is there now moved here."""
        cv2 = opencv()
        h, w = self.grid
        x = ((np.arange(w, dtype=np.float32) + 0.5) / w - 0.5)[None] * np.float32(self.crop)
        y = ((np.arange(h, dtype=np.float32) + 0.5) / h - 0.5)[:, None] * np.float32(self.crop)
        here = pace
        closer = np.float32(math.log(view.zoom))
        for _ in range(ROUNDS_BACK if np.ptp(pace) else 1):
            scale = np.exp(-closer * here)
            px, py = x * scale + np.float32(view.x) * here, y * scale + np.float32(view.y) * here
            gx, gy = (px + 0.5) * w - 0.5, (py + 0.5) * h - 0.5
            here = cv2.remap(pace, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        scale = np.exp(-closer * here)
        shift = np.stack([x * (scale - 1) + view.x * here, y * (scale - 1) + view.y * here], 2)
        places = resized(shift.astype(np.float32), self.height, self.width)
        across = ((np.arange(self.width) + 0.5) / self.width - 0.5) * self.crop
        down = ((np.arange(self.height) + 0.5) / self.height - 0.5) * self.crop
        places[..., 0] = (places[..., 0] + across.astype(np.float32) + 0.5) * self.width - 0.5
        places[..., 1] = (places[..., 1] + down.astype(np.float32)[:, None] + 0.5) * self.height - 0.5
        np.clip(places[..., 0], 0, self.width - 1, out=places[..., 0])
        np.clip(places[..., 1], 0, self.height - 1, out=places[..., 1])
        return places

    def seen(self, view: View) -> np.ndarray:
        """The photo from this view, `(H, W, 3)`: each sheet where no nearer one hides it."""
        out = np.zeros((self.height * self.width, 3), np.float32)
        free = np.ones(self.height * self.width, np.float32)
        for sheet, pace in zip(reversed(self.sheets), reversed(self.pace), strict=True):
            places = self.places(view, pace) - np.array([sheet.left, sheet.top], np.float32)
            share = free if sheet.cover is None else free * _covered(sheet.cover, places)
            seen = np.flatnonzero(share > UNSEEN_SHARE)
            if len(seen):
                out[seen] += share[seen, None] * _pixels(sheet.finer, places.reshape(-1, 2)[seen])
            free = free - share
        return out.reshape(self.height, self.width, 3).clip(0, 1)


def _covered(cover: np.ndarray, places: np.ndarray) -> np.ndarray:
    cv2 = opencv()
    return cv2.remap(cover, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT).ravel()


def _pixels(finer: Finer, places: np.ndarray) -> np.ndarray:
    """Colours `(n, 3)` at places `(n, 2)`, which OpenCV takes as a picture only."""
    rows = -(-len(places) // WIDE)
    padded = np.zeros((rows * WIDE, 2), np.float32)
    padded[: len(places)] = places
    return finer.seen_at(padded.reshape(rows, WIDE, 2)).reshape(-1, 3)[: len(places)]
