"""Samplers for any denoiser, with k-diffusion's signature. They know no model class.

x       `(B, C, ...)` float32: noise times sigmas[0], plus a clip where editing starts from one
sigmas  falling noise levels that end in 0
callback(step, x0)  after each step; raise in it to stop
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Callback = Callable[[int, Tensor], None]


def euler(
    denoise: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigmas: Tensor, callback: Callback | None = None
) -> Tensor:
    """Straight steps along dx/dsigma (Karras et al. 2022, algorithm 2 without churn)."""
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i])
        if callback:
            callback(i, x0)
        x = x + (x - x0) * ((sigmas[i + 1] - sigmas[i]) / sigmas[i])
    return x


def dpmpp_2m(
    denoise: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigmas: Tensor, callback: Callback | None = None
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2211.01095, algorithm 2): second order from the step before."""
    before = None
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i])
        if callback:
            callback(i, x0)
        now, then = sigmas[i], sigmas[i + 1]
        if then == 0:
            return x0
        h = (now / then).log()
        slope = x0
        if before is not None:
            r = (sigmas[i - 1] / now).log() / h
            slope = x0 + (x0 - before) / (2 * r)
        x = then / now * x - (-h).expm1() * slope
        before = x0
    return x


# DDIM without fresh noise is Euler's step (Karras et al. 2022, section 3), as ComfyUI's own `ddim` is.
SAMPLERS = {"dpmpp_2m": dpmpp_2m, "euler": euler, "ddim": euler}


def choose_sampler(name: str) -> Callable[..., Tensor]:
    """The sampler of this name in SAMPLERS. Raises ValueError for another name."""
    if name not in SAMPLERS:
        raise ValueError(f"sampler is {name!r}, but it has to be one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]
