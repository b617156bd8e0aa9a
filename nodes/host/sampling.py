"""Sampling in the host: the engine's samplers as the host's, progress, previews and interrupts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...lumiere_core.config import replace
from ...lumiere_core.diffusion.condition import Condition, on_canvas
from ...lumiere_core.diffusion.process import augmented, check_noise_level
from ...lumiere_core.diffusion.samplers import SAMPLERS
from ...lumiere_core.model.unet import check_size
from ..tensors import latent_of
from .clip import empty_prompt
from .controls import control_of, controlled
from .image.inflate import base_of
from .notify import check_interrupt
from .preview import ClipPreview
from .progress import announce

# How much smaller than pixels an empty latent says it is; older hosts do not know these.
RATIOS = set(inspect.signature(comfy.sample.fix_empty_latent_channels).parameters) - {"model", "latent_image"}


def host_sampler(name: str) -> Any:
    """One of the engine's samplers as the host's SAMPLER."""

    def run(
        model: Callable[..., Tensor],
        x: Tensor,
        sigmas: Tensor,
        extra_args: dict | None = None,
        callback: Callable[[dict], None] | None = None,
        disable: bool | None = None,
    ) -> Tensor:
        now = x

        def denoise(noisy: Tensor, sigma: Tensor) -> Tensor:
            nonlocal now
            check_interrupt()
            now = noisy
            return model(noisy, sigma * noisy.new_ones([noisy.shape[0]]), **(extra_args or {}))

        def report(step: int, x0: Tensor) -> None:
            if callback:
                callback(
                    {"i": step, "denoised": x0, "x": now, "sigma": sigmas[step], "sigma_hat": sigmas[step]}
                )

        return SAMPLERS[name](denoise, x, sigmas, report)

    return comfy.samplers.KSAMPLER(run)


def noise_levels(model: Any, steps: int, strength: float = 1.0) -> Tensor:
    """`steps + 1` levels over the last `strength` of the way, as KSampler takes them at a lower `denoise`."""
    levels = model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(levels, "sgm_uniform", int(steps / strength))[-(steps + 1) :]


class WindowProgress:
    """Progress by windows, and a preview of the whole canvas after each step."""

    def __init__(self, model: Any, total: int) -> None:
        self.bar, self.done = comfy.utils.ProgressBar(total), 0
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self.clip = ClipPreview(model)

    def window(self, *_: int) -> None:
        self.done += 1
        self.bar.update_absolute(self.done)

    def step(self, step: int, x0: Tensor, x: Tensor, total: int) -> None:
        if self.previewer:
            preview = self.previewer.decode_latent_to_preview_image("JPEG", x0)
            self.bar.update_absolute(self.done, preview=preview)
        self.clip.step(step, x0, x, total)


def sample_clip(
    model: Any,
    positive: Any,
    negative: Any,
    latent: dict,
    seed: int,
    steps: int,
    cfg: float,
    sampler: str,
    strength: float = 1.0,
) -> dict:
    """LATENT -> LATENT with the engine's sampler on any MODEL, over the host's `sgm_uniform` noise levels.

    strength below 1 begins with the LATENT, of which less is changed. Where the LATENT's own mask is 0 it comes back
    unchanged.
    """
    ratios = {name: latent[name] for name in RATIOS if name in latent}
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], **ratios)
    progress, clip = latent_preview.prepare_callback(model, steps), ClipPreview(model)

    def step(*state: Any) -> None:
        progress(*state)
        clip.step(*state)

    out = comfy.sample.sample_custom(
        model,
        comfy.sample.prepare_noise(samples, seed, latent.get("batch_index")),
        cfg,
        host_sampler(sampler),
        noise_levels(model, steps, strength),
        positive,
        negative,
        samples,
        noise_mask=latent.get("noise_mask"),
        callback=step,
        seed=seed,
    )
    kept = {name: value for name, value in latent.items() if name not in RATIOS}
    return {**kept, "samples": unchanged(out, samples, latent.get("noise_mask"))}


def unchanged(made: Tensor, given: Tensor, mask: Tensor | None) -> Tensor:
    """What was sampled, and what was given where its mask is 0: some samplers come only close to it."""
    if mask is None or not torch.is_tensor(
        given
    ):  # lists of latents (sound with a clip) are the host's own affair
        return made
    known = comfy.utils.reshape_mask(mask, given.shape) == 0
    return torch.where(known.to(made.device), given.to(made), made)


def with_own_strength(model: Any) -> Any:
    """A clone of the MODEL for which a LATENT's mask says how strongly each pixel is changed: the core's own node."""
    from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion

    return DifferentialDiffusion.execute(model).args[0]


def upscale_condition(
    model: Any, clip: Tensor, noise_level: float, seed: int, known: Condition | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a super-resolution MODEL is given beside the prompt, and a LATENT for it. Raises ValueError.

    clip `(1, 3, T, H, W)` in [-1, 1]; the LATENT is an empty canvas `(1, 3, T, 4H, 4W)`, or holds the known pixels.
    """
    spec = getattr(model.model, "lumiere", None)
    if spec is None or spec.kind != "ssr":
        raise ValueError(
            f"the MODEL is {base_of(model)}, which is no super-resolution model of Lumiere's. Choose an SSR model in "
            "Load Lumiere Model; Enlarge a Clip also takes the Stable Diffusion x4 upscaler, from Load Checkpoint."
        )
    check_noise_level(noise_level)
    _, _, frames, height, width = clip.shape
    check_size("width", width, spec.unet.size_multiple // spec.scale)
    check_size("height", height, spec.unet.size_multiple // spec.scale)
    announce(frames, spec.scale * height, spec.scale * width)
    condition = {"low_res": augmented(clip, noise_level, seed), "noise_level": noise_level}
    large = frames, spec.scale * height, spec.scale * width
    if known is None:
        return condition, latent_of(torch.zeros(1, 3, *large))
    known = on_canvas(known.clip, known.known, *large).firm
    return condition, {**latent_of(known.clip), "noise_mask": 1 - known.known}


def with_options(conditioning: list, options: dict[str, Any]) -> list:
    """CONDITIONING with these options added to each entry."""
    return [[rows, {**given, **options}] for rows, given in conditioning]


@dataclass(frozen=True)
class Enlarging:
    """The numbers that *Enlarge a Clip* is set to."""

    seed: int
    steps: int
    cfg: float
    window: int  # frames that a call sees
    overlap: int  # frames that neighbouring windows share
    noise_level: float


def sample_in_windows(
    model: Any,
    how: Enlarging,
    prompts: tuple[Any, Any],
    latent: dict,
    noise: Tensor,
    frames: int,
    tiles: int = 1,
    **control: Any,
) -> Tensor:
    """Samples of a LATENT over windows of its frames, fused at every step, with progress by windows.

    tiles    into how many each frame is cut
    control  what else of `Control` is this node's own
    """
    # A closed loop stays one: its roll is kept, only the windows are this node's own.
    windows = replace(control_of(model.model_options).windows, window=how.window, overlap=how.overlap)
    progress = WindowProgress(model, how.steps * len(windows.parts(frames)) * tiles)
    return comfy.sample.sample_custom(
        controlled(model, windows=windows, free_noise=False, each=progress.window, **control),
        noise,
        how.cfg,
        host_sampler("dpmpp_2m"),
        noise_levels(model, how.steps),
        *prompts,
        latent["samples"],
        noise_mask=latent.get("noise_mask"),
        callback=progress.step,
        seed=how.seed,
    )


def enlarge_clip(
    model: Any, prompts: tuple[Any, Any], clip: Tensor, how: Enlarging, known: Condition | None = None
) -> Tensor:
    """The engine's `upscale` over the host's MODEL: `(1, 3, T, H, W) -> (1, 3, T, 4H, 4W)`. Raises ValueError."""
    condition, latent = upscale_condition(model, clip, how.noise_level, how.seed, known)
    canvas = latent["samples"]
    positive, negative = (
        with_options(empty_prompt(model) if prompt is None else prompt, condition) for prompt in prompts
    )
    noise = comfy.sample.prepare_noise(canvas, how.seed)
    out = sample_in_windows(model, how, (positive, negative), latent, noise, clip.shape[2])
    return unchanged(out, canvas, latent.get("noise_mask"))
