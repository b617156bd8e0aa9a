"""Clips made to loop: the frame after the last is the first.

A clip comes as `Frames` `(H, W, 3)`. A first pass looks at it through thumbnails, a `LoopPlan` says which frames the
loop shows, and the loop is rendered frame by frame. Last comes the padding that keeps a loop closed through other
tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..media.frames import Frames, Rendered, as_float, told
from ..media.pictures import opencv
from ..progress import Progress
from .warp import flow_between, flow_midway, warped

LOOK_SIDE = 64  # pixels of the long side at which frames are compared: 1,000 frames of 16:9 take 28 MB
DECIDED = 20.0  # a morph changes 1 + 20 d times as fast where its pictures differ by d: twice as fast at 0.05
UNLIKE = 0.3  # of `_unlike`, 0 to about 2: from here on two frames do not show the same thing
HELD = 0.6e9  # bytes of a file's frames that are held to show them backwards: 24 of 4K
ROWS = 128  # frames that are compared with all the others at a time


@dataclass(frozen=True)
class LoopPlan:
    """What a loop shows: the clip's frames from start on, before stop.

    The first `overlap` of them are what the frames from stop on turn into; back goes on backwards, without the ends.
    """

    start: int
    stop: int
    overlap: int = 0
    back: bool = False

    @property
    def count(self) -> int:
        """Frames of the loop."""
        length = self.stop - self.start
        return 2 * length - 2 if self.back else length

    @property
    def heard(self) -> int | None:
        """The frame from which the clip's sound goes with the loop; None where it goes backwards."""
        return None if self.back else self.start


def looked_at(clip: Frames, progress: Progress | None = None) -> list[np.ndarray]:
    """A thumbnail of each frame, in one pass."""
    return [thumbnail(as_float(frame)) for frame in told(clip, clip.count, "looking", progress)]


def check_cut(frames: int, min_frames: int = 8, max_frames: int = 0) -> None:
    """Raises ValueError where no loop so long can be cut from so many frames."""
    most = min(max_frames or frames, frames - 1)
    if frames < 3:
        raise ValueError(
            f"the clip's number of frames is {frames}, but a loop is cut from 3 or more. Use a longer clip, or none."
        )
    if max_frames and max_frames < min_frames:
        raise ValueError(f"max_frames is {max_frames}, which lies below min_frames {min_frames}. Swap them.")
    if not 2 <= min_frames <= most:
        raise ValueError(
            f"min_frames is {min_frames}, but a loop cut from {frames} frames has from 2 to {frames - 1}. "
            f"Try {max(2, frames // 2)}."
        )


def best_cut(
    looks: Sequence[np.ndarray], min_frames: int = 8, max_frames: int = 0, progress: Progress | None = None
) -> LoopPlan:
    """The loop that closes best, from min_frames to max_frames long (0: any), found on thumbnails; see `looked_at`.

    The frame after the cut has to look like the first one and to move like it: differences are summed over
    neighbouring frames as well (Schoedl et al., "Video Textures", SIGGRAPH 2000). Of cuts as good, the longest.
    """
    frames = len(looks)
    check_cut(frames, min_frames, max_frames)
    look = torch.from_numpy(np.stack(looks)).flatten(1)  # (T, n)
    far = torch.empty(frames, frames)
    for top in range(0, frames, ROWS):
        far[top : top + ROWS] = torch.cdist(look[None, top : top + ROWS], look[None])[0]
        if progress:
            progress(min(frames, top + ROWS), frames, "comparing")
    cost = _along_diagonals(far.square_())
    start, stop = torch.arange(frames)[:, None], torch.arange(frames)[None]
    length = stop - start  # (T, T)
    cost.masked_fill_((length < min_frames) | (length > min(max_frames or frames, frames - 1)), torch.inf)
    for cut in (cuts := scene_cuts(looks)):
        cost.masked_fill_((start < cut) & (stop >= cut), torch.inf)
    if cost.isinf().all():
        longest = max(b - a for a, b in pairwise([0, *cuts, frames]))
        raise ValueError(
            f"there is a cut at frame {', '.join(map(str, cuts))}, and the longest part without one has {longest} "
            f"frames, too few for a loop of {min_frames}. Lower min_frames, or use a longer shot."
        )
    good = cost <= cost.min() * 1.05 + 1e-7 * look.shape[1]
    place = int(torch.where(good, length, 0).argmax())
    return LoopPlan(place // frames, place % frames)


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """A frame `(H, W, 3)` in [0, 1] with a long side of at most LOOK_SIDE."""
    height, width = frame.shape[:2]
    scale = min(1.0, LOOK_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return opencv().resize(np.ascontiguousarray(frame), size, interpolation=opencv().INTER_AREA)


def _along_diagonals(far: Tensor, weights: tuple[float, ...] = (1, 4, 6, 4, 1)) -> Tensor:
    """Mean of `(T, T)` over the neighbours along its diagonal; those beyond the clip's ends do not count."""
    half = len(weights) // 2
    total, count = torch.zeros_like(far), torch.zeros_like(far)
    for k, weight in zip(range(-half, half + 1), weights, strict=True):
        here = slice(max(0, -k), len(far) - max(0, k))
        there = slice(max(0, k), len(far) - max(0, -k))
        total[here, here] += weight * far[there, there]
        count[here, here] += weight
    return total / count


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
    """A picture without its brightness and contrast, which light changes; colours stay."""
    return (picture - picture.mean()) / (picture.std() + 0.02)


def _unlike(a: np.ndarray, b: np.ndarray) -> float:
    """Mean squared difference of the middle of `a` from the best place for it in `b`: 0 alike, about 2 unrelated."""
    cv2 = opencv()
    height, width = a.shape[:2]
    middle = np.ascontiguousarray(a[height // 4 : height - height // 4, width // 4 : width - width // 4])
    return float(cv2.matchTemplate(np.ascontiguousarray(b), middle, cv2.TM_SQDIFF).min() / middle.size)


def check_no_cut(what: str, looks: Sequence[np.ndarray]) -> None:
    """Raises ValueError where the clip of these thumbnails has a scene cut."""
    for cut in scene_cuts(looks)[:1]:
        raise ValueError(
            f"there is a cut at frame {cut}, and a {what} takes one shot. Use the {cut} frames before it or the "
            f"{len(looks) - cut} from it on (ImageFromBatch)."
        )


def check_dissolve(frames: int, overlap: int = 8) -> None:
    """Raises ValueError where so many frames cannot dissolve over so many."""
    if frames < 2:
        raise ValueError(
            f"the clip has {frames} frame, but a loop takes at least 2. Use a longer clip, or none."
        )
    if not 1 <= overlap <= frames // 2:
        raise ValueError(
            f"overlap is {overlap} frames, but it has to be from 1 to {frames // 2}, half of the clip. "
            f"Try {max(1, min(8, frames // 2))}."
        )


def dissolved(looks: Sequence[np.ndarray], overlap: int = 8, progress: Progress | None = None) -> LoopPlan:
    """The last `overlap` frames turn into the first ones along the optical flow: T - overlap frames.

    Both sides are warped along the motion between them before they are mixed.
    """
    check_dissolve(len(looks), overlap)
    check_no_cut("dissolved loop", looks)
    return LoopPlan(0, len(looks) - overlap, overlap)


def morph(a: np.ndarray, b: np.ndarray, between: float) -> np.ndarray:
    """A picture between two, `(H, W, 3)`; 0 is `a`, 1 is `b`.

    Both are warped to where the motion between them stands, and mixed. Where they still differ, the nearer one
    gets more than its share, because two mixed edges would look like a ghost.
    """
    from_a, from_b = _halfway(a, b, between), _halfway(b, a, 1 - between)
    differ = np.abs(from_a[..., 0] - from_b[..., 0])
    for c in (1, 2):
        np.maximum(differ, np.abs(from_a[..., c] - from_b[..., c]), out=differ)
    differ = opencv().GaussianBlur(differ, (0, 0), 2)[..., None]
    share = (0.5 + (between - 0.5) * (1 + DECIDED * differ)).clip(0, 1)
    from_b -= from_a
    from_b *= share
    from_b += from_a
    return from_b


def _halfway(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """`a` after a share of its way to `b`."""
    flow = flow_midway(flow_between(a, b), share)
    flow *= -share
    return warped(a, flow)


def check_turn(frames: int) -> None:
    """Raises ValueError where there is nothing to turn round at."""
    if frames < 2:
        raise ValueError(f"the clip has {frames} frame, but a loop takes at least 2. Use a longer clip.")


def to_and_fro(looks: Sequence[Any], progress: Progress | None = None) -> LoopPlan:
    """Forwards and backwards, without showing an end twice: 2 T - 2 frames."""
    check_turn(len(looks))
    return LoopPlan(0, len(looks), back=True)


def as_it_is(looks: Sequence[Any], progress: Progress | None = None) -> LoopPlan:
    """All frames, as they are."""
    return LoopPlan(0, len(looks))


@dataclass(frozen=True)
class LoopKind:
    """A way to loop a clip."""

    plan: Callable[..., LoopPlan]  # (thumbnails, way's settings..., progress) -> what to show
    check: Callable[..., None]  # (number of frames, way's settings...), before anything is looked at
    looks: bool  # whether the plan looks at the thumbnails, or only counts them
    settings: tuple[str, ...] = ()  # the names of the way's settings

    def own(self, **settings: int) -> dict[str, int]:
        """Of everybody's settings, those of this way."""
        return {name: settings[name] for name in self.settings if name in settings}


LOOPS = {
    "cut": LoopKind(best_cut, check_cut, looks=True, settings=("min_frames", "max_frames")),
    "dissolve": LoopKind(dissolved, check_dissolve, looks=True, settings=("overlap",)),
    "ping-pong": LoopKind(to_and_fro, check_turn, looks=False),
    "none": LoopKind(as_it_is, lambda frames: None, looks=False),
}


def loop_kind(how: str) -> LoopKind:
    """A row of LOOPS. Raises ValueError for another name."""
    if how not in LOOPS:
        raise ValueError(f"loop is {how!r}, but it has to be one of {', '.join(LOOPS)}.")
    return LOOPS[how]


def make_loop(clip: Frames, how: str = "cut", progress: Progress | None = None, **settings: Any) -> Rendered:
    """The clip as a loop, in one of the ways of LOOPS, with that way's settings. Raises ValueError.

    Frames that are shown as they are, are the clip's own to the bit.
    """
    kind = loop_kind(how)
    if clip.count is not None:
        kind.check(clip.count, **settings)
    if kind.looks:
        looks = looked_at(clip, progress)
    else:
        looks = range(
            sum(1 for _ in told(clip, None, "counting", progress)) if clip.count is None else clip.count
        )
    plan = kind.plan(looks, progress=progress, **settings)
    return Rendered(plan.count, clip.height, clip.width, clip.fps, lambda: looped(clip, plan), plan.heard)


def looped(
    clip: Frames, plan: LoopPlan, shown: Callable[[int, np.ndarray], np.ndarray] = lambda i, frame: frame
) -> Iterator[np.ndarray]:
    """The frames of a loop; `shown` makes of a frame's number and the clip's own frame what is to be seen of it."""
    late = _part(clip, plan.stop, plan.stop + plan.overlap)  # beside the early frames, in a pass of its own
    for i, frame in _part(clip, plan.start, plan.stop):
        into = i - plan.start + 1
        if into > plan.overlap:
            late.close()
            yield shown(i, frame)  # not by a name, which would hold it while the next one is made
        else:
            end = as_float(shown(*next(late)))
            yield morph(end, as_float(shown(i, frame)), into / (plan.overlap + 1))
            del end
    if plan.back:
        yield from (shown(i, frame) for i, frame in _backwards(clip, plan.start + 1, plan.stop - 1))


def _part(clip: Frames, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """The clip's frames from start on, before stop, with their numbers."""
    yield from islice(enumerate(clip), start, stop)


def _backwards(clip: Frames, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """The same from the last to the first, in a pass for each of the parts that may be held."""
    step = max(1, int(HELD / (3 * clip.height * clip.width)))
    for first in reversed(range(start, stop, step)):
        held = list(_part(clip, first, min(stop, first + step)))
        while held:
            yield held.pop()


def loop_pad(clip: Tensor, k: int) -> Tensor:
    """The loop with k frames of it before and after, for tools that look at neighbouring frames: T + 2 k frames."""
    if k < 1:
        raise ValueError(f"padding is {k} frames, but it has to be at least 1. Try 4.")
    return clip[torch.arange(-k, len(clip) + k) % len(clip)]


def loop_unpad(clip: Tensor, k: int, factor: int = 1) -> Tensor:
    """What `loop_pad` put around a loop cut off again, after a tool multiplied the number of frames by `factor`.

    Interpolators give N * factor frames or (N - 1) * factor + 1: both are understood. The frame size may have changed.
    """
    if factor < 1 or k < 1:
        raise ValueError(f"padding is {k} and factor {factor}, but both have to be at least 1. Try 4 and 1.")
    frames = -(-len(clip) // factor) - 2 * k
    if len(clip) % factor not in (0, 1 % factor) or frames < 1:
        raise ValueError(
            f"{len(clip)} frames cannot come from a loop padded with {k} frames on each side and multiplied by "
            f"{factor}. Use the padding and the factor it was made with."
        )
    return clip[k * factor : (k + frames) * factor].clone()
