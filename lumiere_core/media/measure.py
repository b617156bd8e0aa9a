"""Measures of a clip that need no model. Clips are `(3, T, H, W)` in any range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Sized

import torch
import torch.nn.functional as F
from torch import Tensor

from ..limits import check
from ..progress import Progress

BLOCKS = 32  # on a clip's long side, in which a seam is looked for
USUAL = 0.95  # of a block's steps are no larger than what is usual there
WORST = 0.005  # of the blocks may be worse than the score says: a post that melts is one in a hundred
DOUBLED = 0.02  # of the blocks may be worse than is said of a double exposure: what is small is lost in it
JOINED = 8  # steps after a loop's join that belong to it: what a dissolve takes


def xt_slice(clip: Tensor, row: float = 0.5) -> Tensor:
    """One row of pixels over time: `(3, T, H, W) -> (3, T, W)`, first frame first. row in [0, 1], 0 is the top.

    Smooth traces mean consistent motion, jagged ones flicker, straight ones a still picture. Raises ValueError.
    """
    check("row", row)
    return clip[:, :, min(clip.shape[2] - 1, int(row * clip.shape[2]))]


def frame_differences(clip: Tensor, progress: Progress | None = None) -> Tensor:
    """Mean absolute difference of neighbouring frames, `(T - 1,)`; frame by frame, with no copy of the clip."""
    steps = clip.shape[1] - 1
    differences = clip.new_zeros(steps, dtype=torch.float32)
    for i in range(steps):
        differences[i] = (clip[:, i + 1] - clip[:, i]).abs().mean()
        if progress:
            progress(i + 1, steps, "frames compared")
    return differences


def seam_score(clip: Tensor, borders: Sequence[int], progress: Progress | None = None) -> float:
    """Mean frame difference at window borders over that elsewhere; 1 is ideal.

    borders: first frames of the windows after the first one, each from 1 to T - 1. Raises ValueError otherwise.
    """
    differences = frame_differences(clip, progress)
    if not borders or min(borders) < 1 or max(borders) > len(differences):
        raise ValueError(
            f"borders are {list(borders)}, but a clip of {clip.shape[1]} frames can have them from 1 to "
            f"{len(differences)}."
        )
    at = torch.zeros(len(differences), dtype=torch.bool)
    at[torch.tensor(sorted(set(borders))) - 1] = True
    if at.all():
        raise ValueError("every frame is a border, so there is nothing to compare with. Use longer windows.")
    return float(differences[at].mean() / differences[~at].mean().clamp(min=1e-8))


def block_steps(frames: Iterable[Tensor], progress: Progress | None = None) -> Tensor:
    """How much each block of a loop changes from frame to frame, `(T, rows, columns)`: mean squared differences.

    frames `(H, W, C)`; the last step leads from the last frame to the first. About BLOCKS blocks on the long side.
    """
    steps: list[Tensor] = []
    first = before = None
    total = (
        len(frames) if isinstance(frames, Sized) else 0
    )  # of what comes frame by frame, only the end tells
    for frame in frames:
        if before is None:
            first = frame
        else:
            steps.append(block_energy(frame, before))
            if progress:
                progress(len(steps), max(total, len(steps) + 1), "steps compared")
        before = frame
    assert first is not None and before is not None, "a loop has frames"
    steps.append(block_energy(first, before))
    if progress:
        progress(len(steps), len(steps), "steps compared")
    return torch.stack(steps)


def block_energy(after: Tensor, before: Tensor) -> Tensor:
    """Mean squared difference of two pictures `(H, W, C)` in each block, `(rows, columns)`."""
    changed = (after - before).square().mean(-1)
    side = max(4, -(-max(changed.shape) // BLOCKS))
    return F.avg_pool2d(changed[None], side, ceil_mode=True, count_include_pad=False)[0]


# A seam is local: a post that melts is 1 % of the picture, and a mean over all of it passes that. So every block is
# held against what it, or the block beside it, does anyway; the worst one in 200 counts, in blocks of all
# sizes, because a thing that vanishes from its own path changes no small block more than usual, but more of them.
def worst_step(at: Tensor, own: Tensor, least: float = 1 / 255) -> tuple[float, Tensor]:
    """The worst local step of `at` `(n, rows, columns)` against the same blocks' `own` steps, `(m, rows, columns)`.

    1 is a step like any other; a post that melts in a clip where only cars move gets 4. Also where: each block's own
    ratio at its worst step, `(rows, columns)`. least: the root mean square difference that nobody sees.
    """
    worst = 0.0
    for side in (1, 2, 4, 8, max(own.shape[1:])):
        steps, usual = (
            F.avg_pool2d(part, side, ceil_mode=True, count_include_pad=False) for part in (at, own)
        )
        steps, usual = steps.sqrt(), usual.sqrt()
        beside = F.max_pool2d(usual, 3, 1, 1).flatten(1)  # what moves, moves from block to block
        ref = beside.kthvalue(max(1, math.ceil(USUAL * len(beside))), dim=0).values + least
        counted = max(1, round(WORST * ref.numel()))
        high = (steps.flatten(1) / ref).topk(counted, dim=1).values[:, -1]  # (n,)
        worst = max(worst, float(high.max()))
        if side == 1:
            where = (steps.flatten(1) / ref).amax(0).view(steps.shape[1:])
    return worst, where


# Two pictures mixed change no faster than one: a double exposure is seen because no such picture was ever there.
def never_seen(made: Tensor, clip: Tensor) -> float:
    """How unlike anything a clip shows there the worst places of `made` are, both `(n, H, W, C)`; 1 is like the clip.

    Every block of each frame is held against the same block of the clip where that is most like it, and this against
    how far that one is from the frame most like it: in a van that rushes by all frames differ, but half a van over a
    cyclist who stands still is seen against him. The root of that ratio, which goes to 30 for a walker who fades: then
    it can stand beside `worst_step`.
    """
    worst = 1.0
    for times in (1, 2):  # larger blocks see what stands beside what at no time it does
        of_clip, of_made = _in_blocks(clip, times), _in_blocks(made, times)
        ratios = []
        for shown, mine in zip(of_clip.split(64), of_made.split(64), strict=True):
            near = torch.cdist(shown, shown)
            near.diagonal(dim1=1, dim2=2).fill_(torch.inf)
            own = near.amin(-1)  # (blocks, T)
            apart, alike = torch.cdist(mine, shown).min(-1)  # (blocks, n)
            usual = torch.maximum(own.gather(1, alike), own.median(dim=1, keepdim=True).values)
            ratios.append(apart / (usual + shown.shape[-1] ** 0.5 / 255))
        high = torch.cat(ratios)  # (blocks, n)
        counted = max(1, round(DOUBLED * len(high)))
        worst = max(worst, float(high.topk(counted, dim=0).values[-1].max()))
    return math.sqrt(worst)


def _in_blocks(frames: Tensor, times: int) -> Tensor:
    """Frames `(n, H, W, C)` cut into blocks as `block_energy` does, or larger ones: `(blocks, n, pixels)`."""
    n, height, width, _ = frames.shape
    side = times * max(4, -(-max(height, width) // BLOCKS))
    down, across = -(-height // side), -(-width // side)
    frames = F.pad(frames, (0, 0, 0, across * side - width, 0, down * side - height))
    blocks = frames.view(n, down, side, across, -1).transpose(2, 3)  # (n, rows, columns, side, side * C)
    return blocks.reshape(n, down * across, -1).transpose(0, 1).contiguous()


def join_steps(frames: int) -> list[int]:
    """The steps of a loop where a seam may be: from the last frame to the first, and a blend's after it."""
    return [*range(min(JOINED, frames // 4)), frames - 1]


def worst_join(steps: Tensor, least: float = 1 / 255) -> tuple[float, Tensor]:
    """The worst local step where a loop of these steps joins, against its other steps, and where; see `worst_step`."""
    joins = torch.zeros(len(steps), dtype=torch.bool)
    joins[join_steps(len(steps))] = True
    return worst_step(steps[joins], steps[~joins], least)


def loop_seam(clip: Tensor, progress: Progress | None = None) -> tuple[float, Tensor]:
    """The worst local step where a clip `(3, T, H, W)` joins its beginning, and where; see `worst_step`."""
    steps = block_steps(clip.movedim(0, -1).float(), progress)
    return worst_join(steps, max(float(clip.amax() - clip.amin()) / 255, 1e-8))


def loop_seam_score(clip: Tensor, progress: Progress | None = None) -> float:
    """The worst local step where a clip joins its beginning, over what is usual there; about 1 in a loop."""
    return loop_seam(clip, progress)[0]


def seam_picture(picture: Tensor, where: Tensor) -> Tensor:
    """A picture `(H, W, 3)` in [0, 1], grey where its loop is clean, red where it tears: from a ratio of 1.5 to 4."""
    ratio = F.interpolate(where[None, None], picture.shape[:2], mode="nearest")[0, 0]
    heat = ((ratio - 1.5) / 2.5).clamp(0, 1)[..., None]
    grey = 0.6 * picture.mean(-1, keepdim=True)
    return grey + heat * (torch.tensor([1.0, 0.15, 0.1]) - grey)


def difference_chart(
    clip: Tensor,
    borders: Sequence[int] = (),
    height: int = 128,
    bar: int = 6,
    progress: Progress | None = None,
) -> Tensor:
    """Frame differences as bars, `(3, height, bar * T)` in [0, 1]: grey, orange at `borders`, and blue for the step
    from the last frame back to the first. Bars of equal height are even motion; a tall orange or blue one is a seam.
    """
    steps = torch.cat(
        [frame_differences(clip, progress), (clip[:, -1] - clip[:, 0]).abs().mean().view(1)]
    )  # (T,)
    colours = torch.full((len(steps), 3), 0.65)
    colours[[border - 1 for border in borders]] = torch.tensor([1.0, 0.55, 0.1])
    colours[-1] = torch.tensor([0.2, 0.55, 1.0])
    tall = (steps / steps.max().clamp(min=1e-8) * (height - 1)).round() + 1  # every bar is seen
    filled = torch.arange(height, 0, -1)[:, None] <= tall  # (height, T)
    picture = torch.where(filled, colours.T[:, :, None].movedim(2, 1), torch.tensor(0.08))  # (3, height, T)
    picture = picture.repeat_interleave(bar, dim=2)
    picture[:, :, ::bar] = 0.08  # a gap between bars
    return picture


def psnr(a: Tensor, b: Tensor, span: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB of clips whose values span `span` (2 for [-1, 1])."""
    return float(10 * torch.log10(span**2 / (a - b).square().mean().clamp(min=1e-12)))
