"""For long work without a sampler: a progress bar, cancelling, and a message about the memory it will take."""

from __future__ import annotations

import comfy.utils
from torch import Tensor

from ...lumiere_core.media.frames import Rendered, gathered
from ...lumiere_core.media.memory import check_memory, gigabytes
from ..tensors import with_even_sides
from .notify import check_interrupt, show_here

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


def announce(
    frames: int, height: int, width: int, remedy: str = "Make the clip shorter, or scale it down first."
) -> None:
    """Say on the running node what a large IMAGE will take; raises ValueError where the machine has not that much."""
    size = gigabytes(frames, height, width)
    what = f"{frames} frames of {width}x{height}"
    check_memory(what, size, remedy)
    if size > LARGE:
        show_here(f"{what} take {size:.1f} GB of memory. With less: {remedy[0].lower()}{remedy[1:]}")


def collected(clip: Rendered, even: bool = False, command: str = "") -> Tensor:
    """A rendered clip as IMAGE, the only copy of it, with progress; what a large one takes is announced first.

    even repeats the last row or column of odd sides. command: of `clip` on the command line, where it does the same.
    """
    clip = with_even_sides(clip) if even else clip
    streamed = (
        f"Make the clip shorter, scale it down first, or use the command line (python -m lumiere_core clip {command}), "
        "which holds one frame at a time."
    )
    announce(clip.count, clip.height, clip.width, *[streamed] if command else [])
    return gathered(clip, HostBar())
