"""Clips made to loop: the frame after the last is the first.

A clip comes as `Frames` `(H, W, 3)`. It is looked at through thumbnails, a `LoopPlan` says which frames the loop
shows, and the loop is rendered frame by frame. `ways.py` has the ways there are, and chooses. Last comes the padding
that keeps a loop closed through other tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ...media.frames import Frames, as_float, frames_since
from ...media.pictures import opencv
from ...progress import Progress
from ..warp import flow_between, flow_midway, warped
from .periods import PixelLoop
from .pixelwise import pixels_looped
from .shots import check_no_cut, scene_cuts

DECIDED = 20.0  # a morph changes 1 + 20 d times as fast where its pictures differ by d: twice as fast at 0.05
HELD = 0.5e9  # bytes of a file's frames that are held to show them backwards: 20 of 4K
ROWS = 128  # frames that are compared with all the others at a time
COMPONENTS = 64  # numbers in which frames are compared: a thumbnail has 7,000, most of which say the same
SAMPLED = 256  # frames that these are found on
WEIGHTS = (1, 4, 6, 4, 1)  # of neighbours in time, when two frames are compared


@dataclass(frozen=True)
class LoopPlan:
    """What a loop shows: the clip's frames from start on, before stop.

    The first `overlap` of them are what the frames from stop on turn into, along their motion or by a plain cross-fade;
    back goes on backwards, without the ends. Where there are pixels, each shows what they say instead. `said` is what
    the artist is told.
    """

    start: int
    stop: int
    overlap: int = 0
    back: bool = False
    plain: bool = False
    pixels: PixelLoop | None = None
    said: str = ""
    join: float = 0.0  # how much its seam shows, 1 is a step like any other; 0 where nobody looked

    @property
    def count(self) -> int:
        """Frames of the loop."""
        if self.pixels:
            return self.pixels.frames
        length = self.stop - self.start
        return 2 * length - 2 if self.back else length

    @property
    def heard(self) -> int | None:
        """The frame from which the clip's sound goes with the loop; None where it does not."""
        return None if self.back or self.pixels else self.start


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
    looks: Sequence[np.ndarray],
    min_frames: int = 8,
    max_frames: int = 0,
    progress: Progress | None = None,
    cuts: Sequence[int] | None = None,
) -> LoopPlan:
    """The loop that closes best, from min_frames to max_frames long (0: any), found on thumbnails; see `looked_at`.

    The frame after the cut has to look like the first one and to move like it: differences are summed over
    neighbouring frames as well (Schoedl et al., "Video Textures", SIGGRAPH 2000). Of cuts as good, the longest. No
    loop goes over a scene cut; cuts: where they are, if that is known.
    """
    frames = len(looks)
    check_cut(frames, min_frames, max_frames)
    cuts = scene_cuts(looks) if cuts is None else cuts
    shot = np.searchsorted(cuts, np.arange(frames), "right")
    parts, unsaid = _components(looks, progress)
    most = min(max_frames or frames, frames - 1)
    least, starts = np.full(most + 1, np.inf, np.float32), np.zeros(most + 1, int)  # of each length
    for top in range(0, frames, ROWS):
        start = np.arange(top, min(frames, top + ROWS))
        cost = _along_diagonals(parts, unsaid, top, start[-1] + 1).numpy()  # (ROWS, T - top)
        cost[shot[top:] != shot[start][:, None]] = np.inf
        # A column for each length: every row begins one number later than the one above it.
        flat = np.append(cost.ravel(), np.full(len(start), np.inf, np.float32))
        by_length = flat.reshape(len(start), -1)[:, : most + 1]
        lengths = np.arange(by_length.shape[1])
        by_length[start[:, None] + lengths >= frames] = np.inf
        best = by_length.argmin(0)
        here = by_length[best, lengths]
        better = here < least[lengths]
        least[lengths[better]], starts[lengths[better]] = here[better], start[best[better]]
        if progress:
            progress(min(frames, top + ROWS), frames, "comparing")
    least[:min_frames] = np.inf
    if not np.isfinite(least).any():
        longest = max(b - a for a, b in pairwise([0, *cuts, frames]))
        raise ValueError(
            f"there is a cut at frame {', '.join(map(str, cuts))}, and the longest part without one has {longest} "
            f"frames, too few for a loop of {min_frames}. Lower min_frames, or use a longer shot."
        )
    tried = np.flatnonzero(
        least <= 2 * least.min() + 1e-6 * looks[0].size
    )  # whose costs are worth all numbers
    costs = np.array([_apart(looks, starts[length], length) for length in tried])
    length = int(tried[costs <= costs.min() * 1.05 + 1e-7 * looks[0].size].max())
    return LoopPlan(int(starts[length]), int(starts[length]) + length)


def _components(looks: Sequence[np.ndarray], progress: Progress | None = None) -> tuple[Tensor, Tensor]:
    """Thumbnails in the few numbers in which they differ most, `(T, COMPONENTS)`, and the energy of the rest, `(T,)`.

    The principal components of some of them; with fewer frames than components nothing is left.
    """
    some = np.stack(
        [looks[i].ravel() for i in np.unique(np.linspace(0, len(looks) - 1, SAMPLED).astype(int))]
    )
    middle = some.mean(0)
    energies, mixes = np.linalg.eigh((some - middle) @ (some - middle).T)
    kept = energies > max(1e-6 * energies[-1], 1e-12)
    kept[: -min(COMPONENTS, len(kept))] = False
    axes = (
        mixes[:, kept].T @ (some - middle) / np.sqrt(energies[kept])[:, None]
    )  # (n, h * w * 3), orthonormal
    parts, unsaid = np.empty((len(looks), len(axes)), np.float32), np.empty(len(looks), np.float32)
    for i, look in enumerate(looks):
        away = look.ravel() - middle
        parts[i] = axes @ away
        unsaid[i] = max(0.0, float(away @ away - parts[i] @ parts[i]))
    return torch.from_numpy(parts), torch.from_numpy(unsaid)


def _along_diagonals(parts: Tensor, unsaid: Tensor, top: int, bottom: int) -> Tensor:
    """About how far frames top to bottom are from those from top on, `(bottom - top, T - top)`; see `_components`.

    The mean of squared distances over neighbours in time of both; those beyond the clip's ends do not count.
    """
    frames, half = len(parts), len(WEIGHTS) // 2
    first, last = max(0, top - half), min(frames, bottom + half)
    far = torch.cdist(parts[None, first:last], parts[None, first:])[0].square_()
    far += unsaid[first:last, None] + unsaid[first:]
    total, count = torch.zeros(bottom - top, frames - top), torch.zeros(bottom - top, frames - top)
    for k, weight in zip(range(-half, half + 1), WEIGHTS, strict=True):
        rows = slice(max(top, first - k), min(bottom, last - k))
        columns = slice(max(top, first - k), min(frames, frames - k))
        here = slice(rows.start - top, rows.stop - top), slice(columns.start - top, columns.stop - top)
        there = slice(rows.start + k - first, rows.stop + k - first)
        total[here] += weight * far[there, columns.start + k - first : columns.stop + k - first]
        count[here] += weight
    return total / count


def _apart(looks: Sequence[np.ndarray], start: int, length: int) -> float:
    """How far a frame and that a length later are from each other, with their neighbours in time, in all numbers."""
    half = len(WEIGHTS) // 2
    around = [(k, weight) for k, weight in zip(range(-half, half + 1), WEIGHTS, strict=True)]
    near = [(start + k, weight) for k, weight in around if 0 <= start + k and start + length + k < len(looks)]
    total = sum(weight * float(np.square(looks[i + length] - looks[i]).sum()) for i, weight in near)
    return total / sum(weight for _, weight in near)


def check_dissolve(frames: int, overlap: int = 8, length: int = 0) -> None:
    """Raises ValueError where so many frames cannot become a loop of that length that dissolves over so many."""
    if frames < 2:
        raise ValueError(
            f"the clip has {frames} frame, but a loop takes at least 2. Use a longer clip, or none."
        )
    if not 1 <= overlap <= frames // 2:
        raise ValueError(
            f"overlap is {overlap} frames, but it has to be from 1 to {frames // 2}, half of the clip. "
            f"Try {max(1, min(8, frames // 2))}."
        )
    if length > frames - overlap or 0 < length < overlap:
        raise ValueError(
            f"length is {length} frames, but a loop of {frames} frames that takes {overlap} to blend has from "
            f"{overlap} to {frames - overlap}. Try {max(overlap, (frames - overlap) // 2)}, or 0 for the whole clip."
        )


def best_overlap(
    looks: Sequence[np.ndarray], overlap: int = 8, length: int = 0, cuts: Sequence[int] | None = None
) -> LoopPlan:
    """The loop of this length (0: as long as the clip allows) whose ends differ least while one turns into the other.

    Raises ValueError for a clip with a cut.
    """
    check_dissolve(len(looks), overlap, length)
    check_no_cut("dissolved loop", looks, cuts)
    length = length or len(looks) - overlap
    apart = np.array([np.square(a - b).mean() for a, b in zip(looks[length:], looks[:-length], strict=True)])
    start = int(np.convolve(apart, np.ones(overlap), "valid").argmin())
    return LoopPlan(start, start + length, overlap)


def crossfade(a: np.ndarray, b: np.ndarray, between: float) -> np.ndarray:
    """A picture between two, mixed as they are."""
    return a + np.float32(between) * (b - a)


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


def to_and_fro(frames: int) -> LoopPlan:
    """Forwards and backwards, without showing an end twice: 2 T - 2 frames."""
    check_turn(frames)
    return LoopPlan(0, frames, back=True)


def looped(
    clip: Frames,
    plan: LoopPlan,
    shown: Callable[[int, np.ndarray], np.ndarray] = lambda i, frame: frame,
    still: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Iterator[np.ndarray]:
    """The frames of a loop; `shown` makes of a frame's number and the clip's own frame what is to be seen of it.

    still: what pixels show that stand still, as large as what is shown; a loop per pixel may name it.
    """
    if plan.pixels:
        yield from pixels_looped(clip, plan.pixels, shown, still, progress)
        return
    blend = crossfade if plan.plain else morph
    late = _part(clip, plan.stop, plan.stop + plan.overlap)  # beside the early frames, in a pass of its own
    for i, frame in _part(clip, plan.start, plan.stop):
        into = i - plan.start + 1
        if into > plan.overlap:
            late.close()
            yield shown(i, frame)  # not by a name, which would hold it while the next one is made
        else:
            end = as_float(shown(*next(late)))
            yield blend(end, as_float(shown(i, frame)), into / (plan.overlap + 1))
            del end
    if plan.back:
        yield from (shown(i, frame) for i, frame in _backwards(clip, plan.start + 1, plan.stop - 1))


def _part(clip: Frames, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """The clip's frames from start on, before stop, with their numbers."""
    yield from zip(range(start, stop), frames_since(clip, start), strict=False)


def _backwards(clip: Frames, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """The same from the last to the first, of which as many are read at a time as may be held."""
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
