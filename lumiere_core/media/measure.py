"""Measures of a clip that need no model. Clips are `(3, T, H, W)` in any range."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..limits import check
from ..progress import Progress


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


def loop_seam_score(clip: Tensor, progress: Progress | None = None) -> float:
    """Difference of the last and the first frame over the mean difference of neighbours; about 1 in a loop."""
    inside = frame_differences(clip, progress).mean().clamp(min=1e-8)
    return float((clip[:, -1] - clip[:, 0]).abs().mean() / inside)


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
