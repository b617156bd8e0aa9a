"""A cinemagraph from any clip, no model needed: one part moves for ever, the rest is a photo.

A clip is float32 `(T, H, W, 3)` in [0, 1]; `moves` is a mask, float32 `(H, W)` in [0, 1]: 1 moves, greys move
less far. Inputs are never written to.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..media.pictures import opencv
from ..progress import Progress
from .loop import check_no_cut, make_loop
from .region import change_mask, feathered, laid_over, one_picture, region_of
from .steady import Tripod, check_rgb_clip, levelled
from .warp import flow_between, warped


def cinemagraph_from_clip(
    clip: Tensor,
    moves: Tensor,
    still: Tensor | None = None,
    feather: float = 8,
    stabilise: bool = True,
    drift: bool = True,
    loop: str = "dissolve",
    motion: float = 1.0,
    progress: Progress | None = None,
) -> Tensor:
    """The clip's motion inside the mask, over one still picture, as a loop: `(T', H, W, 3)`.

    Bit for bit the still (`(H, W, 3)`, the first frame by default) where the mask is 0. The camera is steadied and slow
    drift taken out by what lies outside the mask; loop is one of LOOPS. motion in [0, 1] and greys in the mask move
    things less far, along the optical flow: pictures are mixed only in the `feather` pixels at the mask's edge.
    """
    if not 0 <= motion <= 1:
        raise ValueError(f"motion is {motion:g}, but it has to be between 0 and 1. Try 1.")
    check_rgb_clip(clip)
    check_no_cut("cinemagraph", clip)
    height, width = clip.shape[1:3]
    moves = change_mask(moves, 1, height, width)[0]
    still = one_picture("still", clip[:1] if still is None else still, height, width)
    region = region_of(moves, margin=feather + 1, multiple=1)
    tripod, measured = Tripod(still, moves), []
    part = clip.new_empty(len(clip), region.height, region.width, 3)  # of the clip only this is held twice
    for i, (to, frame) in enumerate(zip(part, clip.numpy(), strict=True)):
        view = tripod.view(frame, stabilise)
        to.copy_(torch.from_numpy(tripod.seen(frame, view, region.box)))
        measured.append(view.levels)
        if progress:
            progress(i + 1, len(clip), "steadying" if stabilise else "measuring")
    if drift:
        levelled(part, measured, tripod.levels, out=part)
    half = max(1, min(8, len(clip) // 2))  # a short clip makes a short loop
    settings = {"cut": {"min_frames": max(2, half)}, "dissolve": {"overlap": half}}
    part = make_loop(part, loop, **settings.get(loop, {}))
    if motion == 0:
        return still.repeat(len(part), 1, 1, 1)
    share = _softened((moves * motion)[region.box], feather)
    if share.min() < 1:
        part = calmed(part, still[region.box], share, progress)
    out, known = still.repeat(len(part), 1, 1, 1), still[region.box]
    alpha = feathered((moves > 0).float(), feather)[region.box][..., None].expand_as(known).contiguous()
    for to, frame in zip(out, part, strict=True):
        to[region.box] = laid_over(known, frame, alpha)
    return out


def _softened(share: Tensor, feather: float) -> Tensor:
    """Shares of motion `(H, W)` without steps, which would tear the picture; the mask's outside (0) does not count.

    A mask with two levels has no steps inside, and stays as it is.
    """
    cv2 = opencv()
    painted = (share > 0).float().numpy()
    reach = 2 * round(feather) + 1
    total, count = (cv2.blur(part, (reach, reach)) for part in (share.numpy() * painted, painted))
    return torch.from_numpy(np.where(painted > 0, total / np.maximum(count, 1e-6), share.max())).clamp(0, 1)


def calmed(clip: Tensor, still: Tensor, share: Tensor, progress: Progress | None = None) -> Tensor:
    """The clip with everything moved only a share of its way from where the still has it. `(T, H, W, 3)`

    Each frame is warped back along its optical flow from the still, never mixed with it, so nothing shows twice. What
    changes its look without moving, such as foam, keeps doing so. share `(H, W)` in [0, 1]; 1 is the clip as it is.
    """
    out, back = torch.empty_like(clip), (1 - share)[..., None].numpy()
    for i, frame in enumerate(clip):
        flow = flow_between(still.numpy(), frame.numpy())
        out[i] = torch.from_numpy(warped(np.ascontiguousarray(frame.numpy()), flow * back))
        if progress:
            progress(i + 1, len(clip), "calming")
    return out
