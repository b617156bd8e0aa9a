"""Scores a text-to-video model on captions whose combination of subject, colour and motion is left out of training.

It knows no model, only a function from captions and seeds to clips. The instruments are measured first, on
renders of the same scenes: a figure counts only where its instrument is right on at least 97 % of them.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.checkpoint import write_whole
from ..progress import Progress
from .probe import (
    ATTRIBUTES,
    PROBE_FPS,
    PROBE_SIZE,
    Probe,
    ProbeSpec,
    at_probe_size,
    direction,
    load_probe,
    velocity,
)
from .world.scenes import WORLDS, Scene, World, clash, held_out_list, render, subject_path

MakeClips = Callable[[list[str], list[int]], Tensor]  # captions, seeds -> (B, 3, T, H, W) in [-1, 1]

# Limits chosen for this evaluation; they are no measurements.
TRUSTED = 0.97  # share of renders that an instrument has to get right before its figure counts
CENTRE_ERROR = (
    0.03  # frame widths, 2 of 64 pixels: by so much the tracker may be off where boiling is measured
)
ALIVE = (0.5, 2.0)  # dynamic degree between which boiling counts: a frozen clip is smooth but dead
BATCH = 8  # clips of 80 frames at a time, for memory
REACH = 0.25  # frame widths from a subject's centre to the side of its box


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


@dataclass(frozen=True)
class Figure:
    """One score and how far to believe it, each a share from 0 to 1."""

    name: str
    value: float
    real: float  # the same on renders: what the instrument gets right
    shuffled: float | None  # the same with the captions shuffled: what luck would give
    count: int  # clips or pairs

    @property
    def trusted(self) -> bool:
        return self.real >= TRUSTED


@dataclass(frozen=True)
class Report:
    """What `evaluate` found."""

    figures: tuple[Figure, ...]
    centre_error: float  # mean distance of the tracker on renders, in frame widths
    dynamic_degree: float  # frame difference over that of renders of the same scenes; 0 is frozen
    boiling: float  # the same with the subject's motion removed
    made: tuple[Record, ...]

    def __getitem__(self, name: str) -> Figure:
        return next(figure for figure in self.figures if figure.name == name)

    @property
    def verdict(self) -> str:
        """Why the boiling figure does not count; empty if it does."""
        if self.dynamic_degree < ALIVE[0]:
            return f"boiling does not count: dynamic degree below {ALIVE[0]:g}, the clips are dead"
        if self.dynamic_degree > ALIVE[1]:
            return f"boiling does not count: dynamic degree above {ALIVE[1]:g}, all is restless"
        return "" if self.centre_error < CENTRE_ERROR else "not to be trusted: the tracker is off"

    def table(self) -> str:
        """Aligned lines for a terminal."""

        def row(name: str, value: float, real: float, shuffled: float | None, count: int, note: str) -> str:
            luck = "-" if shuffled is None else f"{shuffled:.3f}"
            return f"{name:<15} {value:6.3f} {real:6.3f} {luck:>8} {count:4}  {note}".rstrip()

        n = len(self.made)
        return "\n".join(
            [
                f"{'':<15} {'value':>6} {'real':>6} {'shuffled':>8} {'n':>4}",
                *(row(*astuple(f), "" if f.trusted else "not to be trusted") for f in self.figures),
                row("dynamic degree", self.dynamic_degree, 1.0, None, n, ""),
                row("boiling", self.boiling, 1.0, None, n, self.verdict),
            ]
        )

    def write(self, path: Path) -> None:
        """Write the report as JSON, with a row for each clip."""
        facts = {
            "figures": [{**asdict(f), "trusted": f.trusted} for f in self.figures],
            "dynamic_degree": self.dynamic_degree,
            "boiling": self.boiling,
            "verdict": self.verdict,
            "centre_error": self.centre_error,
            "clips": [{"caption": r.scene.caption, **asdict(r)} for r in self.made],
        }
        write_whole(path, (json.dumps(facts, indent=1) + "\n").encode())


# --- What is asked ---


def held_out_scenes(world: str, count: int | None = None, seed: int = 1_000_000) -> list[Scene]:
    """Every held-out combination in every place and time, or `count` of them at random, sorted by place.

    A scene's own seed only matters to its render. Raises ValueError where there are fewer than `count`.
    """
    contexts = WORLDS[world].contexts
    scenes = [
        Scene(*combination, *context)
        for combination in held_out_list(world)
        for context in contexts(combination[0])
        if not clash(combination[1], context[0])
    ]
    if count is not None:
        if not 1 <= count <= len(scenes):
            raise ValueError(f"prompts is {count}, but {world} has {len(scenes)} held-out prompts. Try 40.")
        scenes = random.Random(seed).sample(scenes, count)
    scenes = sorted(scenes, key=lambda scene: (scene.subject, scene.place))
    return [replace(scene, seed=seed + i) for i, scene in enumerate(scenes)]


def can_travel(world: World, scene: Scene) -> bool:
    """Whether the scene's subject goes anywhere in some caption; windmills and campfires never do."""
    motions = world.subjects[scene.subject].motions
    return any(replace(scene, motion=motion).direction != (0, 0) for motion in motions)


def flip_pairs(scenes: Sequence[Scene], count: int) -> list[int]:
    """Indices of up to `count` scenes that go left or right, spread evenly."""
    sideways = [i for i, scene in enumerate(scenes) if scene.direction[0]]
    count = min(count, len(sideways))
    return [sideways[i * len(sideways) // count] for i in range(count)]


# --- How a clip is measured ---


def changes(clips: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute frame difference of clips, and the same with the subject's motion removed: (B,) each.

    clips `(B, 3, T, H, W)`, tracked centres `(B, T, 2)`. The two frames of a pair are moved towards each
    other by half of the step, so that both become equally soft. Inside a box around the subject each pixel
    may stay or travel along, whichever changes it less, as the box shows what is behind the subject too.
    """
    b, _, t, h, w = clips.shape
    steps = centres.diff(dim=1).transpose(1, 2)  # (B, 2, T - 1)
    steps = F.avg_pool1d(steps, 17, 1, 8, count_include_pad=False)  # mean over 17 frames, a second at 16 fps
    steps = steps.transpose(1, 2).flatten(0, 1)  # (B * (T - 1), 2)
    before, after = (part.transpose(1, 2).flatten(0, 1) for part in (clips[:, :, :-1], clips[:, :, 1:]))
    staying = (after - before).abs().mean(dim=1)  # (B * (T - 1), H, W)
    moving = (moved(after, -steps / 2) - moved(before, steps / 2)).abs().mean(dim=1)
    x, y = ((torch.arange(n, device=clips.device) + 0.5) / n for n in (w, h))
    middle = (centres[:, 1:] + centres[:, :-1]).flatten(0, 1) / 2
    near_x, near_y = (x - middle[:, :1]).abs() < REACH, (y - middle[:, 1:]).abs() < REACH
    box = near_y[:, :, None] & near_x[:, None, :]
    rest = torch.where(box, torch.minimum(staying, moving), staying)
    return tuple(difference.reshape(b, -1).mean(dim=1) for difference in (staying, rest))


def moved(frames: Tensor, by: Tensor) -> Tensor:
    """Frames `(B, 3, H, W)` whose content is shifted `by` (B, 2) of the frame, borders repeated."""
    theta = torch.eye(2, 3, device=frames.device).repeat(len(frames), 1, 1)
    theta[:, :, 2] = -2 * by
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, padding_mode="border", align_corners=False)


@torch.inference_mode()
def read_clips(
    probe: Probe, scenes: Sequence[Scene], seeds: Sequence[int], clips: Tensor
) -> tuple[list[Record], Tensor]:
    """Records of clips `(B, 3, T, H, W)` in [-1, 1], and the tracked centres `(B, T, 2)`.

    Raises ValueError for clips of another shape, or with values that are not numbers.
    """
    if clips.ndim != 5 or clips.shape[:2] != (len(scenes), 3) or clips.shape[2] < 2:
        raise ValueError(
            f"clips are {tuple(clips.shape)}, but {len(scenes)} captions make "
            f"({len(scenes)}, 3, T, H, W) with T of at least 2."
        )
    if not clips.isfinite().all():
        raise ValueError("a clip holds values that are not numbers. Sample in float32, or with a lower cfg.")
    clips = clips.to(probe.stem.weight).clamp(-1, 1)
    frames = at_probe_size(clips.transpose(1, 2).flatten(0, 1))
    clips = frames.unflatten(0, (len(scenes), -1)).transpose(1, 2)
    reading = probe.read(clips)
    speeds = velocity(reading.centre)
    rows = zip(
        scenes,
        seeds,
        probe.words(reading),
        map(tuple, speeds.tolist()),
        direction(speeds),
        *(change.tolist() for change in changes(clips, reading.centre)),
        strict=True,
    )
    return [Record(*row) for row in rows], reading.centre


def batches(scenes: Sequence[Scene]) -> Iterator[list[int]]:
    """Indices in groups of at most `BATCH` neighbours that share subject and place."""
    for _, group in itertools.groupby(range(len(scenes)), key=lambda i: (scenes[i].subject, scenes[i].place)):
        indices = list(group)
        yield from (indices[i : i + BATCH] for i in range(0, len(indices), BATCH))


def read_renders(
    probe: Probe, scenes: Sequence[Scene], num_frames: int, progress: Progress | None
) -> tuple[list[Record], float]:
    """The scenes drawn and read, and the tracker's mean distance from the true centre in frame widths."""
    records, errors = [], []
    for indices in batches(scenes):
        group = [scenes[i] for i in indices]
        seeds, device = [scene.seed for scene in group], probe.stem.weight.device
        clips = render(group, num_frames, PROBE_SIZE, PROBE_SIZE, PROBE_FPS, device=device) * 2 - 1
        found, centres = read_clips(probe, group, seeds, clips)
        records += found
        path = subject_path(group, num_frames, PROBE_FPS, device=device)
        errors.append((centres - path).norm(dim=-1).mean(dim=1))
        if progress:
            progress(len(records), len(scenes), "renders")
    return records, torch.cat(errors).mean().item()


def read_made(
    probe: Probe,
    make_clips: MakeClips,
    scenes: Sequence[Scene],
    seeds: Sequence[int],
    num_frames: int,
    progress: Progress | None,
    what: str,
) -> list[Record]:
    """The captions made and read. Raises ValueError for clips of another length."""
    records = []
    for i in range(0, len(scenes), BATCH):
        group, numbers = list(scenes[i : i + BATCH]), list(seeds[i : i + BATCH])
        clips = make_clips([scene.caption for scene in group], numbers)
        if clips.ndim == 5 and clips.shape[2] != num_frames:
            raise ValueError(
                f"clips have {clips.shape[2]} frames, but {num_frames} are to be judged. "
                f"Make {num_frames}, or ask for {clips.shape[2]}."
            )
        records += read_clips(probe, group, numbers, clips)[0]
        if progress:
            progress(len(records), len(scenes), what)
    return records


# --- What is counted ---


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


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


def evaluate(
    make_clips: MakeClips,
    world: str = "small",
    prompts: int | None = None,
    probe: Probe | None = None,
    pairs: int = 20,
    num_frames: int = 80,
    seed: int = 0,
    progress: Progress | None = None,
    show: Callable[[str], None] = print,
) -> Report:
    """Score a model on held-out captions and show the table.

    make_clips  captions and seeds, at most `BATCH` -> clips `(B, 3, T, H, W)` in [-1, 1], T = num_frames at
                16 frames a second, 64x64 or larger (averaged down to 64)
    world       a row of scenes.WORLDS, the one that `probe` was trained on
    prompts     how many; by default all, 204 in the small world
    probe       by default the bundled one
    pairs       captions that are made again with left and right swapped, from the same seed
    progress    (done, total, what) after each batch
    Raises ValueError for a probe of another world, a wrong number of prompts and clips of another kind.
    """
    probe = probe or load_probe()
    wanted = ProbeSpec.of(WORLDS[world])
    if any(probe.spec.words(name) != wanted.words(name) for name in ATTRIBUTES):
        raise ValueError(
            f"the probe knows other words than the {world} world. Train one for it with "
            "train.probe.train_probe."
        )
    scenes = held_out_scenes(world, prompts)
    seeds = [seed + i for i in range(len(scenes))]
    sideways = flip_pairs(scenes, pairs)
    mirrored = [scenes[i].flipped() for i in sideways]

    real, error = read_renders(probe, [*scenes, *mirrored], num_frames, progress)
    real, real_mirrored = real[: len(scenes)], real[len(scenes) :]
    instruments = list(figures_of(WORLDS[world], real, real))
    show(
        f"instruments on {len(real)} renders: "
        + ", ".join(f"{f.name} {f.real:.3f}" for f in instruments)
        + f"; centre off by {error:.3f} of the frame"
    )

    made = read_made(probe, make_clips, scenes, seeds, num_frames, progress, "prompts")
    same = [seeds[i] for i in sideways]
    made_mirrored = read_made(probe, make_clips, mirrored, same, num_frames, progress, "caption flips")
    flip = Figure(
        "caption flip",
        flips([made[i] for i in sideways], made_mirrored),
        flips([real[i] for i in sideways], real_mirrored),
        None,
        len(sideways),
    )
    ratios = [
        sum(getattr(r, name) for r in made) / max(1e-8, sum(getattr(r, name) for r in real))
        for name in ("change", "boiling")
    ]
    report = Report((*figures_of(WORLDS[world], made, real), flip), error, *ratios, tuple(made))
    show(report.table())
    return report
