"""The three stages of training, as rows: which clips, which parameters, which loss."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch import Tensor

from ..config import PRESETS, ModelSpec, replace
from ..diffusion.process import Process, noised, time_of
from ..model.checkpoint import Lumiere
from .data import SECONDS, Batch, DrawClips, Spoil, draw_pairs, draw_windows
from .gauge import EnlargingGauge, Gauge, bicubic, one_step
from .masks import drawn_condition
from .world.scenes import Scene

LATE = 0.05, 0.5  # noise levels at which a clip's places and edges are decided and its texture is not
FAINT = 5e-4  # mean square by which bicubic errs where there is next to nothing to add


@dataclass(frozen=True)
class Phase:
    """A part of a stage with one clip length and batch size."""

    share: float  # of the stage's time
    num_frames: int
    batch: int
    pool: int  # clips held
    group: int  # clips drawn in one call
    every: int  # steps between two such calls
    fps: float = 16.0  # of the clips drawn: 20 frames at 4 fps show all 5 s for a quarter of the work
    shift: float | None = None  # of the noise levels drawn; None: the model's own
    crop: float = 1.0  # share of the side that super-resolution sees


Loss = Callable[["Stage", Phase, Lumiere, Batch, torch.Generator], Tensor]


# ---------------------------------------------------------------------------------------------------------- losses
def drawn_sigmas(phase: Phase, spec: ModelSpec, count: int, generator: torch.Generator) -> Tensor:
    """Noise levels of a step, uniform in spaced time between 0 and where sampling starts. `(B,)`"""
    diffusion = spec.diffusion if phase.shift is None else replace(spec.diffusion, shift=phase.shift)
    process = Process(diffusion)
    u = torch.rand(count, generator=generator, device=generator.device)
    return process.sigma_of(u * process.u_max)


def dropped(stage: Stage, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Word ids and seconds, some of them left out: guidance needs clips without a caption, and the image model stays
    one that makes pictures without a second."""
    ids, when = batch.ids, batch.when
    chance = torch.rand(2, len(ids), 1, generator=generator, device=generator.device)
    ids = torch.where(chance[0] < stage.empty_caption, torch.zeros_like(ids), ids)
    return ids, torch.where(chance[1] < stage.no_second, torch.full_like(when, -1.0), when)


def picture_loss(
    stage: Stage, phase: Phase, model: Lumiere, batch: Batch, generator: torch.Generator
) -> Tensor:
    """Mean squared error of v over single pictures, each told its second."""
    process, (ids, when) = Process(model.spec.diffusion), dropped(stage, batch, generator)
    sigma = drawn_sigmas(phase, model.spec, len(ids), generator)
    x0, wide = batch.clips[:, :, 0], sigma.view(-1, 1, 1, 1)
    noise = torch.randn(x0.shape, generator=generator, device=x0.device)
    noisy = process.scaled(x0 + wide * noise, wide)
    made = model.network(noisy, time_of(sigma), model.text(ids), when=when).float()
    return process.as_v(made - process.target(x0, noise, wide), wide).square().mean()


def clip_loss(stage: Stage, phase: Phase, model: Lumiere, batch: Batch, generator: torch.Generator) -> Tensor:
    """Mean squared error of v over clips whose frames share noise, and of its change from frame to frame.

    The second part weighs up what boils: the best prediction for one is the best for the other, but an error that
    flickers costs `1 + 4 flicker` times what a standing one costs.
    """
    process, (ids, when) = Process(model.spec.diffusion), dropped(stage, batch, generator)
    sigma = drawn_sigmas(phase, model.spec, len(ids), generator)
    x0, wide = batch.clips, sigma.view(-1, 1, 1, 1, 1)
    noise = process.shared(torch.randn(x0.shape, generator=generator, device=x0.device))
    noisy = process.scaled(x0 + wide * noise, wide)
    condition = drawn_condition(x0, generator) if model.spec.temporal.condition_channels else None
    made = model.network(noisy, time_of(sigma), model.text(ids), condition, when=when).float()
    error = process.as_v(made - process.target(x0, noise, wide), wide)
    return error.square().mean() + stage.flicker * error.diff(dim=2).square().mean()


def enlarging_loss(
    stage: Stage, phase: Phase, model: Lumiere, batch: Batch, generator: torch.Generator
) -> Tensor:
    """Mean squared error of x0, and its mean change from frame to frame, given the small clip with a little noise.

    The change is not squared: most of a clip stands still, and what shimmers there by little is seen, while squares
    count moving edges alone.

    Each clip's error counts beside that of bicubic enlargement of what the network is given. Else those that were
    spoilt or noised most, whose error is 20 times as large and can hardly be mended, are all that is learnt.
    """
    process, (ids, _) = Process(model.spec.diffusion), dropped(stage, batch, generator)
    sigma = drawn_sigmas(phase, model.spec, len(ids), generator)
    x0, wide = batch.clips, sigma.view(-1, 1, 1, 1, 1)
    noise = process.shared(torch.randn(x0.shape, generator=generator, device=x0.device))
    # Mostly little, as it is used: half of the clips are below a 40th.
    level = torch.rand(len(x0), generator=generator, device=x0.device) ** 4 * 0.4
    extra = torch.randn(batch.small.shape, generator=generator, device=x0.device)
    small = noised(batch.small, extra, level.view(-1, 1, 1, 1, 1))
    x = process.scaled(x0 + wide * noise, wide)
    made = model.network(x, time_of(sigma), model.text(ids), low_res=small, noise_level=level).float()
    plain = (bicubic(small, model.spec.scale) - x0).square().mean(dim=(1, 2, 3, 4), keepdim=True)
    error = made - process.target(x0, noise, wide)
    error = error * (plain + FAINT).rsqrt()
    return error.square().mean() + stage.flicker * error.diff(dim=2).abs().mean()


# ----------------------------------------------------------------------------------------------------------- clips
def windows(phase: Phase, spec: ModelSpec, before: Lumiere | None, device: str) -> DrawClips:
    """Whole pictures, at random times."""
    return draw_windows(phase.num_frames, spec.size, device, fps=phase.fps)


def pairs(phase: Phase, spec: ModelSpec, before: Lumiere | None, device: str) -> DrawClips:
    """Crops, large and small; half of the small ones as the base model leaves a clip."""
    return draw_pairs(
        phase.num_frames, spec.size, spec.scale, phase.crop, left_by(before, phase.fps), device, phase.fps
    )


def left_by(model: Lumiere, fps: float) -> Spoil:
    """Clips as a base model has them in its late steps: soft, mottled and restless, as its own are."""

    def spoil(clips: Tensor, scenes: list[Scene], start: Tensor, rng: random.Random) -> Tensor:
        generator = torch.Generator(clips.device).manual_seed(rng.getrandbits(31))
        noise = torch.randn(clips.shape, generator=generator, device=clips.device)
        levels = [math.exp(rng.uniform(*map(math.log, LATE))) for _ in scenes]
        when = (start[:, None] + torch.arange(clips.shape[2]) / fps) / SECONDS
        context = model.text.encode([scene.caption for scene in scenes])
        x0 = one_step(
            model, clips * 2 - 1, torch.tensor(levels).to(clips), noise, context=context, when=when.to(clips)
        )
        return (x0 / 2 + 0.5).clamp(0, 1)

    return spoil


# ---------------------------------------------------------------------------------------------------------- gauges
def clip_gauge(scenes: Sequence[Scene], phase: Phase, spec: ModelSpec, draw: DrawClips, device: str) -> Gauge:
    return Gauge(scenes, phase.num_frames, phase.fps, spec.size, device)


def pair_gauge(
    scenes: Sequence[Scene], phase: Phase, spec: ModelSpec, draw: DrawClips, device: str
) -> EnlargingGauge:
    return EnlargingGauge(scenes, draw, device)


# ---------------------------------------------------------------------------------------------------------- stages
@dataclass(frozen=True)
class Stage:
    """One command of the recipe."""

    name: str
    minutes: float
    lr: float  # of the plateau
    phases: tuple[Phase, ...]
    loss: Loss
    trains: str  # parameters whose name begins so; all others stay
    spec: Callable[[str], ModelSpec] = PRESETS.__getitem__  # what the stage makes, by preset
    draw: Callable[[Phase, ModelSpec, Lumiere | None, str], DrawClips] = windows
    gauge: Callable[[Sequence[Scene], Phase, ModelSpec, DrawClips, str], Gauge | EnlargingGauge] = clip_gauge
    gauged: int = 48  # pictures, or the frames of so many: a look costs about as much as ten steps
    needs: str = ""  # the stage whose result it starts from
    takes: tuple[str, ...] = ()  # parts of that stage's weights it takes over
    spoils: bool = False  # whether that stage's model spoils small clips
    ema: float = 0.999
    empty_caption: float = 0.1  # share of clips trained without their caption
    no_second: float = 0.1  # share of clips trained without their second
    flicker: float = 0.0  # weight of the error's change from frame to frame


def image_spec(preset: str) -> ModelSpec:
    """The model that is inflated later: without time."""
    return replace(PRESETS[preset], kind="image", temporal=None, num_frames=1)


def enlarging_spec(preset: str) -> ModelSpec:
    """There is one, whatever the base model's preset."""
    return PRESETS["mini-ssr"]


def stages(
    t2i: tuple[float, tuple[Phase, ...]],
    temporal: tuple[float, tuple[Phase, ...]],
    ssr: tuple[float, tuple[Phase, ...]],
) -> dict[str, Stage]:
    """The recipe for one kind of machine: minutes and phases of each stage.

    The image model learns at 3e-3: words reached the picture at that rate, and not at 1e-3 (docs/recipe.md). The other
    stages have kept the 1e-3 that they began with.
    """
    both = ("text.", "network.")
    return {
        "t2i": Stage("t2i", t2i[0], 3e-3, t2i[1], picture_loss, "", image_spec),
        "temporal": Stage(
            "temporal",
            temporal[0],
            1e-3,
            temporal[1],
            clip_loss,
            "network.temporal.",
            needs="t2i",
            takes=both,
            flicker=10.0,
        ),
        "ssr": Stage(
            "ssr",
            ssr[0],
            1e-3,
            ssr[1],
            enlarging_loss,
            "network.",
            enlarging_spec,
            pairs,
            pair_gauge,
            gauged=192,
            needs="temporal",
            takes=both[:1],
            spoils=True,
            empty_caption=0.3,
            flicker=1.0,
        ),
    }


# The clips' shift is 4: most of their steps lie where only the place of things is decided, and the frozen image model
# has to be at home there. It begins at shift 8, as places and directions take the longest to learn, and ends at 2,
# where surfaces become smooth. The temporal stage learns what the image model cannot know, that surfaces stay as they
# are; most of that is at small noise.
STAGES = stages(
    t2i=(
        180,
        (
            Phase(0.4, 1, 32, 24576, 64, 4, shift=8.0),
            Phase(0.4, 1, 32, 24576, 64, 4, shift=4.0),
            Phase(0.2, 1, 32, 24576, 64, 4, shift=2.0),
        ),
    ),
    temporal=(150, (Phase(0.4, 20, 8, 2048, 16, 8, shift=2.0), Phase(0.6, 80, 2, 640, 4, 8, shift=2.0))),
    ssr=(60, (Phase(1.0, 16, 4, 2048, 16, 8, shift=8.0, crop=0.25),)),
)
# The same for one large GPU: clips are drawn on it and stay in its memory. Half an hour for all three.
GPU_STAGES = stages(
    t2i=(
        8,
        (
            Phase(0.4, 1, 512, 131072, 512, 1, shift=8.0),
            Phase(0.4, 1, 512, 131072, 512, 1, shift=4.0),
            Phase(0.2, 1, 512, 131072, 512, 1, shift=2.0),
        ),
    ),
    temporal=(
        12,
        (Phase(0.4, 20, 128, 16384, 64, 2, shift=2.0), Phase(0.6, 80, 32, 16384, 32, 2, shift=2.0)),
    ),
    ssr=(5, (Phase(1.0, 16, 64, 8192, 32, 2, shift=8.0, crop=0.5),)),
)


def stage_for(name: str, device: str) -> Stage:
    """The row of a stage on that kind of device."""
    return (GPU_STAGES if device.startswith("cuda") else STAGES)[name]


def spec_for(stage: Stage, preset: str, vocabulary: list[str]) -> ModelSpec:
    """The model a stage makes, with the words of its world."""
    spec = stage.spec(preset)
    return replace(spec, text=replace(spec.text, vocabulary=tuple(vocabulary)))


def freeze(stage: Stage, model: Lumiere) -> list[nn.Parameter]:
    """Leave only what the stage trains."""
    for name, p in model.named_parameters():
        p.requires_grad_(name.startswith(stage.trains))
    return [p for p in model.parameters() if p.requires_grad]
