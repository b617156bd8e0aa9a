"""A cinemagraph from any clip, without a model: one part moves in a loop, the rest is a photo.

A clip comes as `Frames` `(H, W, 3)`; `moves` is a mask, float32 `(H, W)` in [0, 1]: 1 moves, greys move less far. The
clip is measured first, a `CinemagraphPlan` says what is to be done to each frame, and only the frame that is being
rendered is held. Inputs are never written to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..limits import check
from ..media.frames import Frames, Rendered, as_bytes, as_float, told
from ..media.pictures import opencv
from ..progress import Progress
from .loops.loop import LoopPlan, looped
from .loops.shots import check_no_cut, looked_at
from .loops.ways import loop_kind, plan_loop, small_clip
from .region import Region, change_mask, feathered, lay_over, region_of
from .still import Setting, setting_of
from .warp import flow_between, warped


@dataclass(frozen=True)
class CinemagraphPlan:
    """What is done to a clip: how each frame is fitted to the still and looped, and where it shows."""

    setting: Setting  # the still, and what is done to each frame
    paper: (
        np.ndarray
    )  # the still in the type of the clip's frames, a quarter of the memory where that is uint8
    region: Region  # the part of the picture that is worked on
    loop: LoopPlan
    share: np.ndarray | None  # how far things move in the region, (h, w); None for as far as they do
    alpha: Tensor  # how much of the clip shows in the region, (h, w, 1)

    @property
    def still(self) -> np.ndarray:
        """The picture around the region, `(H, W, 3)` in [0, 1]."""
        return self.setting.tripod.still

    def shown(self, i: int, frame: np.ndarray) -> np.ndarray:
        """The region of the clip's frame i, steadied and recoloured."""
        return self.setting.seen(i, frame, self.region.box)

    def calm(self, part: np.ndarray) -> np.ndarray:
        """A region of the loop, moved as far as it is to move."""
        part, still = as_float(part), self.still[self.region.box]
        return part if self.share is None else calmed(part, still, self.share)

    def around(self, part: np.ndarray) -> np.ndarray:
        """The whole picture, the region laid into it."""
        frame, mixed = self.paper.copy(), self.still[self.region.box].copy()
        lay_over(torch.from_numpy(mixed), torch.from_numpy(part), self.alpha)
        frame[self.region.box] = as_bytes(mixed) if frame.dtype == np.uint8 else mixed
        return frame


def cinemagraph_from_clip(
    clip: Frames,
    moves: Tensor,
    still: Tensor | int | None = None,
    feather: float = 8,
    stabilise: bool = True,
    drift: bool = True,
    loop: str = "auto",
    motion: float = 1.0,
    length: int = 0,
    progress: Progress | None = None,
) -> Rendered:
    """The clip's motion inside the mask, over one still picture, as a loop.

    Bit for bit the still where the mask is 0: a picture `(H, W, 3)`, a frame's number, or None for the sharpest frame
    without those who walk through. The camera is steadied and slow drift taken out by what lies outside the mask, each
    where that makes it better. loop is one of LOOPS, length its frames, 0 for what loops best. motion in [0, 1] and
    greys in the mask: less makes fewer and calmer loops where every pixel has its own, and moves things less far, along
    the optical flow, in the other ways. `said` tells what was done, which way it was and how the loop joins.
    """
    plan = plan_cinemagraph(clip, moves, still, feather, stabilise, drift, loop, motion, length, progress)
    render, shown = lambda: rendered(plan, clip, progress), plan.loop
    said = "; ".join(part for part in (plan.setting.said, shown.said) if part)
    return Rendered(shown.count, clip.height, clip.width, clip.fps, render, shown.heard, said)


def plan_cinemagraph(
    clip: Frames,
    moves: Tensor,
    still: Tensor | int | None,
    feather: float,
    stabilise: bool,
    drift: bool,
    loop: str,
    motion: float,
    length: int,
    progress: Progress | None = None,
) -> CinemagraphPlan:
    """Look at the clip: for cuts, for its still, for what camera and light did; see `cinemagraph_from_clip`."""
    check("motion", motion)
    kind = loop_kind(loop)
    moves = change_mask(moves, 1, clip.height, clip.width)[0]
    region = region_of(moves, margin=feather + 1, multiple=1)
    looks = looked_at(clip, progress)
    check_no_cut("cinemagraph", looks)
    half = max(1, min(8, len(looks) // 2))  # a short clip makes a short loop
    settings = kind.own(length=length, min_frames=max(2, half, len(looks) // 3), overlap=half)
    kind.check(len(looks), **settings)

    soft = feathered((moves > 0).float(), feather)
    setting = setting_of(clip, len(looks), moves, still, stabilise, drift, (soft < 1).numpy(), progress)
    shown = setting.tripod.still
    share = _softened((moves * motion)[region.box], feather)
    if kind.looks:  # at what the region shows
        frames = enumerate(told(clip, len(looks), "comparing", progress))
        parts = (setting.seen(i, frame, region.box) for i, frame in frames)
        wanted = share * (moves[region.box] > 0).numpy()
        small = small_clip(parts, len(looks), clip.fps, wanted, shown[region.box])
        plan = plan_loop(loop, small, progress, **settings)
    else:
        plan = kind.plan(len(looks), progress)
    if plan.pixels:  # which leave out what is not wanted, and show the rest as it is
        share = np.ones_like(share) if share.any() else share
    share = share if share.min() < 1 else None
    paper = as_bytes(shown) if next(iter(clip)).dtype == np.uint8 else shown
    return CinemagraphPlan(setting, paper, region, plan, share, soft[region.box][..., None].clone())


def rendered(plan: CinemagraphPlan, clip: Frames, progress: Progress | None = None) -> Iterator[np.ndarray]:
    """The frames of a cinemagraph, `(H, W, 3)` in [0, 1]."""
    if plan.share is not None and not plan.share.any():
        return (plan.paper for _ in range(plan.loop.count))
    still = plan.still[plan.region.box]
    return map(plan.around, map(plan.calm, looped(clip, plan.loop, plan.shown, still, progress)))


def _softened(share: Tensor, feather: float) -> np.ndarray:
    """Shares of motion `(H, W)` without steps, which would tear the picture; the mask's outside (0) does not count.

    A mask with two levels has no steps inside, and stays as it is.
    """
    cv2 = opencv()
    painted = (share > 0).float().numpy()
    reach = 2 * round(feather) + 1
    total, count = (cv2.blur(part, (reach, reach)) for part in (share.numpy() * painted, painted))
    return np.where(painted > 0, total / np.maximum(count, 1e-6), share.max()).clip(0, 1)


def calmed(frame: np.ndarray, still: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A frame with everything moved only a share of its way from where the still has it. `(H, W, 3)`

    It is warped back along its optical flow from the still, never mixed with it, so nothing shows twice. What changes
    its look without moving, such as foam, keeps doing so. share `(H, W)` in [0, 1]; 1 is the frame as it is.
    """
    flow = flow_between(still, frame)
    flow *= (1 - share)[..., None]
    return warped(np.ascontiguousarray(frame), flow)
