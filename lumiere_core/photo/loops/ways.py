"""The ways to loop a clip, and which of them shows its seam least.

Every way is judged alike, on the clip at a small size: by its worst local step where it joins, against what the same
places of the clip do anyway (`media/measure.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ...media.frames import Frames, Rendered, as_bytes, as_float, told
from ...media.measure import block_energy, block_steps, never_seen, worst_join, worst_step
from ...media.pictures import opencv
from ...progress import Progress
from ..warp import flow_between
from . import periods
from .loop import LoopPlan, best_cut, best_overlap, check_cut, check_dissolve, check_turn, looped, to_and_fro
from .periods import PixelLoop, best_length, divisors, pixel_loops
from .shots import check_no_cut, looked_at, scene_cuts, thumbnail

SMALL = 144e6  # bytes that a clip may take at the size at which it is judged: 3,000 frames; longer ones are smaller
STRETCH = 240  # frames of the clip in which loops per pixel are looked for, at most
GHOSTS = (
    1.0,
    0.0,
)  # times what double exposures cost: where they are too dear for anything to move, the judge decides
CLEAN = 1.2  # a join of so many times the usual step is not seen
SEEN_TORN = 3.0  # usual contrasts by which borders between loops per pixel may differ and not be seen
STANDING_STILL = (
    2.2  # what it counts as a join that nothing moves: real clips pass at 2.1, and fade away at 2.7
)
BACKWARDS = 2.5  # and that what passes by goes backwards: worse than a still
ONE_WAY = 0.5  # of the motion goes one way: a walker 0.9, water 0.8 to 1, a tree that sways 0.2
SLOWEST = 0.02  # pixels of the small clip that the whole picture goes on average: steam 0.1, stars and a plane 0.005
LOOKED = 60  # pairs of frames in which that is looked for
CHANGED = 10 / 255  # between them, where something moved; below it is noise
DEAD = 0.25  # the share of the motion below which a loop per pixel is no loop of this clip
AUTO = ("per pixel", "cut", "crossfade", "dissolve", "ping-pong")  # of as clean ones, the first is taken


@dataclass(frozen=True)
class SmallClip:
    """What is to loop, small: `(T, h, w, 3)` in uint8, with how much of its motion is wanted where, and its still."""

    frames: np.ndarray
    fps: float
    share: np.ndarray | None = None  # (h, w) in [0, 1], 0 outside the mask; None for all of it
    still: np.ndarray | None = None  # (h, w, 3) in [0, 1], what stands still; None for a frame of the clip

    @cached_property
    def looks(self) -> list[np.ndarray]:
        """A thumbnail of each frame."""
        return [thumbnail(as_float(frame)) for frame in self.frames]

    @cached_property
    def cuts(self) -> list[int]:
        """The first frames of its shots but the first."""
        return scene_cuts(self.looks)

    @cached_property
    def wanted(self) -> np.ndarray:
        """How much of the motion is wanted, `(h, w)`."""
        return np.ones(self.frames.shape[1:3], np.float32) if self.share is None else self.share

    @cached_property
    def own(self) -> torch.Tensor:
        """The clip's own steps in the mask, see `block_steps`, without the one from its end to its beginning."""
        return block_steps(self.masked(self.frames))[:-1]

    def masked(self, frames: Iterable[np.ndarray]) -> Iterable[torch.Tensor]:
        """Frames, black outside the mask."""
        inside = (self.wanted > 0)[..., None]
        return (torch.from_numpy(as_float(frame) * inside) for frame in frames)


def small_clip(
    parts: Iterable[np.ndarray],
    count: int,
    fps: float,
    share: np.ndarray | None = None,
    still: np.ndarray | None = None,
) -> SmallClip:
    """The frames `(H, W, 3)` of what is to loop at a small size, gone through once; see `SmallClip`."""
    size, small = (0, 0), []
    for part in parts:
        height, width = part.shape[:2]
        scale = min(1.0, (min(periods.CELLS, SMALL / 3 / count) / (height * width)) ** 0.5)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small.append(as_bytes(_shrunk(as_float(part), size)))
    return SmallClip(
        np.stack(small),
        fps,
        None if share is None else _shrunk(share, size),
        None if still is None else _shrunk(still, size),
    )


def _shrunk(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return opencv().resize(np.ascontiguousarray(picture), size, interpolation=opencv().INTER_AREA)


@dataclass(frozen=True)
class LoopKind:
    """A way to loop a clip."""

    plan: Callable[
        ..., LoopPlan
    ]  # (small clip, or its number of frames, progress, settings...) -> what to show
    check: Callable[..., None]  # (number of frames, way's settings...), before anything is looked at
    settings: tuple[str, ...] = ()  # the names of the way's settings
    looks: bool = True  # whether the plan looks at the small clip, or only counts its frames

    def own(self, **settings: int) -> dict[str, int]:
        """Of everybody's settings, those of this way."""
        return {name: settings[name] for name in self.settings if name in settings}


def part_of(
    clip: SmallClip, progress: Progress | None, length: int = 0, min_frames: int = 8, max_frames: int = 0
) -> LoopPlan:
    """The part of the clip that closes best, of one length or of any within limits; see `best_cut`."""
    limits = (length, length) if length else (min_frames, max_frames)
    return best_cut(clip.looks, *limits, progress, clip.cuts)


def check_cut_length(frames: int, length: int = 0, min_frames: int = 8, max_frames: int = 0) -> None:
    """Raises ValueError where no such loop can be cut from so many frames."""
    if length and not 2 <= length < frames:
        raise ValueError(
            f"length is {length} frames, but a loop cut from {frames} frames has from 2 to {frames - 1}. Try 0, which "
            "takes what loops best."
        )
    if not length:
        check_cut(frames, min_frames, max_frames)


def dissolve(
    clip: SmallClip, progress: Progress | None, length: int = 0, overlap: int = 8, plain: bool = False
) -> LoopPlan:
    """The end turns into the beginning along the optical flow, or plain: by a cross-fade; see `best_overlap`."""
    return replace(best_overlap(clip.looks, overlap, length, clip.cuts), plain=plain)


def shortest_period(fps: float, frames: int) -> int:
    """The fewest frames that a pixel may repeat: half a second, or a third of a short clip."""
    return max(2, min(round(fps / 2), frames // 3))


def check_pixels(frames: int, length: int = 0) -> None:
    """Raises ValueError where so few frames have no loop in them."""
    if frames < 3:
        raise ValueError(
            f"the clip has {frames} frame{'s'[: frames > 1]}, but a loop takes at least 3. Use a longer clip, or none."
        )
    if length == 1:
        raise ValueError("length is 1 frame, but a loop has at least 2. Try 0, which takes what loops best.")


def per_pixel(clip: SmallClip, progress: Progress | None, length: int = 0) -> LoopPlan:
    """Every pixel loops in its own time, or stands still; see `periods.py`."""
    check_pixels(len(clip.frames), length)
    check_no_cut("loop per pixel", clip.looks, clip.cuts)
    first = 0
    if len(clip.frames) > STRETCH:  # where the clip closes best
        best = best_cut(clip.looks, STRETCH // 4, STRETCH - 1, progress, clip.cuts)
        first = min(max(0, (best.start + best.stop - STRETCH) // 2), len(clip.frames) - STRETCH)
    some = np.stack([as_float(frame) for frame in clip.frames[first : first + STRETCH]])
    shortest = shortest_period(clip.fps, len(some))
    if not length:
        size = tuple(max(1, n // 3) for n in some.shape[2:0:-1])
        tiny = np.stack([_shrunk(frame, size) for frame in some])
        lengths = range(max(shortest, len(some) // 3), len(some))
        length = best_length(tiny, lengths, shortest, _shrunk(clip.wanted, size), progress)
    elif not divisors(length, shortest, len(some)):
        near = [n for n in range(length, 0, -1) if divisors(n, shortest, len(some))]
        raise ValueError(
            f"length is {length} frames, but no period from {shortest} to {len(some) - 1} frames goes into it, and the "
            f"clip has no longer ones. Try {near[0] if near else 0}."
        )
    best = LoopPlan(0, 0, join=math.inf)
    for ghosts in GHOSTS:
        for loop in pixel_loops(some, length, shortest, clip.wanted, clip.still, progress, ghosts):
            plan = weighed(LoopPlan(0, len(clip.frames), pixels=loop.within(first)), "per pixel", clip)
            best = min(best, plan, key=lambda plan: plan.join)
            if best.join <= CLEAN:
                return best
        if best.join < STANDING_STILL:
            break
    return best


def ping_pong(frames: int, progress: Progress | None) -> LoopPlan:
    """Forwards and backwards."""
    return replace(to_and_fro(frames), said=f"loop: {2 * frames - 2} frames, ping-pong")


def as_it_is(frames: int, progress: Progress | None) -> LoopPlan:
    """All frames, as they are."""
    return LoopPlan(0, frames, said=f"no loop: {frames} frames as they are")


def check_auto(
    frames: int, length: int = 0, min_frames: int = 8, max_frames: int = 0, overlap: int = 8
) -> None:
    """Raises ValueError where no way can loop so few frames."""
    check_turn(frames)


def automatic(clip: SmallClip, progress: Progress | None, **settings: int) -> LoopPlan:
    """The way that shows its seam least. Of those of which the same is said, or whose seam nobody sees, the first."""
    check_no_cut("loop", clip.looks, clip.cuts)
    found = []
    for how in AUTO:
        kind = LOOPS[how]
        try:
            kind.check(len(clip.frames), **kind.own(**settings))
            plan = kind.plan(clip if kind.looks else len(clip.frames), progress, **kind.own(**settings))
        except ValueError:
            continue  # too short for this way, or no loop of that length
        if settings.get("length") and plan.count != settings["length"]:
            continue
        found.append(plan if plan.join else weighed(plan, how, clip))
        if found[-1].join <= CLEAN:
            break
    if not found:
        raise ValueError(
            f"there is no loop of {settings['length']} frames in a clip of {len(clip.frames)}. Try 0, which takes what "
            "loops best."
        )
    least = min(plan.join for plan in found)
    if least > STANDING_STILL:
        return standing_still(clip, settings.get("length") or found[0].count)
    return next(plan for plan in found if round(plan.join, 1) <= max(CLEAN, round(least, 1)))


def standing_still(clip: SmallClip, length: int) -> LoopPlan:
    """The still picture, or the frame most like the clip's median, for so many frames: nothing tears that stands."""
    usual = np.median(clip.frames[:: max(1, len(clip.frames) // LOOKED)], axis=0)
    best = int(np.argmin([np.abs(frame - usual).sum() for frame in clip.frames]))
    kind = (1, best, 0) if clip.still is None else (0, 0, 0)
    cells = np.zeros(clip.frames.shape[1:3], np.uint8)
    loop = PixelLoop(length, len(clip.frames), (kind,), cells)
    return weighed(LoopPlan(0, len(clip.frames), pixels=loop), "per pixel", clip)


def weighed(plan: LoopPlan, how: str, clip: SmallClip) -> LoopPlan:
    """A plan that knows how much its seam shows, and says what it does."""
    own = clip.own
    if len(clip.frames) < 3 or not len(own):
        return replace(plan, said=f"loop: {plan.count} frames, {how}", join=1.0)
    if plan.pixels and not plan.pixels.moving:
        return replace(
            plan, said=f"loop: {plan.count} frames, {how}, nothing here loops: a still", join=STANDING_STILL
        )
    if plan.back:
        join, more = turned(clip), ""
        if travels(clip):
            join, more = max(join, BACKWARDS), ", what passes here goes backwards half of the time"
        return replace(plan, said=f"loop: {plan.count} frames, {how}, join {join:.1f}x{more}", join=join)
    small = Rendered(*clip.frames.shape[:3], clip.fps, lambda: iter(clip.frames))
    shown = list(clip.masked(looped(small, plan, still=clip.still)))
    steps = block_steps(shown)
    join, more = _join(plan, steps, own), ""
    if plan.pixels:
        join = max(join, plan.pixels.torn / SEEN_TORN, _double(clip, plan, shown))
        kept = _kept(steps.mean(0), own.mean(0))
        dead = kept < DEAD * float(clip.wanted.sum()) / max(1, np.count_nonzero(clip.wanted))
        more = f", {min(kept, 1):.0%} of the motion{': little here loops' if dead else ''}"
        return replace(
            plan,
            said=f"loop: {plan.count} frames, {how}, join {join:.1f}x{more}",
            join=max(join, STANDING_STILL) if dead else join,
        )
    if plan.overlap:  # two pictures mixed are one on the other, by how far they differ
        apart = [
            block_energy(*clip.masked((clip.frames[plan.start + k], clip.frames[plan.stop + k])))
            for k in range(plan.overlap)
        ]
        join = max(join, 1 + (worst_step(torch.stack(apart), own)[0] - 1) / 4)
        join = max(join, _double(clip, plan, shown[: plan.overlap]))
    return replace(plan, said=f"loop: {plan.count} frames, {how}, join {join:.1f}x{more}", join=join)


def _double(clip: SmallClip, plan: LoopPlan, made: list[torch.Tensor]) -> float:
    """How much of these frames of a loop is on no picture of the clip's, of which those near both ends are asked.

    A loop per pixel may show anything that it was made from: there a face is torn, or shows twice.
    """
    if plan.pixels:
        near = list(range(max(0, plan.pixels.clip - STRETCH), plan.pixels.clip))
    else:
        ends = plan.start, plan.stop + plan.overlap
        near = [i for i in range(*ends) if min(i - ends[0], ends[1] - 1 - i) < STRETCH // 2]
    return never_seen(torch.stack(made), torch.stack(list(clip.masked(clip.frames[near]))))


def _kept(moves: torch.Tensor, own: torch.Tensor) -> float:
    """The share of the motion that a loop keeps, `(rows, columns)` each, in the tenth of the blocks that moves most."""
    most = own >= own.flatten().kthvalue(math.ceil(0.9 * own.numel())).values
    return float(moves[most].sqrt().mean() / own[most].sqrt().mean().clamp(min=1e-9))


def _join(plan: LoopPlan, steps: torch.Tensor, own: torch.Tensor) -> float:
    """The worst local step of a loop where it joins: at its end, in a blend after it, and anywhere per pixel.

    Held against the clip's own steps, and against the loop's other ones, which are all that its spectator knows.
    """
    at = steps if plan.pixels else torch.cat([steps[-1:], steps[: plan.overlap]])
    return max(worst_step(at, own)[0], worst_join(steps)[0] if len(steps) > 2 else 0.0)


def turned(clip: SmallClip) -> float:
    """How hard the motion turns where a clip goes backwards, against how it changes its speed anyway."""
    frames = list(clip.masked(clip.frames))
    own = torch.stack(
        [block_energy(a + c - b, b) for a, b, c in zip(frames[:-2], frames[1:-1], frames[2:], strict=True)]
    )
    turns = torch.stack(
        [block_energy(2 * b - a, a) for a, b in ((frames[0], frames[1]), (frames[-1], frames[-2]))]
    )
    return worst_step(turns, own)[0]


def travels(clip: SmallClip) -> bool:
    """Whether most of the motion goes one way and does not come back, pixel by pixel, as a walker and smoke do."""
    step = max(1, round(clip.fps / 8))
    at = np.unique(np.linspace(0, max(0, len(clip.frames) - 1 - step), LOOKED).astype(int))
    way, length = np.zeros((*clip.wanted.shape, 2), np.float32), 0.0
    for i in at[at + step < len(clip.frames)]:
        a, b = (as_float(clip.frames[k]) for k in (i, i + step))
        changed = (opencv().blur(np.abs(a - b).max(-1), (3, 3)) > CHANGED) & (clip.wanted > 0)
        flow = flow_between(a, b) * changed[..., None]
        way += flow
        length += float(np.hypot(*flow.transpose(2, 0, 1)).sum())
    some = length > SLOWEST * len(at) * np.count_nonzero(clip.wanted)
    return bool(some) and float(np.hypot(*way.transpose(2, 0, 1)).sum()) > ONE_WAY * length


LOOPS = {
    "auto": LoopKind(automatic, check_auto, ("length", "min_frames", "max_frames", "overlap")),
    "per pixel": LoopKind(per_pixel, check_pixels, ("length",)),
    "cut": LoopKind(part_of, check_cut_length, ("length", "min_frames", "max_frames")),
    "crossfade": LoopKind(
        lambda clip, progress, **settings: dissolve(clip, progress, plain=True, **settings),
        check_dissolve,
        ("length", "overlap"),
    ),
    "dissolve": LoopKind(dissolve, check_dissolve, ("length", "overlap")),
    "ping-pong": LoopKind(ping_pong, check_turn, looks=False),
    "none": LoopKind(as_it_is, lambda frames: None, looks=False),
}


def loop_kind(how: str) -> LoopKind:
    """A row of LOOPS. Raises ValueError for another name."""
    if how not in LOOPS:
        raise ValueError(f"loop is {how!r}, but it has to be one of {', '.join(LOOPS)}.")
    return LOOPS[how]


def loop_length(text: str | int, fps: float) -> int:
    """A loop's length in frames: "48" are frames, "3 s" are seconds, 0 (and nothing) is the best. Raises ValueError."""
    found = re.fullmatch(r"\s*([0-9]{1,7}(?:\.[0-9]*)?)?\s*(s|sec|seconds?|frames?)?\s*", str(text), re.I)
    number = float(found[1] or 0) if found else -1.0
    seconds = bool(found and found[2] and found[2][0] in "sS")
    if number < 0 or (not seconds and number % 1):
        raise ValueError(
            f"length is {str(text)[:30]!r}, but it has to be frames, such as 48, or seconds, such as 3 s. Try 0, which "
            "takes what loops best."
        )
    return max(round(number * fps), int(number > 0)) if seconds else int(number)


def plan_loop(how: str, clip: SmallClip, progress: Progress | None = None, **settings: int) -> LoopPlan:
    """What a loop shows, in one of the ways of LOOPS that look, with that way's settings; it says how its seam does."""
    plan = loop_kind(how).plan(clip, progress, **settings)
    return plan if plan.said else weighed(plan, how, clip)


def make_loop(clip: Frames, how: str = "auto", progress: Progress | None = None, **settings: Any) -> Rendered:
    """The clip as a loop, in one of the ways of LOOPS, with that way's settings. Raises ValueError.

    Frames that are shown as they are, are the clip's own to the bit.
    """
    kind = loop_kind(how)
    if clip.count is not None:
        kind.check(clip.count, **settings)
    if not kind.looks:
        count = sum(1 for _ in told(clip, None, "counting", progress)) if clip.count is None else clip.count
        plan = kind.plan(count, progress)
    else:
        looks = looked_at(clip, progress)
        kind.check(len(looks), **settings)
        if how != "cut":
            check_no_cut("loop", looks)
        small = small_clip(told(clip, len(looks), "comparing", progress), len(looks), clip.fps)
        plan = plan_loop(how, small, progress, **settings)
    return Rendered(
        plan.count,
        clip.height,
        clip.width,
        clip.fps,
        lambda: looped(clip, plan, progress=progress),
        plan.heard,
        plan.said,
    )
