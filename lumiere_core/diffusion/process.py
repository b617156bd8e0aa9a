"""The diffusion process in one place: noise levels, how a clip is noised, and how a prediction becomes x0.

The forward process is `x_t = cos(pi t / 2) x0 + sin(pi t / 2) noise` for t in [0, 1]. Outside the network everything is
`x0 + sigma noise` with `sigma = tan(pi t / 2)`. A shift spaces things (u in place of t) and never changes what the
network is told. No other file knows eps from v.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..config import DiffusionSpec
from ..limits import check

Denoise = Callable[..., Tensor]  # (x, sigma, **condition) -> x0

TABLE = 1000  # the finest step: sigma_min is one of so many parts of the whole
SEEDS = 2**64


# --------------------------------------------------------------------------------------------------- predictions
def from_v(v: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """v = alpha eps - sigma_vp x0 (Salimans & Ho 2022), with x = x0 + sigma eps."""
    return x / (1 + sigma**2) - v * sigma / (1 + sigma**2).sqrt()


def from_eps(eps: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    return x - sigma * eps


def from_x0(x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    return x0


def v_of(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    return (noise - sigma * x0) / (1 + sigma**2).sqrt()


def eps_of(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    return noise


def x0_of(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    return x0


# What a network may predict: how x0 is read off it, and what it is trained on.
PREDICTIONS = {"v": (from_v, v_of), "eps": (from_eps, eps_of), "x0": (from_x0, x0_of)}


# ------------------------------------------------------------------------------------------------------- process
def time_of(sigma: Tensor) -> Tensor:
    """The true time t in [0, 1) of a noise level, which is what a network is told. `(...) -> (...)`"""
    return 2 / math.pi * torch.atan(sigma)


@dataclass(frozen=True)
class Process:
    """All that engine, training and host have to agree on about noise. Raises ValueError for a spec out of range.

    Noise levels are sigma, clips are x0 + sigma noise, times are u in [0, 1]: `sigma = shift * tan(pi u / 2)`. At
    shift 1, u is the true time.
    """

    spec: DiffusionSpec

    def __post_init__(self) -> None:
        if self.spec.prediction not in PREDICTIONS:
            raise ValueError(
                f"prediction is {self.spec.prediction!r}, but it has to be one of {', '.join(PREDICTIONS)}."
            )
        if not 0 <= self.spec.noise_share < 1:
            raise ValueError(
                f"noise share is {self.spec.noise_share:g}, but it has to be at least 0 and below 1. Try 0.9."
            )

    # Spacing
    def sigma_of(self, u: Tensor) -> Tensor:
        """Noise level at spaced time u in [0, 1)."""
        return self.spec.shift * torch.tan(math.pi / 2 * u)

    def spaced(self, sigma: Tensor) -> Tensor:
        """The inverse of `sigma_of`."""
        return time_of(sigma / self.spec.shift)

    @property
    def u_max(self) -> float:
        """The spaced time of sigma_max: sampling starts there, and training draws up to there."""
        return float(self.spaced(torch.tensor(self.spec.sigma_max, dtype=torch.float64)))

    def sigmas(self, steps: int, strength: float = 1.0) -> Tensor:
        """`steps + 1` noise levels, uniform in u, from sigma_max down to 0: the host's `sgm_uniform` on this model.

        strength below 1 spreads the same number of steps over that last share of the way (SDEdit), as the host's
        samplers do at a lower `denoise`. Raises ValueError for steps outside 1 to 1000, a strength outside 0.01 to 1.
        """
        check("steps", steps)
        check("edit.strength", strength)
        whole = int(steps / strength)
        u = torch.linspace(self.u_max, self.u_max / TABLE, whole + 1, dtype=torch.float64)[:-1]
        sigmas = torch.cat([self.sigma_of(u), torch.zeros(1, dtype=torch.float64)]).float()
        return sigmas[-(steps + 1) :]

    # Network
    def scaled(self, x: Tensor, sigma: Tensor) -> Tensor:
        """What the network reads: x at unit variance."""
        return x / (1 + sigma**2).sqrt()

    def target(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """What the network is trained to say of `scaled(x0 + sigma noise)`."""
        return PREDICTIONS[self.spec.prediction][1](x0, noise, sigma)

    def x0(self, output: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """The clean clip by what the network said of x."""
        return PREDICTIONS[self.spec.prediction][0](output, x, sigma)

    def as_v(self, error: Tensor, sigma: Tensor) -> Tensor:
        """An error of x0 as the error of v it makes, in which base models' losses are taken. Others stay as they are.

        At most five times an error of x0 (noise levels from 0.2 up), or the finest levels would outweigh all others.
        """
        if self.spec.prediction != "x0":
            return error
        return error * (1 + sigma**2).sqrt() / sigma.clamp(min=0.2)

    # Noise
    def shared(self, noise: Tensor, dim: int = 2) -> Tensor:
        """Independent frames of noise -> frames of which any two correlate by `noise_share`, at the same variance.

        One linear map, exact for any number of frames T along `dim`: `d n + c mean(n)` with d = sqrt(1 - s) and
        c = sqrt(1 - s + s T) - d ("mixed noise", Ge et al. 2305.10474, without a second draw). The same noise gives
        the same picture in a frozen image model: frames that share most of it agree before anything is learnt.
        """
        share = self.spec.noise_share
        if not share:
            return noise
        own = math.sqrt(1 - share)
        common = math.sqrt(1 - share + share * noise.shape[dim]) - own
        return own * noise + common * noise.mean(dim=dim, keepdim=True)

    def unshared(self, noise: Tensor, dim: int = 2) -> Tensor:
        """The inverse of `shared`, for callers that have shared already what a host is about to share."""
        share = self.spec.noise_share
        if not share:
            return noise
        own = math.sqrt(1 - share)
        whole = math.sqrt(1 - share + share * noise.shape[dim])
        mean = noise.mean(dim=dim, keepdim=True)
        return (noise - mean) / own + mean / whole


# --------------------------------------------------------------------------------------------------------- noise
def initial_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """One draw of the whole shape on the CPU, which is the host's own way. Raises ValueError for other seeds."""
    check("seed", seed)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def noised(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The forward process: x0 at true time t in [0, 1], broadcast over it."""
    return torch.cos(torch.pi / 2 * t) * x0 + torch.sin(torch.pi / 2 * t) * noise


def check_noise_level(level: float) -> None:
    """Raises ValueError for a level that super-resolution was not trained on."""
    check("noise_level", level, "noise level")


def augmented(clip: Tensor, level: float, seed: int) -> Tensor:
    """The low-resolution clip at diffusion time `level`, its noise drawn once for the whole clip (Imagen, section 2.5).

    Drawn from seed + 1: the noise of the clip itself must not be repeated in its condition.
    """
    return noised(clip, initial_noise(tuple(clip.shape), (seed + 1) % SEEDS), torch.tensor(level))


class Denoiser:
    """A network as `(x, sigma, **condition) -> x0`.

    x      `(B, C, ...)` float32, x0 + sigma noise
    sigma  a scalar tensor or `(B,)`
    Returns x0, float32. `condition` goes to the network as it is; `context (B, L, D)` is always part of it.
    """

    def __init__(
        self, network: Callable[..., Tensor], spec: DiffusionSpec, dtype: torch.dtype = torch.float32
    ) -> None:
        self.network, self.process, self.dtype = network, Process(spec), dtype

    def __call__(self, x: Tensor, sigma: Tensor, **condition: Any) -> Tensor:
        sigma = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(x.shape[0])
        wide = sigma.reshape(-1, *[1] * (x.ndim - 1))
        cast = {  # times and noise levels stay float32: half precision would shift them
            k: v.to(self.dtype) if torch.is_tensor(v) and k not in ("when", "noise_level") else v
            for k, v in condition.items()
            if v is not None
        }
        scaled = self.process.scaled(x, wide).to(self.dtype)
        return self.process.x0(self.network(scaled, time_of(sigma), **cast).float(), x, wide)
