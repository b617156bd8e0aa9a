"""How a clip that a task made stands beside the real drawn one: what of it is right, and what can be seen of its joins.

`pictures.py` makes the clips. Clips are `(3, T, H, W)` in [-1, 1], of 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from lumiere_core.media.measure import seam_score, xt_slice
from lumiere_core.train.evaluate import read_clips
from lumiere_core.train.probe import Probe
from lumiere_core.train.report import Record, mean
from lumiere_core.train.sheet import tiles
from lumiere_core.train.world.scenes import Scene, subject_path

FPS = 16
LINES = (
    6  # the border, and so many pixels less one further in: a soft edge of 4 pixels moves the step, no more
)
MOMENTS = 8  # of a clip on a sheet


@dataclass
class Found:
    """One clip that a task made, and the drawn one."""

    scene: Scene
    made: Tensor  # as a file has it
    real: Tensor
    given: Tensor  # the same shape: what the task was given
    known: Tensor  # (T, H, W), 1 where it was given
    words: Record
    truth: Record  # the drawn clip's


@dataclass(frozen=True)
class Row:
    """One line of the table. `holds` is None where there is no goal."""

    task: str
    what: str
    made: float
    real: float | None = None
    count: int = 0
    goal: str = ""
    holds: bool | None = None
    clips: Sequence[Found] = field(default=(), repr=False)


def judged(
    probe: Probe, scene: Scene, seed: int, made: Tensor, real: Tensor, given: Tensor, known: Tensor
) -> Found:
    (words, truth), _ = read_clips(probe, [scene, scene], [seed, seed], torch.stack([made, real]))
    return Found(scene, made, real, given, known, words, truth)


def worst_known(found: Found) -> float:
    """The largest difference of a known pixel, in steps of 8 bits."""
    return float(((found.made - found.given).abs().amax(0) * found.known).max()) * 127.5


def moving(clip: Tensor, where: Tensor) -> float:
    """Mean frame difference of the pixels `(H, W)` that are 1, from frame 1 on."""
    steps = clip[:, 1:].diff(dim=1).abs().mean(dim=(0, 1))
    return float((steps * where).sum() / where.sum().clamp(min=1))


def across(clip: Tensor, known: Tensor) -> list[float]:
    """Mean difference of neighbouring pixels on both sides of a line: the mask's border, and each pixel further in."""
    found = []
    for _ in range(LINES):
        total = pairs = 0.0
        for axis in (1, 2):
            edge = known.diff(dim=axis).abs()
            total += float((clip.diff(dim=axis + 1).abs().mean(0) * edge).sum())
            pairs += float(edge.sum())
        found.append(total / max(pairs, 1.0))
        known = F.max_pool2d(known[:, None], 3, 1, 1)[:, 0]
    return found


def seam(clip: Tensor, border: int) -> float:
    """The step to frame `border` over the other steps: of a clip that goes on, about 1."""
    return seam_score(clip, [border])


def share(rights: Sequence[bool]) -> float:
    return mean([float(right) for right in rights])


def ratio(made: Sequence[float], real: Sequence[float]) -> float:
    return sum(made) / max(1e-8, sum(real))


def both(found: Sequence[Found], of: Callable[[Tensor, Found], float]) -> tuple[list[float], list[float]]:
    """A figure of every clip made, and of the drawn ones."""
    return [of(f.made, f) for f in found], [of(f.real, f) for f in found]


def common(task: str, found: Sequence[Found]) -> list[Row]:
    """What is asked of every task."""
    n, worst = len(found), max(worst_known(f) for f in found)
    made, real = both(found, lambda clip, f: moving(clip, 1 - f.known[-1]))
    rows = [
        Row(task, "known pixels: largest difference, of 255", worst, 0.0, n, "0", worst == 0, found),
        *(
            Row(
                task,
                f"{name} as asked",
                share([f.words.words[name] == getattr(f.scene, name) for f in found]),
                share([f.truth.words[name] == getattr(f.scene, name) for f in found]),
                n,
                "at least 0.7",
                share([f.words.words[name] == getattr(f.scene, name) for f in found]) >= 0.7,
            )
            for name in ("subject", "colour")
        ),
    ]
    going = [f for f in found if f.scene.direction != (0, 0)]
    if going:
        right = share([f.words.direction == f.scene.direction for f in going])
        truth = share([f.truth.direction == f.scene.direction for f in going])
        rows.append(Row(task, "direction as asked", right, truth, len(going), "at least 0.7", right >= 0.7))
    least = 1 / 3 if task == "cinemagraph" else None
    rows.append(
        Row(
            task,
            "dynamic degree of what is made, made / real",
            ratio(made, real),
            1.0,
            n,
            "1/3 or more" if least else "",
            ratio(made, real) >= least if least else None,
        )
    )
    return rows


def at_border(task: str, found: Sequence[Found]) -> list[Row]:
    made, real = ([across(getattr(f, name)[:, 1:], f.known[1:]) for f in found] for name in ("made", "real"))
    lines = zip(zip(*made, strict=True), zip(*real, strict=True), strict=True)
    value = max(ratio(of_made, of_real) for of_made, of_real in lines)
    return [
        Row(
            task,
            "gradient across the border, steepest of 6 lines, made / real",
            value,
            1.0,
            len(found),
            "at most 1.2",
            value <= 1.2,
        )
    ]


def stands_outside(task: str, found: Sequence[Found]) -> list[Row]:
    outside = max(moving(f.made, f.known[-1]) for f in found)
    return [Row(task, "frame difference outside", outside, 0.0, len(found), "0", outside == 0)]


def goes_on(task: str, found: Sequence[Found]) -> list[Row]:
    """How far the first frame that is made is from the last one known, beside steps elsewhere."""
    border = int(found[0].known.flatten(1).all(dim=1).sum())  # wholly known frames, at the beginning
    made, real = both(found, lambda clip, f: seam(clip, border))
    value = mean(made)
    step = ratio(*both(found, lambda clip, f: float((clip[:, border] - clip[:, border - 1]).abs().mean())))
    goal = ("at most 1.25", value <= 1.25) if task == "extend" else ("", None)
    return [
        Row(task, f"seam score at frame {border}", value, mean(real), len(found), *goal),
        Row(task, f"step to frame {border}, made / real", step, 1.0, len(found)),
    ]


MEASURES: dict[str, tuple[Callable[[str, Sequence[Found]], list[Row]], ...]] = {
    "image": (common, goes_on),
    "inpaint": (common, at_border),
    "outpaint": (common, at_border),
    "cinemagraph": (common, stands_outside, at_border, goes_on),
    "extend": (common, goes_on),
}


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Aligned, or as Markdown."""
    heads = ("task", "what", "made", "real", "clips", "goal", "holds")
    lines = [
        (
            row.task,
            row.what,
            f"{row.made:.3g}",
            "-" if row.real is None else f"{row.real:.3g}",
            str(row.count),
            row.goal,
            {None: "", True: "yes", False: "no"}[row.holds],
        )
        for row in rows
    ]
    if markdown:
        ruled = [heads, ("---",) * len(heads), *lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in ruled)
    widths = [max(len(line[i]) for line in (heads, *lines)) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, *lines)
    )


def sheet(found: Sequence[Found]) -> Tensor:
    """Two rows for each clip, made and real: the first frames, then moments as far apart, then a slice over time."""
    rows = []
    for f in found:
        frames, size = f.made.shape[1], f.made.shape[-1]
        moments = [0, 1, 2, *torch.linspace(3, frames - 1, MOMENTS - 3).long().tolist()]
        x, y = (subject_path([f.scene], frames, FPS)[0].mean(0)).clamp(0, 0.99).tolist()
        for clip in (f.made, f.real):
            upright = f.scene.direction[1] != 0  # what rises is seen along a column
            slice_ = xt_slice(clip.transpose(2, 3) if upright else clip, x if upright else y)
            over_time = F.interpolate(slice_[None], (size, size), mode="area")[0]
            rows.append([*(clip[:, min(t, frames - 1)] for t in moments), over_time])
    return tiles(rows)
