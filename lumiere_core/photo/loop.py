"""Clips made to loop: the frame after the last is the first. A clip is float32 `(T, H, W, 3)` in [0, 1].

Three ways with one call, `way(clip) -> clip`, and the padding that keeps a loop closed through other tools.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..media.pictures import opencv
from .warp import flow_between, warped

LOOK_SIDE = 64  # frames are compared at this size
DECIDED = 20.0  # how fast a morph goes over from one picture to the other where they differ by 1
UNLIKE = 0.3  # two frames that differ by more than this part of their contrast do not show the same thing


def best_cut(clip: Tensor, min_frames: int = 8, max_frames: int = 0) -> tuple[int, int]:
    """First frame and one past the last of the loop that closes best, from min_frames to max_frames long (0: any).

    The frame after the cut has to look like the first one and to move like it: differences are summed over
    neighbouring frames as well (Schoedl et al., "Video Textures", SIGGRAPH 2000). Of cuts as good, the longest.
    """
    frames = len(clip)
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
    look = torch.stack([thumbnail(frame).flatten() for frame in clip])  # (T, n)
    far = torch.cdist(look[None], look[None])[0].square()  # (T, T)
    cost = _along_diagonals(far)
    start, stop = torch.meshgrid(torch.arange(frames), torch.arange(frames), indexing="ij")
    length = stop - start
    cost = cost.masked_fill((length < min_frames) | (length > most), torch.inf)
    for cut in (cuts := scene_cuts(clip)):
        cost = cost.masked_fill((start < cut) & (stop >= cut), torch.inf)
    if cost.isinf().all():
        longest = max(b - a for a, b in pairwise([0, *cuts, frames]))
        raise ValueError(
            f"there is a cut at frame {', '.join(map(str, cuts))}, and the longest part without one has {longest} "
            f"frames, too few for a loop of {min_frames}. Lower min_frames, or use a longer shot."
        )
    good = cost <= cost.min() * 1.05 + 1e-7 * look.shape[1]
    place = int(torch.where(good, length, 0).argmax())
    return place // frames, place % frames


def thumbnail(frame: Tensor) -> Tensor:
    """`(H, W, 3)` with a long side of at most LOOK_SIDE."""
    height, width = frame.shape[:2]
    scale = min(1.0, LOOK_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = np.ascontiguousarray(frame.numpy(), np.float32)
    return torch.from_numpy(opencv().resize(picture, size, interpolation=opencv().INTER_AREA))


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
def scene_cuts(clip: Tensor) -> list[int]:
    """The first frames of the clip's shots but the first; empty for a clip in one take."""
    looks = [_contrast(thumbnail(frame).numpy()) for frame in clip]
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


def check_no_cut(what: str, clip: Tensor) -> None:
    """Raises ValueError where the clip has a scene cut."""
    for cut in scene_cuts(clip)[:1]:
        raise ValueError(
            f"there is a cut at frame {cut}, and a {what} takes one shot. Use the {cut} frames before it or the "
            f"{len(clip) - cut} from it on (ImageFromBatch)."
        )


def cut_loop(clip: Tensor, min_frames: int = 8, max_frames: int = 0) -> Tensor:
    """The part of the clip that loops best, its frames untouched; see `best_cut`."""
    start, stop = best_cut(clip, min_frames, max_frames)
    return clip[start:stop].clone()


def dissolve_loop(clip: Tensor, overlap: int = 8) -> Tensor:
    """The clip with its last `overlap` frames turned into its first ones along the optical flow: T - overlap frames.

    Both sides are warped to where the motion between them stands, so things move over instead of showing twice.
    """
    frames = len(clip)
    if frames < 2:
        raise ValueError(
            f"the clip has {frames} frame, but a loop takes at least 2. Use a longer clip, or none."
        )
    if not 1 <= overlap <= frames // 2:
        raise ValueError(
            f"overlap is {overlap} frames, but it has to be from 1 to {frames // 2}, half of the clip. "
            f"Try {max(1, min(8, frames // 2))}."
        )
    if clip.shape[-1] != 3:
        raise ValueError(
            f"the clip has {clip.shape[-1]} channels, but a dissolve takes 3 (RGB). Drop an alpha channel, or repeat "
            "a grey one."
        )
    check_no_cut("dissolved loop", clip)
    out = clip[: frames - overlap].clone()
    for i in range(overlap):
        between = (i + 1) / (overlap + 1)
        out[i] = torch.from_numpy(morph(clip[frames - overlap + i].numpy(), clip[i].numpy(), between))
    return out


def morph(a: np.ndarray, b: np.ndarray, between: float) -> np.ndarray:
    """A picture between two, `(H, W, 3)`; 0 is `a`, 1 is `b`.

    Both are warped to where the motion between them stands, and mixed. Where they still differ there, the nearer one
    shows more than its share, for two mixed edges would be a ghost.
    """
    cv2 = opencv()
    from_a = warped(a, -between * flow_midway(flow_between(a, b), between))
    from_b = warped(b, -(1 - between) * flow_midway(flow_between(b, a), 1 - between))
    differ = cv2.GaussianBlur(np.abs(from_a - from_b).max(2), (0, 0), 2)[..., None]
    share = (0.5 + (between - 0.5) * (1 + DECIDED * differ)).clip(0, 1)
    return from_a + share * (from_b - from_a)


def flow_midway(flow: np.ndarray, share: float) -> np.ndarray:
    """The flow `(H, W, 2)` of whatever stands at each pixel after a share of its way: `u(p) = flow(p - share u(p))`."""
    height, width = flow.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    out, linear = flow, opencv().INTER_LINEAR
    for _ in range(6):
        back = np.float32(-share) * out
        out = opencv().remap(
            flow, x + back[..., 0], y + back[..., 1], linear, borderMode=opencv().BORDER_REPLICATE
        )
    return out


def ping_pong_loop(clip: Tensor) -> Tensor:
    """Forwards and backwards, without showing an end twice: 2 T - 2 frames."""
    if len(clip) < 2:
        raise ValueError(f"the clip has {len(clip)} frame, but a loop takes at least 2. Use a longer clip.")
    return torch.cat([clip, clip[1:-1].flip(0)])


def as_it_is(clip: Tensor) -> Tensor:
    """The clip unchanged."""
    return clip


LOOPS = {"cut": cut_loop, "dissolve": dissolve_loop, "ping-pong": ping_pong_loop, "none": as_it_is}


def make_loop(clip: Tensor, how: str = "cut", **settings: Any) -> Tensor:
    """The clip as a loop, in one of the ways of LOOPS, with that way's settings."""
    if how not in LOOPS:
        raise ValueError(f"loop is {how!r}, but it has to be one of {', '.join(LOOPS)}.")
    return LOOPS[how](clip, **settings)


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
