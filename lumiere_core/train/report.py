"""What `evaluate` counts, and which rows may be believed.

No figure is to be had by a trick: a dead clip has no "standing still", a picture that moves as a whole has no
"direction", and a row that does not count says so in its own note.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..outputs import write_whole
from .probe import ATTRIBUTES
from .world.scenes import Scene, World

# Limits chosen for this evaluation; they are no measurements.
TRUSTED = 0.97  # share of renders that an instrument has to get right before its figure counts
CENTRE_ERROR = 0.03  # frame widths, 2 of 64 pixels: the tracker may be off by so much
ALIVE = (0.5, 2.0)  # dynamic degree between which boiling counts: a frozen clip is smooth but dead
STAYS = (0.8, 1.5)  # background change between which a moving subject counts as moving by itself
FEW = 10  # clips below which a single one is worth more than 10 points
HELD_OUT = (
    "Held out of training: each prompt's subject, colour and motion together. Each word alone was learnt."
)
TRAVEL_ROWS = ("direction", "standing still", "caption flip")  # rows that speak of the subject's travel


@dataclass(frozen=True)
class Record:
    """One clip as the instruments read it."""

    scene: Scene  # what was asked for
    seed: int
    words: dict[str, str]  # what the probe read
    velocity: tuple[float, float]  # frame widths a second
    direction: tuple[int, int]
    change: float  # mean absolute frame difference
    boiling: float  # the same with the subject's motion removed
    background: float  # the same outside the box around the subject


@dataclass(frozen=True)
class Figure:
    """One row of the report. It may be quoted only where `counts` is true, and only together with its note."""

    name: str
    value: float | None  # a share from 0 to 1, or a ratio to the real clips; None: nothing can be said
    real: float  # the same on renders: what the instrument gets right
    shuffled: float | None  # the same with the captions shuffled: what luck would give
    count: int  # clips or pairs
    counts: bool = True
    note: str = ""  # why the row does not count, or what it leaves open

    def void(self, reason: str, value: float | None) -> Figure:
        """The same row, which does not count."""
        return replace(self, value=value, counts=False, note=f"does not count: {reason}")


@dataclass(frozen=True)
class Report:
    """What `evaluate` found."""

    figures: tuple[Figure, ...]
    centre_error: float  # mean distance of the tracker on renders, in frame widths
    verdict: str  # what is wrong with the motion of all clips; empty where nothing is
    made: tuple[Record, ...]

    def __getitem__(self, name: str) -> Figure:
        return next(figure for figure in self.figures if figure.name == name)

    def table(self) -> str:
        """Aligned lines for a terminal."""

        def number(value: float | None, width: int) -> str:
            return f"{'-' if value is None else f'{value:.3f}':>{width}}"

        def row(f: Figure) -> str:
            values = f"{number(f.value, 6)} {number(f.real, 6)} {number(f.shuffled, 8)}"
            return f"{f.name:<16} {values} {f.count:4}  {f.note}".rstrip()

        head = f"{'':<16} {'value':>6} {'real':>6} {'shuffled':>8} {'n':>4}"
        return "\n".join(
            [
                head,
                *map(row, self.figures),
                HELD_OUT,
                *([f"In short: {self.verdict}."] if self.verdict else []),
            ]
        )

    def write(self, path: Path) -> None:
        """Write the report as JSON, with a row for each clip."""
        facts = {
            "held_out": HELD_OUT,
            "verdict": self.verdict,
            "figures": [asdict(f) for f in self.figures],
            "centre_error": self.centre_error,
            "clips": [{"caption": r.scene.caption, **asdict(r)} for r in self.made],
        }
        write_whole(path, (json.dumps(facts, indent=1) + "\n").encode())


# --- What is counted ---


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def ratio(made: Sequence[Record], real: Sequence[Record], name: str) -> float:
    """A frame difference over that of renders of the same scenes, all clips together."""
    return sum(getattr(r, name) for r in made) / max(1e-8, sum(getattr(r, name) for r in real))


def names_right(records: Sequence[Record], scenes: Sequence[Scene], name: str) -> float:
    """Share of clips in which the probe read the word of the caption."""
    return mean([r.words[name] == getattr(scene, name) for r, scene in zip(records, scenes, strict=True)])


def goes_right(records: Sequence[Record], scenes: Sequence[Scene], travels: bool) -> float:
    """Share of clips that go the way of the caption, among captions that travel or among those that stay."""
    pairs = zip(records, scenes, strict=True)
    return mean([r.direction == s.direction for r, s in pairs if (s.direction != (0, 0)) == travels])


def flips(records: Sequence[Record], mirrored: Sequence[Record]) -> float:
    """Share of pairs where "left" goes left and, from the same noise, "right" goes right; luck: a quarter."""
    return mean(
        [
            all(r.velocity[0] * r.scene.direction[0] > 0 for r in pair)
            for pair in zip(records, mirrored, strict=True)
        ]
    )


def can_travel(world: World, scene: Scene) -> bool:
    """Whether the scene's subject goes anywhere in some caption; windmills and campfires never do."""
    motions = world.subjects[scene.subject].motions
    return any(replace(scene, motion=motion).direction != (0, 0) for motion in motions)


def figures_of(world: World, made: Sequence[Record], real: Sequence[Record]) -> Iterator[Figure]:
    """Attributes over all clips, direction over those whose subject can travel."""
    rng = random.Random(0)
    scenes = [r.scene for r in made]
    shuffled = rng.sample(scenes, len(scenes))
    for name in ATTRIBUTES:
        yield Figure(
            name,
            names_right(made, scenes, name),
            names_right(real, scenes, name),
            names_right(made, shuffled, name),
            len(scenes),
        )
    able = [i for i, scene in enumerate(scenes) if can_travel(world, scene)]
    made, real, scenes = ([group[i] for i in able] for group in (made, real, scenes))
    shuffled = rng.sample(scenes, len(scenes))
    for name, travels in (("direction", True), ("standing still", False)):
        count = sum((scene.direction != (0, 0)) == travels for scene in scenes)
        yield Figure(
            name,
            goes_right(made, scenes, travels),
            goes_right(real, scenes, travels),
            goes_right(made, shuffled, travels),
            count,
        )


# --- What may be believed ---


def is_alive(dynamic_degree: float) -> bool:
    return ALIVE[0] <= dynamic_degree <= ALIVE[1]


def verdict_on(dynamic_degree: float, background: float) -> str:
    """What is wrong with the motion of all clips, if anything."""
    times = f"{dynamic_degree:.2f} times the real frame difference"
    if not is_alive(dynamic_degree):
        return f"the clips are {'dead' if dynamic_degree < 1 else 'restless'}, {times}"
    if background > STAYS[1]:
        return f"the background does not stay, {background:.2f} times the real frame difference"
    return ""


def judged(figure: Figure, verdict: str, alive: bool, centre_error: float) -> Figure:
    """The row with all that speaks against it. A dead clip stands still whatever was asked: that is no figure."""
    value, spatial = figure.value, figure.name in ("background", "boiling")
    if not figure.count:
        return figure.void("no prompt asks for it", None)
    if figure.real < TRUSTED:
        return figure.void(f"the instrument gets only {figure.real:.3f} of the renders right", value)
    if verdict and (figure.name in TRAVEL_ROWS or (spatial and not alive)):
        return figure.void(verdict, None if figure.name == "standing still" and not alive else value)
    if spatial and centre_error >= CENTRE_ERROR:
        return figure.void(f"the tracker is off by {centre_error:.3f} of the frame", value)
    if figure.count < FEW:
        return figure.void(f"only {figure.count} asked", value)
    if figure.shuffled is not None and value <= figure.shuffled:
        return replace(figure, note="no better than with shuffled captions")
    if figure.name == "background" and value < STAYS[0]:
        return replace(figure, note="stiller than the real one")
    if spatial or figure.name == "dynamic degree":
        return replace(figure, note=verdict)
    return figure if alive else replace(figure, note=f"of single pictures: {verdict}")
