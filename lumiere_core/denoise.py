"""What a network predicts, turned into x0. The only file that knows eps from v."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .config import DiffusionSpec
from .schedules import time_of

Denoise = Callable[..., Tensor]  # (x, sigma, **condition) -> x0


def from_v(v: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """v = alpha eps - sigma_vp x0 (Salimans & Ho 2022), with x = x0 + sigma eps."""
    return x / (1 + sigma**2) - v * sigma / (1 + sigma**2).sqrt()


def from_eps(eps: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    return x - sigma * eps


def from_x0(x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    return x0


PREDICTIONS = {"v": from_v, "eps": from_eps, "x0": from_x0}


def v_target(x0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Training pair at true time t in [0, 1], broadcast over x0: `(noisy input of the network, v to predict)`."""
    alpha, sigma = torch.cos(torch.pi / 2 * t), torch.sin(torch.pi / 2 * t)
    return alpha * x0 + sigma * noise, alpha * noise - sigma * x0


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
