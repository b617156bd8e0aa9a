"""Noise levels of the continuous-time cosine process, and how steps are spread over them.

The forward process is `x_t = cos(pi t / 2) x0 + sin(pi t / 2) noise` for t in [0, 1]. Outside the network everything is
`x0 + sigma noise` with `sigma = tan(pi t / 2)`. A shift spaces things (u in place of t) and never changes what the
network is told.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .config import DiffusionSpec

TABLE = 1000  # the finest step: sigma_min is one of so many parts of the whole


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
    if steps < 1:
        raise ValueError(f"steps is {steps}, but sampling takes at least 1. Try {spec.steps}.")
    if not 0 < strength <= 1:
        raise ValueError(f"strength is {strength:g}, but it has to be above 0 and at most 1. Try 0.6.")
    u_max = time_of(torch.tensor(spec.sigma_max, dtype=torch.float64), spec.shift)
    u = torch.linspace(float(u_max), float(u_max) / TABLE, steps + 1, dtype=torch.float64)[:-1]
    sigmas = torch.cat([sigma_of(u, spec.shift), torch.zeros(1, dtype=torch.float64)]).float()
    return sigmas[-(max(1, round(steps * strength)) + 1) :]
