"""Loops per pixel, rendered: the clip goes by once, and each of its frames is put where and when the loop shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from ...media.frames import Frames, as_float, frames_since, told
from ...media.pictures import opencv
from ...progress import Progress
from .periods import PixelLoop, shown_at

# Bytes of a loop's frames that are made in one pass over the clip: 27 of 1280x720, 3 of 4K. A cinemagraph of 4K, its
# still and what the encoder holds are to stay below 2 GB together.
MADE = 0.15e9
Shown = Callable[[int, np.ndarray], np.ndarray]


def pixels_looped(
    clip: Frames, loop: PixelLoop, shown: Shown, still: np.ndarray | None, progress: Progress | None = None
) -> Iterator[np.ndarray]:
    """The frames `(h, w, 3)` of a loop per pixel.

    shown: what is seen of a frame, `(h, w, 3)`, as large as the still, or as the clip where there is none. As many
    frames of the loop as MADE allows are made at a time, in a pass over the clip each. Pixels inside a loop of one
    kind, away from its jump, are the clip's own to the bit.
    """
    height, width = (clip.height, clip.width) if still is None else still.shape[:2]
    places = [
        (kind, where, weight)
        for kind, (where, weight) in zip(loop.kinds, _places(loop, height, width), strict=True)
    ]
    # What a file holds has 8 bits, which half precision keeps in half the memory.
    precision = np.float16 if next(iter(clip)).dtype == np.uint8 else np.float32
    step = max(1, int(MADE / (3 * np.dtype(precision).itemsize * height * width)))
    for first in range(0, loop.frames, step):
        made = np.zeros((min(step, loop.frames - first), height * width, 3), precision)
        todo: dict[int, list] = {}  # frame of the clip -> what is made of it
        for kind, where, weight in places:
            if not len(where):
                continue
            if kind[0] == 0:
                made[:, where] += still.reshape(-1, 3)[where] * weight
                continue
            for t in range(len(made)):
                for frame, part in shown_at(kind, first + t, loop.clip):
                    todo.setdefault(frame, []).append((t, part, where, weight))
        begin, end = min(todo, default=0), max(todo, default=-1) + 1
        some = islice(frames_since(clip, begin), end - begin)
        for i, frame in enumerate(told(some, end - begin, "looping", progress), begin):
            if i not in todo:
                continue
            seen = as_float(shown(i, frame)).reshape(-1, 3)
            cut: tuple[int, np.ndarray] | None = (
                None  # what was taken out last: kinds show a frame several times
            )
            for t, part, where, weight in todo.pop(i):
                if cut is None or cut[0] != id(where):
                    cut = id(where), seen[where] if isinstance(weight, float) else seen[where] * weight
                made[t][where] += cut[1] if part == 1 else cut[1] * np.float32(part)
        yield from (frame.reshape(height, width, 3).astype(np.float32, copy=False) for frame in made)


def _places(loop: PixelLoop, height: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray | float]]:
    """For each kind of loop, the pixels that show it, as flat numbers, and how much of it, `(n, 1)`.

    Between two cells of different kinds one goes over into the other, on half the way.
    """
    cv2 = opencv()
    cells = loop.cells
    total = np.zeros((height, width), np.float32)
    covers = []
    for kind in range(len(loop.kinds)):
        cover = cv2.resize(
            (cells == kind).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
        )
        # A little more than half: where four kinds meet each covers 0.25, and somebody has to be seen there.
        covers.append(np.clip(2 * cover - 0.499, 0, 1).astype(np.float16))
        total += covers[-1]
    for cover in covers:
        where = np.flatnonzero(cover).astype(np.int32)
        weight = (cover.ravel()[where].astype(np.float32) / total.ravel()[where])[:, None]
        yield where, 1.0 if len(where) and weight.min() == 1 else weight
