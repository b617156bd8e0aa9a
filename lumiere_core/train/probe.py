"""The probe, which judges generated clips: a small network that classifies a frame, and a tracker of the subject.

It is trained on renders alone and knows every combination, the held-out ones too. Many of its training
pictures put a subject where it does not live, so that a fish is known by its shape and not by its water.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from ..model.checkpoint import WEIGHTS_FOLDER
from ..model.container import Kind, read_contents, to_contents
from ..outputs import write_whole
from ..rules import each, line, record, whole
from .world.scenes import LICENSE, TRAINED_ON, World, clash, render, subject_path

BUNDLED_PROBE = WEIGHTS_FOLDER / "lumiere-mini-probe.safetensors"
ATTRIBUTES = ("subject", "colour", "place", "time")
PROBE_SIZE = 64  # pixels a side that the probe reads
PROBE_FPS = 16.0  # the rate of the drawn clips
POOL = 128  # lessons that training keeps: 8192 pictures of 64x64, 400 MB
# Frame widths a second: half of the slowest travel that is drawn. Below it a subject stands still.
STILL_BELOW = 0.05


@dataclass(frozen=True)
class ProbeSpec:
    """What a probe can tell apart, and its sizes."""

    subject: tuple[str, ...]
    colour: tuple[str, ...]
    place: tuple[str, ...]
    time: tuple[str, ...]
    channels: tuple[int, int, int] = (24, 64, 128)  # at 32x32, 16x16 and 8x8

    @classmethod
    def of(cls, world: World) -> ProbeSpec:
        return cls(tuple(world.subjects), tuple(world.colours), world.places, tuple(world.times))

    def words(self, attribute: str) -> tuple[str, ...]:
        """The words of one attribute, in the order of its logits."""
        return getattr(self, attribute)


WORD_LIST = each(line(1, 64), 1, 256)
PROBE = record(
    ProbeSpec,
    subject=WORD_LIST,
    colour=WORD_LIST,
    place=WORD_LIST,
    time=WORD_LIST,
    channels=each(whole(8, 1024, step=8), 3, 3),  # normalised in eight groups
)


@dataclass(frozen=True)
class Reading:
    """What the probe sees: logits (B, K) of each attribute, and the subject's centre in the unit square."""

    logits: dict[str, Tensor]
    centre: Tensor  # (B, 2) of frames, (B, T, 2) of clips


class ProbeBlock(nn.Module):
    """Two convolutions around a residual, the first one with the stride."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1)
        self.norm1, self.norm2 = nn.GroupNorm(8, after), nn.GroupNorm(8, after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm1(self.conv1(x)))
        return x + F.silu(self.norm2(self.conv2(x)))


class Probe(nn.Module):
    """Frames `(B, 3, 64, 64)` in [-1, 1] -> `Reading`.

    A softmax over a 16x16 map says where the subject is; subject and colour are named from what lies there.
    """

    def __init__(self, spec: ProbeSpec) -> None:
        super().__init__()
        self.spec = spec
        low, middle, high = spec.channels
        self.stem = nn.Conv2d(12, low, 3, 1, 1)
        self.fine, self.coarse = ProbeBlock(low, middle, 2), ProbeBlock(middle, high, 2)
        self.skip = nn.Conv2d(middle, high, 1)
        self.heat = nn.Conv2d(high, 1, 3, 1, 1)
        self.heads = nn.ModuleDict({name: nn.Linear(2 * high, len(spec.words(name))) for name in ATTRIBUTES})

    def forward(self, frames: Tensor) -> Reading:
        x = F.silu(self.stem(F.pixel_unshuffle(frames, 2)))  # (B, low, 32, 32)
        fine = self.fine(x)  # (B, middle, 16, 16)
        x = F.interpolate(self.coarse(fine), scale_factor=2.0, mode="bilinear")
        x = F.silu(x + self.skip(fine))  # (B, high, 16, 16)
        where = self.heat(x).flatten(1).softmax(dim=1)  # (B, 256)
        steps = (torch.arange(x.shape[-1], device=x.device) + 0.5) / x.shape[-1]
        places = torch.stack([steps.repeat(len(steps)), steps.repeat_interleave(len(steps))], dim=1)
        there = torch.einsum("bn,bcn->bc", where, x.flatten(2))
        seen = torch.cat([there, x.mean(dim=(2, 3))], dim=1)  # (B, 2 * high)
        return Reading({name: head(seen) for name, head in self.heads.items()}, where @ places)

    @torch.inference_mode()
    def read(self, clips: Tensor) -> Reading:
        """Clips `(B, 3, T, H, W)` in [-1, 1], 64x64 or larger: logits averaged over frames, all centres."""
        b, _, t = clips.shape[:3]
        frames = clips.transpose(1, 2).flatten(0, 1).to(self.stem.weight)  # (B*T, 3, H, W)
        parts = [self(part) for part in at_probe_size(frames).split(256)]
        logits = {name: torch.cat([part.logits[name] for part in parts]) for name in ATTRIBUTES}
        logits = {name: rows.unflatten(0, (b, t)).mean(dim=1) for name, rows in logits.items()}  # (B, K)
        return Reading(logits, torch.cat([part.centre for part in parts]).unflatten(0, (b, t)))

    def words(self, reading: Reading) -> list[dict[str, str]]:
        """The likeliest word of each attribute, a row for each frame or clip."""
        best = {name: rows.argmax(dim=1).tolist() for name, rows in reading.logits.items()}
        columns = ([self.spec.words(name)[i] for i in best[name]] for name in ATTRIBUTES)
        return [dict(zip(ATTRIBUTES, row, strict=True)) for row in zip(*columns, strict=True)]


def at_probe_size(frames: Tensor) -> Tensor:
    """Frames `(B, 3, H, W)` averaged down to what the probe reads."""
    return (
        frames
        if frames.shape[-2:] == (PROBE_SIZE, PROBE_SIZE)
        else F.interpolate(frames, (PROBE_SIZE, PROBE_SIZE), mode="area")
    )


# --- The tracker ---


def velocity(centres: Tensor, fps: float = PROBE_FPS) -> Tensor:
    """Travel `(B, 2)` in frame widths a second, from centres `(B, T, 2)`, T at least 2.

    The median of all slopes between frames at least a quarter of the clip apart (after Theil and Sen): some
    of the frames may be misread.
    """
    t = centres.shape[1]
    first, last = torch.triu_indices(t, t, offset=max(1, t // 4), device=centres.device)
    slopes = (centres[:, last] - centres[:, first]) / ((last - first) / fps)[:, None]
    return slopes.median(dim=1).values


def direction(velocities: Tensor) -> list[tuple[int, int]]:
    """The way of each velocity `(B, 2)` along its longer axis, as in `Scene.direction`; (0, 0) is still."""
    ways = []
    for x, y in velocities.tolist():
        if max(abs(x), abs(y)) < STILL_BELOW:
            ways.append((0, 0))
        else:
            ways.append(((x > 0) - (x < 0), 0) if abs(x) >= abs(y) else (0, (y > 0) - (y < 0)))
    return ways


# --- Files ---


PROBE_FILE = Kind(
    format="lumiere-probe",
    version=1,
    what="a probe",
    remedy="Use the one in the weights folder, or train one with `python -m lumiere_core train probe`.",
    parse=partial(PROBE, "spec"),
    build=Probe,
    least=lambda spec: 0,  # every probe has the same layers
)


def save_probe(path: Path, probe: Probe) -> None:
    """Write a probe as fp16, with its words in the metadata. Raises ValueError where it has not become one."""
    tensors = {name: p.to("cpu", torch.float16).contiguous() for name, p in probe.state_dict().items()}
    write_whole(path, to_contents(PROBE_FILE, asdict(probe.spec), tensors, LICENSE, TRAINED_ON))


def load_probe(path: Path = BUNDLED_PROBE, device: Any = "cpu") -> Probe:
    """A probe ready to judge. Raises ValueError for a file that is none, or newer than this version."""
    contents = read_contents(Path(path), PROBE_FILE)
    probe = Probe(contents.spec)
    probe.load_state_dict(contents.tensors)
    return probe.to(device).eval().requires_grad_(False)


# --- Training ---


@dataclass(frozen=True)
class Lesson:
    """Pictures and their truth."""

    frames: Tensor  # (N, 3, 64, 64) in [-1, 1]
    labels: Tensor  # (N, 4), in the order of ATTRIBUTES
    centres: Tensor  # (N, 2)


def draw_lesson(world: World, spec: ProbeSpec, rng: random.Random, count: int = 16, each: int = 4) -> Lesson:
    """`each` frames of `count` scenes of one subject, every other time in a place from the whole world."""
    subject = rng.choice(spec.subject)
    place = rng.choice([rng.choice(world.subjects[subject].places), rng.choice(spec.place)])
    scenes = [replace(world.scene(rng, subject=subject), place=place) for _ in range(count)]
    scenes = [scene for scene in scenes if not clash(scene.colour, place)]
    if place == "underwater":
        scenes = [replace(scene, weather="") for scene in scenes]
    timing = {"num_frames": each, "fps": each / 5, "start": torch.rand(len(scenes)) * 5 / each}
    frames = (
        render(scenes, height=PROBE_SIZE, width=PROBE_SIZE, **timing).transpose(1, 2).flatten(0, 1) * 2 - 1
    )
    labels = [[spec.words(name).index(getattr(scene, name)) for name in ATTRIBUTES] for scene in scenes]
    centres = subject_path(scenes, **timing).flatten(0, 1)
    return Lesson(frames, torch.tensor(labels).repeat_interleave(each, dim=0), centres)


def batch_of(lessons: Sequence[Lesson], each: int, generator: torch.Generator) -> Lesson:
    """`each` pictures of every lesson, half of them mirrored."""
    picks = [torch.randint(len(lesson.labels), (each,), generator=generator) for lesson in lessons]

    def gather(name: str) -> Tensor:
        return torch.cat([getattr(lesson, name)[i] for lesson, i in zip(lessons, picks, strict=True)])

    frames, centres = gather("frames"), gather("centres")
    mirror = torch.rand(len(frames), generator=generator) < 0.5
    frames = torch.where(mirror[:, None, None, None], frames.flip(-1), frames)
    x, y = centres.unbind(dim=1)
    return Lesson(frames, gather("labels"), torch.stack([torch.where(mirror, 1 - x, x), y], dim=1))


def disturbed(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Frames as a model early in training makes them: bent outlines, soft, noisy, a little too dark or too pale.

    The strengths are a choice, without a source.
    """
    b, _, h, w = frames.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(b, 1, 1, 1, generator=generator)

    bend = torch.randn(b, 2, 6, 6, generator=generator) * uniform(0, 0.05)
    bend = F.interpolate(bend, (h, w), mode="bicubic").permute(0, 2, 3, 1)  # (B, H, W, 2)
    straight = F.affine_grid(torch.eye(2, 3).expand(b, 2, 3), [b, 3, h, w], align_corners=False)
    frames = F.grid_sample(frames, straight + bend, padding_mode="reflection", align_corners=False)
    half, quarter = (
        F.interpolate(F.avg_pool2d(frames, factor), (h, w), mode="bilinear") for factor in (2, 4)
    )
    soft = torch.where(uniform(0, 1) < 0.3, quarter, half)
    frames = frames.lerp(soft, uniform(-0.5, 1).clamp(min=0))
    frames = frames * uniform(0.85, 1.15) + uniform(-0.1, 0.1)
    noise = torch.randn(frames.shape, generator=generator) * uniform(-0.1, 0.2).clamp(min=0)
    return (frames + noise).clamp(-1, 1)


def probe_loss(reading: Reading, truth: Lesson) -> Tensor:
    """Cross entropy of the four attributes, and the distance of the centre."""
    pairs = zip(ATTRIBUTES, truth.labels.unbind(dim=1), strict=True)
    named = sum(F.cross_entropy(reading.logits[name], labels) for name, labels in pairs)
    # beta: about a pixel of 64, below which the centre is good enough. 10: a tenth of the frame off costs 0.9.
    return named + 10 * F.smooth_l1_loss(reading.centre, truth.centres, beta=0.02)


def train_probe(
    world: World,
    steps: int = 600,
    batch: int = 128,
    lr: float = 3e-3,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> Probe:
    """Train a probe for a world on the CPU: about 5 minutes on one thread. progress(steps done, steps, loss).

    Where other programs share the processor, `torch.set_num_threads(1)` is faster than two threads that wait.
    """
    torch.manual_seed(seed)
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    spec = ProbeSpec.of(world)
    probe = Probe(spec).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=0.01)
    lessons = [draw_lesson(world, spec, rng) for _ in range(16)]
    for step in range(steps):
        lessons = [*lessons[-POOL:], draw_lesson(world, spec, rng)]
        truth = batch_of(rng.choices(lessons, k=batch // 4), 4, generator)
        frames = disturbed(truth.frames, generator).contiguous(memory_format=torch.channels_last)
        loss = probe_loss(probe(frames), truth)
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 50, 2 * (1 - step / steps))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
        optimizer.step()
        if progress:
            progress(step + 1, steps, loss.item())
    return probe.eval().requires_grad_(False)
