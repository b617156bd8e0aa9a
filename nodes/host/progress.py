"""For long work without a sampler: a progress bar, cancelling, and a message about the memory it will take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import comfy.utils
import torch
from torch import Tensor

from ...lumiere_core.photo.region import gigabytes
from ..tensors import even_sides
from .notify import check_interrupt, show_text

LARGE = 4.0  # gigabytes from which a node says what it will take


class HostBar:
    """The engine's `Progress` as the host's: raises in it when the artist cancels."""

    def __init__(self) -> None:
        self.what, self.bar = "", None

    def __call__(self, done: int, total: int, what: str) -> None:
        check_interrupt()
        if what != self.what:
            self.what, self.bar = what, comfy.utils.ProgressBar(total)
        self.bar.update_absolute(done, total)


def collected(
    frames: Iterable[Tensor], count: int, height: int, width: int, node_id: Any, even: bool = False
) -> Tensor:
    """Frames `(H, W, 3)` as they come -> IMAGE, with progress; a large one is announced before the work.

    even repeats the last row or column of odd sides.
    """
    height, width = (n + n % 2 if even else n for n in (height, width))
    size = gigabytes(count, height, width)
    if size > LARGE:
        show_text(
            node_id,
            f"{count} frames of {width}x{height} take {size:.1f} GB of memory. With less, scale the picture "
            "down first, or use the command line (python -m lumiere_core clip brush), which holds one frame at "
            "a time.",
        )
    out, bar = torch.empty(count, height, width, 3), HostBar()
    for i, (to, frame) in enumerate(zip(out, frames, strict=True)):
        to.copy_(even_sides(frame[None])[0] if even else frame)
        bar(i + 1, count, "frames")
    return out
