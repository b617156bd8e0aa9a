"""Combines model and diffusion: a prompt becomes a clip, a clip becomes a larger one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .config import ModelSpec
from .diffusion.carrying import carrying
from .diffusion.condition import Condition, differential, held, on_canvas
from .diffusion.guidance import guided
from .diffusion.inversion import going_on
from .diffusion.joining import GUIDED_ABOVE, enlivening, is_joined, joining
from .diffusion.process import Denoiser, Process, augmented, check_noise_level, initial_noise
from .diffusion.samplers import choose_sampler
from .diffusion.windows import Windows, moments, shared_free_noise, windowed
from .limits import check
from .model.checkpoint import Lumiere
from .model.unet import check_size
from .progress import Progress


@dataclass(frozen=True)
class Settings:
    """Settings of one run. `None` takes the value that the weights were made for."""

    num_frames: int | None = None
    width: int | None = None  # pixels
    height: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    rescale: float | None = None
    sampler: str = "dpmpp_2m"
    seed: int = 0
    window: int | None = None  # frames a network call sees at most; None: base all, super-resolution its own
    overlap: int = 2
    loop: bool = False  # the clip ends where it begins
    free_noise: bool = True  # windows of the base model share their noise, see `windows.free_noise`
    strength: float = 1.0  # below 1 the task's clip is changed only so far (SDEdit)
    each_its_own: bool = (
        False  # 1 - M is each pixel's share of the strength, where grey pixels else are mixed
    )

    def windows(self) -> Windows:
        """How the clip is cut into windows. Call it on resolved settings."""
        return Windows(self.window, self.overlap if self.window else 0, roll=self.seed if self.loop else None)


def resolved(settings: Settings | None, spec: ModelSpec) -> Settings:
    """Settings with every `None` filled in from the model."""
    s, d = settings or Settings(), spec.diffusion
    frames = spec.num_frames if s.num_frames is None else s.num_frames
    filled = {
        "num_frames": frames,
        "width": spec.size,
        "height": spec.size,
        "steps": d.steps,
        "cfg_scale": d.cfg_scale,
        "rescale": d.rescale,
        "window": spec.window if spec.kind == "ssr" else None,
    }
    return replace(s, **{name: value for name, value in filled.items() if getattr(s, name) is None})


def check_upscaler(spec: ModelSpec, settings: Settings, noise_level: float = 0.0) -> None:
    """Raises ValueError for settings that `upscale` refuses. Callers check them before the base model runs."""
    if spec.kind != "ssr":
        raise ValueError(f"{spec.name} is a {spec.kind} model, but upscaling takes a super-resolution model.")
    check_noise_level(noise_level)
    s = resolved(settings, spec)
    choose_sampler(s.sampler)
    Process(spec.diffusion).sigmas(s.steps)
    s.windows().parts(1)


def sized(settings: Settings | None, task: Condition | None) -> Settings:
    """Settings with the length and size of the task's clip. Raises ValueError where they are set to something else."""
    s = settings or Settings()
    if task is None:
        return s
    frames, height, width = task.clip.shape[2:]
    of_clip = {"num_frames": frames, "width": width, "height": height}
    for name, size in of_clip.items():
        if getattr(s, name) not in (None, size):
            raise ValueError(
                f"{name.removeprefix('num_')} is {getattr(s, name)}, but the clip has {size}. Leave it out, or give "
                "the clip that size."
            )
    return replace(s, **of_clip)


@torch.inference_mode()
def text_to_video(
    model: Lumiere,
    prompt: str,
    negative: str = "",
    settings: Settings | None = None,
    progress: Progress | None = None,
    task: Condition | None = None,
) -> Tensor:
    """Sample the base model. Returns `(1, 3, T, H, W)` float32 on the CPU, about [-1, 1].

    Runs on the device and in the dtype of the model. The same seed gives the same clip on the same machine. Any number
    of frames runs; with a `window` the clip is made by temporal MultiDiffusion.

    task: a clip of which some pixels are known, made by a function of `condition` (image to video, inpainting, ...).
    The network is told them, they are held at every step and come back exactly. The other frames begin with the noise
    that lies behind wholly known ones (`inversion`) and go on with what those show (`carrying`); what is made within a
    frame joins what is known beside it (`joining`). With a `strength` below 1 they begin with the clip instead. Raises
    ValueError for settings out of range, and for a task with known pixels where the model was not trained on them;
    the sentence holds the number and the remedy.
    """
    spec = model.spec
    if spec.kind != "base":
        raise ValueError(f"{spec.name} is a {spec.kind} model, but making clips takes a base model.")
    s = resolved(sized(settings, task), spec)
    check("film.frames", s.num_frames)
    if task is None and s.strength < 1:
        raise ValueError(
            f"strength is {s.strength:g}, but there is no clip to begin with. Give a task, or a strength of 1."
        )
    check_size("width", s.width, spec.unet.size_multiple)
    check_size("height", s.height, spec.unet.size_multiple)
    process, sample = Process(spec.diffusion), choose_sampler(s.sampler)
    sigmas = process.sigmas(s.steps, s.strength)
    device, dtype = model.network.out[2].weight.device, model.network.dtype
    s.windows().parts(s.num_frames)
    known = None if task is None else task.stacked
    if known is not None and not spec.temporal.condition_channels:
        raise ValueError(
            f"{spec.name} was trained to make whole clips: it cannot be told of known pixels. Choose weights with a "
            "condition (`python -m lumiere_core info` says), or change the whole clip at a strength below 1."
        )

    def report(step: int, _: Tensor) -> None:
        if progress:
            progress(step + 1, len(sigmas) - 1, "base")

    def alone(x: Tensor, sigma: Tensor, places: list[int]) -> Tensor:
        told = {"context": positive["context"].expand(len(places), -1, -1)}
        if "when" in positive:
            told["when"] = positive["when"][0, 0, places, 0]  # (K, 1)
        return network(x, sigma, **told)

    network = Denoiser(model.network, spec.diffusion, dtype)
    denoise = windowed(network, s.windows(), multiple=spec.temporal.time_factor)
    both: dict[str, Tensor] = {}
    if spec.unet.timed_width:
        both["when"] = moments(s.num_frames, spec.num_frames, s.loop).to(device)
    if known is not None:
        both["condition"] = known.to(device)
    positive, empty = ({"context": model.text.encode([text]), **both} for text in (prompt, negative))
    joins = task is not None and s.strength == 1 and is_joined(task)
    interval = (GUIDED_ABOVE if joins else 0.0, float("inf"))
    denoise = guided(denoise, positive, empty, s.cfg_scale, s.rescale, interval)
    x = initial_noise((1, 3, s.num_frames, s.height, s.width), s.seed)
    if s.window and s.free_noise:
        x = shared_free_noise(process, x, s.window, s.overlap)
    else:
        x = process.shared(x)
    x, sigmas = x.to(device), sigmas.to(device)
    if task is None:
        return sample(denoise, x * sigmas[0], sigmas, report).cpu()
    if s.strength == 1:
        x = going_on(alone, process, task, x)
        denoise = joining(carrying(enlivening(denoise, task), task, s.loop), task, x)
    own = differential(process, sigmas) if s.each_its_own else None
    denoise = held(denoise, task, x, own)
    return task.kept(sample(denoise, task.clip.to(x) + x * sigmas[0], sigmas, report).cpu())


@torch.inference_mode()
def upscale(
    model: Lumiere,
    clip: Tensor,
    prompt: str = "",
    settings: Settings | None = None,
    noise_level: float = 0.0,
    progress: Progress | None = None,
    task: Condition | None = None,
) -> Tensor:
    """Super-resolution over overlapping windows, fused at every step. `(1, 3, T, H, W) -> (1, 3, T, 4H, 4W)`.

    The canvas stays in host memory; one window at a time is on the model's device. noise_level in [0, 0.4]: noise mixed
    into the low-resolution clip, drawn once for the whole clip; higher values invent more.

    task: known pixels of the large clip, `(1, 3, T, 4H, 4W)`, held at every step and exact in the end; a clip of
    another size is resized first. Raises ValueError.
    """
    spec = model.spec
    s = resolved(settings, spec)
    check_upscaler(spec, s, noise_level)
    scale, multiple = spec.scale, spec.unet.size_multiple // spec.scale
    _, _, frames, height, width = clip.shape
    check_size("width", width, multiple)
    check_size("height", height, multiple)
    process, sample = Process(spec.diffusion), choose_sampler(s.sampler)
    sigmas = process.sigmas(s.steps)
    device, dtype = model.network.out[2].weight.device, model.network.dtype
    calls = 0

    def report(done: int, windows: int) -> None:
        nonlocal calls
        calls += 1
        if progress:
            progress(calls, windows * (len(sigmas) - 1), "super-resolution")

    x = process.shared(initial_noise((1, 3, frames, scale * height, scale * width), s.seed))
    condition = {
        "low_res": augmented(clip.float().cpu(), noise_level, s.seed),
        "noise_level": torch.full((1,), noise_level),
        "context": model.text.encode([prompt]),
    }
    network = Denoiser(model.network, spec.diffusion, dtype)
    denoise = windowed(lambda *a, **k: network(*a, **k).cpu(), s.windows(), device, report)
    denoise = partial(denoise, **condition)
    if task is None:
        return sample(denoise, x * sigmas[0], sigmas)
    task = on_canvas(task.clip, task.known, *x.shape[2:]).firm
    return task.kept(sample(held(denoise, task, x), task.clip + x * sigmas[0], sigmas))
