"""A clip at a glance: a thumbnail of each frame, and where one shot ends and the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ...media.frames import Frames, as_float, told
from ...media.pictures import opencv
from ...progress import Progress

LOOK_SIDE = 64  # pixels of the long side at which frames are compared: 1,000 frames of 16:9 take 28 MB
UNLIKE = 0.25  # of `_unlike`, 0 to about 2: from here on two frames do not show the same thing


def looked_at(clip: Frames, progress: Progress | None = None) -> list[np.ndarray]:
    """A thumbnail of each frame, in one pass."""
    return [thumbnail(as_float(frame)) for frame in told(clip, clip.count, "looking", progress)]


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """A frame `(H, W, 3)` in [0, 1] with a long side of at most LOOK_SIDE."""
    height, width = frame.shape[:2]
    scale = min(1.0, LOOK_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return opencv().resize(np.ascontiguousarray(frame), size, interpolation=opencv().INTER_AREA)


# A cut is where nothing of the last two frames is found again in the next two, though either side agrees with itself:
# light may flicker (exposure does not count), the camera may shake and pan (frames are laid over each other, shifted),
# and a single frame may flash.
def scene_cuts(looks: Sequence[np.ndarray]) -> list[int]:
    """The first frames of a clip's shots but the first, found on its thumbnails; empty for a clip in one take."""
    looks = [_contrast(look) for look in looks]
    steps = [_unlike(a, b) for a, b in pairwise(looks)]
    cuts = []
    for i, step in enumerate(steps, 1):
        within = max(steps[max(0, i - 2) : i - 1] + steps[i : i + 1], default=UNLIKE)
        if step > max(UNLIKE, 3 * within):
            pairs = [(a, b) for a in looks[max(0, i - 2) : i] for b in looks[i : i + 2]]
            if min(_unlike(a, b) for a, b in pairs) > max(UNLIKE, 3 * within):
                cuts.append(i)
    return cuts


def _contrast(picture: np.ndarray) -> np.ndarray:
    """A picture without its brightness and contrast, which light changes; colours stay.

    Softened, because a hand that shakes moves fine detail by parts of a thumbnail's pixel, which no place in it undoes.
    """
    picture = opencv().GaussianBlur(picture, (0, 0), 1)
    return (picture - picture.mean()) / (picture.std() + 0.02)


def _unlike(a: np.ndarray, b: np.ndarray) -> float:
    """Mean squared difference of the middle of `a` from the best place for it in `b`: 0 alike, about 2 unrelated."""
    cv2 = opencv()
    height, width = a.shape[:2]
    middle = np.ascontiguousarray(a[height // 4 : height - height // 4, width // 4 : width - width // 4])
    return float(cv2.matchTemplate(np.ascontiguousarray(b), middle, cv2.TM_SQDIFF).min() / middle.size)


def check_no_cut(what: str, looks: Sequence[np.ndarray], cuts: Sequence[int] | None = None) -> None:
    """Raises ValueError where the clip of these thumbnails has a scene cut; cuts: where they are, if that is known."""
    for cut in (scene_cuts(looks) if cuts is None else cuts)[:1]:
        raise ValueError(
            f"there is a cut at frame {cut}, and a {what} takes one shot. Use the {cut} frames before it or the "
            f"{len(looks) - cut} from it on (ImageFromBatch)."
        )
