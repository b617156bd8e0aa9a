"""The diffusion process in one place: noise levels, how a clip is noised, and how a prediction becomes x0.

The forward process is `x_t = cos(pi t / 2) x0 + sin(pi t / 2) noise` for t in [0, 1]. Outside the network everything is
`x0 + sigma noise` with `sigma = tan(pi t / 2)`. A shift spaces things (u in place of t) and never changes what the
network is told. No other file knows eps from v.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..config import DiffusionSpec
from ..limits import check

Denoise = Callable[..., Tensor]  # (x, sigma, **condition) -> x0

TABLE = 1000  # the finest step: sigma_min is one of so many parts of the whole
SEEDS = 2**64


# -------------------------------------------------------------------------------------------------- noise levels
def sigma_of(u: Tensor, shift: float = 1.0) -> Tensor:
    """Noise level at spaced time u in [0, 1): `shift * tan(pi u / 2)`. At shift 1, u is the true time t."""
    return shift * torch.tan(math.pi / 2 * u)


def time_of(sigma: Tensor, shift: float = 1.0) -> Tensor:
    """The inverse of `sigma_of`. At shift 1 it is the true time t, which is what a network is told."""
    return 2 / math.pi * torch.atan(sigma / shift)


def uniform(steps: int, spec: DiffusionSpec, strength: float = 1.0) -> Tensor:
    """`steps + 1` noise levels, uniform in u, from sigma_max down to 0. The host's `sgm_uniform` on the same model.

    strength below 1 starts that far down the same levels (SDEdit): the last `round(steps * strength)` steps remain.
    Raises ValueError for steps below 1 or a strength outside (0, 1].
    """
    check("steps", steps)
    if not 0 < strength <= 1:
        raise ValueError(f"strength is {strength:g}, but it has to be above 0 and at most 1. Try 0.6.")
    u_max = time_of(torch.tensor(spec.sigma_max, dtype=torch.float64), spec.shift)
    u = torch.linspace(float(u_max), float(u_max) / TABLE, steps + 1, dtype=torch.float64)[:-1]
    sigmas = torch.cat([sigma_of(u, spec.shift), torch.zeros(1, dtype=torch.float64)]).float()
    return sigmas[-(max(1, round(steps * strength)) + 1) :]


# --------------------------------------------------------------------------------------------------------- noise
def initial_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """One draw of the whole shape on the CPU, which is the host's own way. Raises ValueError for other seeds."""
    check("seed", seed)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def noised(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The forward process: x0 at true time t in [0, 1], broadcast over it."""
    return torch.cos(torch.pi / 2 * t) * x0 + torch.sin(torch.pi / 2 * t) * noise


def v_target(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What a v-model predicts at `noised(x0, noise, t)` (Salimans & Ho 2022)."""
    return torch.cos(torch.pi / 2 * t) * noise - torch.sin(torch.pi / 2 * t) * x0


def check_noise_level(level: float) -> None:
    """Raises ValueError for a level that super-resolution was not trained on."""
    check("noise_level", level, "noise level")


def augmented(clip: Tensor, level: float, seed: int) -> Tensor:
    """The low-resolution clip at diffusion time `level`, its noise drawn once for the whole clip (Imagen, section 2.5).

    Drawn from seed + 1: the noise of the clip itself must not be repeated in its condition.
    """
    return noised(clip, initial_noise(tuple(clip.shape), (seed + 1) % SEEDS), torch.tensor(level))


# --------------------------------------------------------------------------------------------------- predictions
def from_v(v: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """v = alpha eps - sigma_vp x0 (Salimans & Ho 2022), with x = x0 + sigma eps."""
    return x / (1 + sigma**2) - v * sigma / (1 + sigma**2).sqrt()


def from_eps(eps: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    return x - sigma * eps


def from_x0(x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    return x0


PREDICTIONS = {"v": from_v, "eps": from_eps, "x0": from_x0}


class Denoiser:
    """A network as `(x, sigma, **condition) -> x0`.

    x      `(B, C, ...)` float32, x0 + sigma noise
    sigma  a scalar tensor or `(B,)`
    Returns x0, float32. `condition` goes to the network as it is; `context (B, L, D)` is always part of it.
    """

    def __init__(
        self, network: Callable[..., Tensor], spec: DiffusionSpec, dtype: torch.dtype = torch.float32
    ) -> None:
        if spec.prediction not in PREDICTIONS:
            raise ValueError(
                f"prediction is {spec.prediction!r}, but it has to be one of {', '.join(PREDICTIONS)}."
            )
        self.network, self.dtype = network, dtype
        self.to_x0 = PREDICTIONS[spec.prediction]

    def __call__(self, x: Tensor, sigma: Tensor, **condition: Any) -> Tensor:
        sigma = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(x.shape[0])
        wide = sigma.reshape(-1, *[1] * (x.ndim - 1))
        scaled = (x / (1 + wide**2).sqrt()).to(self.dtype)
        cast = {  # levels (B,) stay float32, as the time does: half precision would shift them
            k: v.to(self.dtype) if torch.is_tensor(v) and v.ndim > 1 else v
            for k, v in condition.items()
            if v is not None
        }
        return self.to_x0(self.network(scaled, time_of(sigma), **cast).float(), x, wide)
