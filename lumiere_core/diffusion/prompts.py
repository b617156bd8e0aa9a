"""Prompts over time: `0: a calm sea / 40: a storm` as texts with a weight for each frame.

Lumiere makes one scene in a clip. With a schedule, a long clip made in windows changes from one scene to the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from ..limits import check

ENTRY = re.compile(r"\s*(-?\d{1,9})\s*(?:-\s*(-?\d{1,9})\s*)?:\s*(.*)", re.DOTALL)
EXAMPLE = "0: a calm sea / 40: a storm"


@dataclass(frozen=True)
class PromptSpan:
    """A prompt and the frames it is for, from `first` up to but not including `stop`."""

    text: str
    first: int
    stop: int


def parse(schedule: str, num_frames: int) -> list[PromptSpan]:
    """`0: a calm sea / 40: a storm`, or with both ends `0-39: a calm sea / 40-79: a storm`.

    Entries are separated by `/` or by lines. Raises ValueError with the number of the entry if one cannot be
    read, overlaps another, leaves a gap or lies beyond the clip, or if the first one begins after frame 0.
    """
    entries = [entry for entry in re.split(r"[/\n]", schedule) if entry.strip()]
    if not entries:
        raise ValueError(f"the prompt schedule is empty. Write it as: {EXAMPLE}")
    found: list[tuple[int, int | None, str]] = []
    for number, entry in enumerate(entries, 1):
        match = ENTRY.fullmatch(entry)
        if not match:
            raise ValueError(
                f"entry {number} of the prompt schedule, {entry.strip()!r}, does not begin with a frame and a colon. "
                f"Write it as: {EXAMPLE}"
            )
        first, last, text = match.groups()
        found.append((int(first), int(last) + 1 if last else None, text.strip()))

    spans = []
    expected = 0
    for number, (first, stop, text) in enumerate(found, 1):
        following = found[number][0] if number < len(found) else num_frames
        if first != expected:
            where = f"overlaps the one before, which goes on to frame {expected - 1}"
            if first > expected:
                where = f"leaves a gap after frame {expected - 1}"
            if number == 1:
                where = "is the first, which has to begin with the clip"
            raise ValueError(
                f"entry {number} of the prompt schedule begins at frame {first} and {where}. Begin it at {expected}."
            )
        if first >= num_frames:
            raise ValueError(
                f"entry {number} of the prompt schedule begins at frame {first}, but the clip has {num_frames} "
                f"frames, 0 to {num_frames - 1}. Make the clip longer or begin earlier."
            )
        stop = following if stop is None else stop
        if stop <= first:
            raise ValueError(
                f"entry {number} of the prompt schedule goes from frame {first} to {stop - 1}, which holds no frame. "
                "Order the entries by their frames."
            )
        spans.append(PromptSpan(text, first, min(stop, num_frames)))
        expected = stop
    if expected < num_frames:
        raise ValueError(
            f"the prompt schedule ends at frame {expected - 1}, but the clip goes on to {num_frames - 1}. Leave the "
            "last entry open, with its first frame only."
        )
    return spans


def span_weights(spans: list[PromptSpan], num_frames: int, blend: int = 0) -> Tensor:
    """The weight of each span in each frame, `(spans, T)`. The weights of a frame add up to 1.

    A change takes about `blend` frames, half before the border and half after; 0 changes at once. Neighbours share the
    frames of a span that is shorter than that. Raises ValueError for a blend below 0.
    """
    check("blend", blend)
    middle = torch.arange(num_frames) + 0.5
    rows = []
    for i, span in enumerate(spans):
        rise = (middle - span.first) / max(blend, 1e-6) + 0.5
        fall = (span.stop - middle) / max(blend, 1e-6) + 0.5
        row = torch.ones(num_frames)
        if i:
            row = torch.minimum(row, rise.clamp(0, 1))
        if i < len(spans) - 1:
            row = torch.minimum(row, fall.clamp(0, 1))
        rows.append(row)
    table = torch.stack(rows)
    return table / table.sum(dim=0)
