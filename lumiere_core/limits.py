"""Every number an artist can set, as a row: its range, what to try, its unit. Any room may import this one.

The command line, the nodes' widgets and the engine's own checks read the same rows. A name with a dot is a number that
has another range elsewhere; the artist is told its last part.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

LONGEST = 30  # digits of a number that a sentence still spells out


def spelled(value: Any) -> str:
    """A number as a sentence says it, or what was given in its place: short, whatever it is."""
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else value[:LONGEST] + "...")
    if isinstance(value, numbers.Integral) and abs(value) >= 10**LONGEST:
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    return f"{float(value):g}" if isinstance(value, float) else str(value)[: LONGEST + 1]


@dataclass(frozen=True)
class Limit:
    """What a number may be, from `low` to `high`, both included; `advice` is what suits most."""

    low: float
    high: float
    advice: float
    unit: str = ""

    def check(self, name: str, value: Any, whole: bool = False) -> None:
        """Raises ValueError for a number outside, for NaN and infinity, and for what is no number, or no whole one."""
        inside = isinstance(value, numbers.Real) and self.low <= value <= self.high
        if not inside or (whole and value % 1):
            low, high = spelled(self.low), spelled(self.high)
            wanted = f"a whole number from {low} to {high}" if whole else f"between {low} and {high}"
            given = f"{spelled(value)} {self.unit}".strip()
            raise ValueError(f"{name} is {given}, but it has to be {wanted}. Try {spelled(self.advice)}.")


FRAMES = 4096  # of a widget: 4 minutes at 16 fps
FILM = 1_000_000  # of the command line, which writes frames as they come: 17 hours

LIMITS = {
    # a clip and its file
    "frames": Limit(1, FRAMES, 80),
    "task.frames": Limit(2, FRAMES, 81),
    "pad.frames": Limit(1, 256, 4),
    "loop.frames": Limit(2, FRAMES, 80),
    "film.frames": Limit(1, FILM, 80),
    "film.loop.frames": Limit(2, FILM, 80),
    "min_frames": Limit(2, FRAMES, 16, "frames"),
    "max_frames": Limit(0, FRAMES, 0, "frames"),
    "size": Limit(1, 4096, 64, "pixels"),
    "clip.size": Limit(16, 4096, 64, "pixels"),
    "fps": Limit(1.0, 240.0, 16.0),
    "file.fps": Limit(
        0.01, 300.0, 16.0
    ),  # H.265, A.4.2: pictures lie 1/300 s apart at least. Players drop faster ones
    "factor": Limit(1, 64, 2),
    "latent_stride": Limit(1, 64, 1, "frames"),
    "blend": Limit(0, FRAMES, 8, "frames"),
    "room": Limit(0, 4096, 64, "pixels"),
    # sampling
    "steps": Limit(1, 1000, 20),  # the host's table of noise levels has 1000 entries
    "cfg": Limit(0.0, 30.0, 3.0),
    "rescale": Limit(0.0, 1.0, 0.7),
    "threshold": Limit(0.0, 1.0, 0.995),
    "percent": Limit(0.0, 1.0, 0.5),
    "edit.strength": Limit(0.01, 1.0, 0.6),  # below, a thousand steps would be cut from a hundred thousand
    "noise_level": Limit(0.0, 0.4, 0.0),  # what super-resolution was trained on
    "window": Limit(1, FRAMES, 16, "frames"),
    "overlap": Limit(0, FRAMES - 1, 2, "frames"),
    "tile": Limit(32, 4096, 128, "pixels"),
    "loop.overlap": Limit(1, FRAMES, 8, "frames"),
    "motion.strength": Limit(0.0, 2.0, 1.0),
    "lora.strength": Limit(-10.0, 10.0, 1.0),
    "seed": Limit(0, 2**64 - 1, 0),  # what PyTorch's generators take
    "brush.seed": Limit(0, 2**32 - 1, 0),
    "train.seed": Limit(0, 2**32 - 1, 0),  # training counts up from it
    "alpha": Limit(0.0, 1.0, 0.75),  # of a style; the paper takes 0.5 to 1
    # photos
    "motion": Limit(0.0, 1.0, 1.0),
    "brush.motion": Limit(0.0, 4.0, 1.0),
    "strength": Limit(0.0, 1.0, 1.0),
    "feather": Limit(0, 1024, 8, "pixels"),
    "direction": Limit(-1, 360, 90, "degrees"),  # -1: the preset's own
    "any.direction": Limit(-360, 360, 90, "degrees"),
    "speed": Limit(0.0, 20.0, 0.05),
    "edge": Limit(0.0, 0.5, 0.03, "photo widths"),
    "margin": Limit(0.0, 4096.0, 0.25),
    "multiple": Limit(1, 512, 16, "pixels"),
    "crop.size": Limit(0, 8192, 832, "pixels"),
    "still_frame": Limit(-1, FRAMES - 1, -1),  # -1: the sharpest, without people
    "row": Limit(0.0, 1.0, 0.5),
    "overlay.amount": Limit(0.0, 4.0, 1.0),
    "overlay.speed": Limit(0.1, 8.0, 1.0),
    "overlay.size": Limit(0.1, 8.0, 1.0),
    "wind": Limit(-2.0, 2.0, 0.2),
    "camera.amount": Limit(0.0, 0.5, 0.1),
    "parallax": Limit(0.0, 2.0, 1.0),
    # training
    "minutes": Limit(0.001, 100_000.0, 40.0),
    "train.batch": Limit(1, 1024, 1, "clips"),
    "prompts": Limit(1, 100_000, 40),
    "style.steps": Limit(1, 10_000, 250),
    "pictures": Limit(
        1, 20, 12
    ),  # of a style: the paper's source has one, more teach more of the style than of them
}


def check(row: str, value: Any, name: str = "") -> None:
    """Raises ValueError where a number does not fit its row."""
    LIMITS[row].check(name or row.rpartition(".")[2], value)


def within(row: str) -> dict[str, float]:
    """A row's ends as a widget takes them."""
    return {"min": LIMITS[row].low, "max": LIMITS[row].high}
