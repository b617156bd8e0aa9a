"""What a known frame shows is carried on to the frames beside it, along the motion that the model gives them.

A small model knows where things go better than how they are drawn, so a crisp picture would become a soft clip from one
frame to the next. At the last noise levels each frame takes from the nearest known one what the model shows alike in
both, where it stands still or where it has gone; what differs, the known frame lets go of within a second.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .condition import Condition
from .inversion import last_known
from .process import Denoise

CARRIED_FROM = 2.0  # noise levels from here down: above it the model still decides places
LET_GO_AT = 0.15  # what is shown may differ by so much, root mean square, before it is let go of
SLOWLY = 16  # frames until it is let go of as fast as that
OWN = 0.75  # of what changes in the model's own frames is kept: a surface that is carried still moves
STANDS_UNLESS = 5e-3  # a thing stands still unless its motion explains so much more, in mean squares
SURE = 2e-3  # the difference in mean squares that decides between the two
SLOPELESS = 1e-2  # squared slopes below it say nothing of motion
MOTION_STEPS = 2  # of Lucas and Kanade's step: frames are half a pixel apart
PIECE = 64  # frames worked on at once, so that memory does not grow with the clip


def carrying(denoise: Denoise, task: Condition, closed: bool = False) -> Denoise:
    """A denoiser whose x0 is `carried`."""

    def call(x: Tensor, sigma: Tensor, **condition: object) -> Tensor:
        return carried(denoise(x, sigma, **condition), sigma, task, closed)

    return call


def carried(x0: Tensor, sigma: Tensor, task: Condition, closed: bool = False) -> Tensor:
    """x0 `(1, C, T, H, W)` whose frames go on with what wholly known ones show.

    As it is above CARRIED_FROM, and where no frame is wholly known.

    closed: the last frame is followed by the first.
    """
    places = last_known(task.known)
    if not places or float(sigma.flatten()[0]) > CARRIED_FROM:
        return x0
    frames, given = (v[0].transpose(0, 1).to(x0) for v in (x0, task.clip))  # (T, C, H, W)
    whole = (task.known == 1).flatten(3).all(dim=3).flatten().tolist()
    made = frames.clone()
    for place in places:
        for way in (1, -1):
            run, bounded = run_from(place, way, whole, closed)
            total = None
            for first in range(0, len(run) - 1, PIECE):
                piece = run[first : first + PIECE + 1]
                far = torch.arange(first + 1, first + len(piece), device=x0.device).to(x0).view(-1, 1, 1, 1)
                motion = motion_since(frames[piece[1:]], frames[piece[:-1]])
                if (
                    total is None and len(motion) > 1
                ):  # a known frame is drawn too unlike the next one to follow
                    motion[0] = motion[1]
                total = added_up(motion, total)
                shown, trust = shown_there(given[place], frames[place], frames[piece[1:]], total, far)
                share = 1 - far / len(run) if bounded else 1
                made[piece[1:]] += share * trust * (shown - frames[piece[1:]])
                total = total[-1:]
    return made.transpose(0, 1)[None]


def run_from(place: int, way: int, whole: list[bool], closed: bool) -> tuple[list[int], bool]:
    """A known frame and those to be made after it (way 1) or before it (-1), and whether a known one bounds them."""
    run = [place]
    for _ in whole[1:]:
        t = run[-1] + way
        if closed:
            t %= len(whole)
        if not 0 <= t < len(whole):
            return run, False
        if whole[t]:
            return run, True
        run.append(t)
    return run, closed


def shown_there(
    picture: Tensor, like: Tensor, frames: Tensor, motion: Tensor, far: Tensor
) -> tuple[Tensor, Tensor]:
    """What frames `(N, C, H, W)` show of a known picture `(C, H, W)`, and how much of it they do `(N, 1, H, W)`.

    like    the same frame as the model shows it
    motion  where each pixel was in it `(N, 2, H, W)`
    far     how many frames away it is `(N, 1, 1, 1)`
    """
    still = torch.cat([picture, like])[None].expand(len(frames), -1, -1, -1)
    gone = looked_up(still, motion)
    off_still, off_gone = (
        about((v - frames.repeat(1, 2, 1, 1)).square().mean(dim=1, keepdim=True), 1) for v in (still, gone)
    )
    stays = torch.sigmoid((off_gone + STANDS_UNLESS - off_still) / SURE)
    shown, before = torch.lerp(gone, still, stays).chunk(2, dim=1)
    soon = (far / SLOWLY).clamp(max=1)
    trust = torch.exp(-soon * torch.lerp(off_gone, off_still, stays) / LET_GO_AT**2)
    return shown + soon * OWN * (frames - before), trust


def motion_since(frames: Tensor, before: Tensor) -> Tensor:
    """Where each pixel was in the frame before, in rows and columns from where it is: `(N, C, H, W) -> (N, 2, H, W)`.

    Least squares over squares of 7 pixels (Lucas & Kanade 1981). It only adds and multiplies, so what differs by
    rounding from host to host stays so.
    """
    frames, before = about(frames, 1), about(before, 1)
    motion = torch.zeros_like(frames[:, :2])
    for _ in range(MOTION_STEPS):
        guess = looked_up(before, motion)
        wide = F.pad(guess, (1, 1, 1, 1), mode="replicate")
        down = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2
        right = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2
        off = frames - guess
        pairs = (down, down), (right, right), (down, right), (down, off), (right, off)
        yy, xx, xy, y, x = (about((a * b).mean(dim=1, keepdim=True), 3) for a, b in pairs)
        yy, xx = yy + SLOPELESS, xx + SLOPELESS
        step = torch.cat([xx * y - xy * x, yy * x - xy * y], dim=1) / (yy * xx - xy * xy)
        motion = motion + step.clamp(-1, 1)
    return motion


def added_up(motion: Tensor, total: Tensor | None = None) -> Tensor:
    """Motions from frame to frame added up, and to a `total` before them `(1, 2, H, W)`. `(N, 2, H, W)`"""
    sums = [] if total is None else [total]
    for step in motion.split(1):
        sums.append(step + looked_up(sums[-1], step) if sums else step)
    return torch.cat(sums[-len(motion) :])


def looked_up(pictures: Tensor, motion: Tensor) -> Tensor:
    """Each pixel from where it was, between pixels linearly, beyond the border as on it. `(N, C, H, W)`"""
    height, width = pictures.shape[-2:]
    y = (torch.arange(height, device=motion.device)[:, None] + motion[:, 0]).clamp(0, height - 1)
    x = (torch.arange(width, device=motion.device) + motion[:, 1]).clamp(0, width - 1)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(pictures, grid, align_corners=False)


def about(pictures: Tensor, radius: int) -> Tensor:
    """The mean of the square around each pixel. `(N, C, H, W)`"""
    side = 2 * radius + 1
    pictures = F.pad(pictures, (radius,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(pictures, (side, 1), 1), (1, side), 1)
