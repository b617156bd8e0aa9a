"""Scores a text-to-video model on captions whose combination of subject, colour and motion is left out of training.

It knows no model, only a function from captions and seeds to clips. The instruments are measured first, on
renders of the same scenes: a figure counts only where its instrument is right on at least 97 % of them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

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
from .report import Figure, Record, Report, figures_of, flips, is_alive, judged, ratio, verdict_on
from .world.scenes import WORLDS, Scene, clash, held_out_list, render, subject_path

MakeClips = Callable[[list[str], list[int]], Tensor]  # captions, seeds -> (B, 3, T, H, W) in [-1, 1]

BATCH = 8  # clips of 80 frames at a time, for memory
REACH = 0.25  # frame widths from a subject's centre to the side of its box
VISIBLE = 2 / 255  # one step of 8 bits in [-1, 1]: a change below it is none that a screen can show


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


def flip_pairs(scenes: Sequence[Scene], count: int) -> list[int]:
    """Indices of up to `count` scenes that go left or right, spread evenly."""
    sideways = [i for i, scene in enumerate(scenes) if scene.direction[0]]
    count = min(count, len(sideways))
    return [sideways[i * len(sideways) // count] for i in range(count)]


# --- How a clip is measured ---


def changes(clips: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean absolute frame difference of clips, with the subject's motion removed, and outside its box: (B,) each.

    clips `(B, 3, T, H, W)`, tracked centres `(B, T, 2)`. The two frames of a pair are moved towards each
    other by half of the step, so that both become equally soft. Inside a box around the subject each pixel
    may stay or travel along, whichever changes it less, as the box shows what is behind the subject too.
    Outside the box only what exceeds one step of 8 bits counts: a drawn background changes by a seventh of a step.
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
    seen = (staying - VISIBLE).clamp(min=0) * ~box
    outside = seen.reshape(b, -1).sum(dim=1) / (~box).reshape(b, -1).sum(dim=1)
    return *(difference.reshape(b, -1).mean(dim=1) for difference in (staying, rest)), outside


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
    captions: Sequence[str] | None = None,
) -> list[Record]:
    """Clips made and read, by the scenes' captions or by others. Raises ValueError for clips of another length."""
    captions = captions or [scene.caption for scene in scenes]
    records = []
    for i in range(0, len(scenes), BATCH):
        group, numbers = list(scenes[i : i + BATCH]), list(seeds[i : i + BATCH])
        clips = make_clips(list(captions[i : i + BATCH]), numbers)
        if clips.ndim == 5 and clips.shape[2] != num_frames:
            raise ValueError(
                f"clips have {clips.shape[2]} frames, but {num_frames} are to be judged. "
                f"Make {num_frames}, or ask for {clips.shape[2]}."
            )
        records += read_clips(probe, group, numbers, clips)[0]
        if progress:
            progress(len(records), len(scenes), what)
    return records


def check_probe(probe: Probe, world: str) -> Probe:
    """The probe. Raises ValueError where it was trained on another world."""
    wanted = ProbeSpec.of(WORLDS[world])
    if any(probe.spec.words(name) != wanted.words(name) for name in ATTRIBUTES):
        raise ValueError(
            f"the probe knows other words than the {world} world. Train one for it with "
            "train.probe.train_probe."
        )
    return probe


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
    probe = check_probe(probe or load_probe(), world)
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
    ratios = {
        "dynamic degree": ratio(made, real, "change"),
        "background": ratio(made, real, "background"),
        "boiling": ratio(made, real, "boiling"),
    }
    verdict = verdict_on(ratios["dynamic degree"], ratios["background"])
    alive = is_alive(ratios["dynamic degree"])
    figures = [
        *figures_of(WORLDS[world], made, real),
        flip,
        *(Figure(name, value, 1.0, None, len(made)) for name, value in ratios.items()),
    ]
    report = Report(tuple(judged(f, verdict, alive, error) for f in figures), error, verdict, tuple(made))
    show(report.table())
    return report
