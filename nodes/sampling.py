"""Sampling in the host: the engine's samplers as the host's, windows as wrappers, progress, previews and interrupts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..lumiere_core.generate import augmented, check_size
from ..lumiere_core.samplers import SAMPLERS
from ..lumiere_core.windows import fuse, shares

# How much smaller than pixels an empty latent says it is; older hosts do not know these.
RATIOS = set(inspect.signature(comfy.sample.fix_empty_latent_channels).parameters) - {"model", "latent_image"}


def check_interrupt() -> None:
    comfy.model_management.throw_exception_if_processing_interrupted()


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
        def denoise(noisy: Tensor, sigma: Tensor) -> Tensor:
            check_interrupt()
            return model(noisy, sigma * noisy.new_ones([noisy.shape[0]]), **(extra_args or {}))

        def report(step: int, x0: Tensor) -> None:
            if callback:
                callback(
                    {"i": step, "denoised": x0, "x": x0, "sigma": sigmas[step], "sigma_hat": sigmas[step]}
                )

        return SAMPLERS[name](denoise, x, sigmas, report)

    return comfy.samplers.KSAMPLER(run)


def noise_levels(model: Any, steps: int) -> Tensor:
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "sgm_uniform", steps)


def with_windows(
    model: Any, window: int, overlap: int, each: Callable[[int, int], None] | None = None
) -> Any:
    """The MODEL under temporal MultiDiffusion: a clone whose every prediction is fused from windows of frames."""

    def apply(
        executor: Any,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: dict | None = None,
        **conds: Any,
    ) -> Tensor:
        def one(part: Tensor, cut: dict[str, Any]) -> Tensor:
            check_interrupt()
            return executor(
                part, t, cut.pop("c_concat"), c_crossattn, control, transformer_options or {}, **cut
            )

        return fuse(one, x, {"c_concat": c_concat, **conds}, window, overlap, each)

    def prepare(executor: Any, patcher: Any, noise_shape: Any, *args: Any, **kwargs: Any) -> Any:
        shape = list(noise_shape)
        if len(shape) == 5:  # one window's work, and the half dozen whole clips a sampler holds
            one_frame = patcher.model.memory_required([*shape[:2], 1, *shape[3:]])
            shape[2] = min(shape[2], window) + math.ceil(6 * 4 * math.prod(shape) / one_frame)
        return executor(patcher, shape, *args, **kwargs)

    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "lumiere_windows", apply)
    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "lumiere_windows", prepare)
    return model


class WindowProgress:
    """Progress by windows, and a preview of the whole canvas after each step."""

    def __init__(self, model: Any, total: int) -> None:
        self.bar, self.done = comfy.utils.ProgressBar(total), 0
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

    def window(self, *_: int) -> None:
        self.done += 1
        self.bar.update_absolute(self.done)

    def step(self, step: int, x0: Tensor, *_: Any) -> None:
        if self.previewer:
            preview = self.previewer.decode_latent_to_preview_image("JPEG", x0)
            self.bar.update_absolute(self.done, preview=preview)


def sample_clip(
    model: Any, positive: Any, negative: Any, latent: dict, seed: int, steps: int, cfg: float, sampler: str
) -> dict:
    """LATENT -> LATENT with the engine's sampler on any MODEL, over the host's `sgm_uniform` noise levels."""
    ratios = {name: latent[name] for name in RATIOS if name in latent}
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], **ratios)
    out = comfy.sample.sample_custom(
        model,
        comfy.sample.prepare_noise(samples, seed, latent.get("batch_index")),
        cfg,
        host_sampler(sampler),
        noise_levels(model, steps),
        positive,
        negative,
        samples,
        noise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(model, steps),
        seed=seed,
    )
    kept = {name: value for name, value in latent.items() if name not in RATIOS}
    return {**kept, "samples": out}


def enlarge_clip(
    model: Any,
    positive: Any,
    clip: Tensor,
    seed: int,
    steps: int,
    window: int,
    overlap: int,
    noise_level: float,
) -> Tensor:
    """The engine's `upscale` over the host's MODEL: `(1, 3, T, H, W) -> (1, 3, T, 4H, 4W)`. Raises ValueError."""
    spec = model.model.lumiere
    _, _, frames, height, width = clip.shape
    check_size("width", width, spec.unet.size_multiple // spec.scale)
    check_size("height", height, spec.unet.size_multiple // spec.scale)
    condition = {"low_res": augmented(clip, noise_level, seed), "noise_level": noise_level}
    positive = [[rows, {**options, **condition}] for rows, options in positive]
    canvas = torch.zeros(1, 3, frames, spec.scale * height, spec.scale * width)
    progress = WindowProgress(model, steps * len(shares(frames, window, overlap)))
    return comfy.sample.sample_custom(
        with_windows(model, window, overlap, progress.window),
        comfy.sample.prepare_noise(canvas, seed),
        1.0,
        host_sampler("dpmpp_2m"),
        noise_levels(model, steps),
        positive,
        positive,
        canvas,
        callback=progress.step,
        seed=seed,
    )
