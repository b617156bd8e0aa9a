"""Classifier-free guidance and its repairs: each takes a denoiser and gives a denoiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .denoise import Denoise


def rescaled(guided: Tensor, reference: Tensor, amount: float) -> Tensor:
    """Pull the contrast of `guided` back to that of `reference`, clip by clip (Lin et al. 2305.08891, section 3.4).

    The deviation is taken over the whole clip, not frame by frame, or brightness would flicker.
    """
    axes = tuple(range(1, guided.ndim))
    factor = reference.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True).clamp(min=1e-6)
    return guided * (amount * factor + 1 - amount)


def guided(
    denoise: Denoise,
    positive: dict[str, Any],
    negative: dict[str, Any],
    cfg_scale: float,
    rescale: float = 0.0,
    interval: tuple[float, float] = (0.0, float("inf")),
) -> Denoise:
    """Bind prompts to a denoiser: `negative + cfg_scale * (positive - negative)` (Ho & Salimans 2022).

    positive, negative  conditions with a leading batch axis, the same keys in both
    cfg_scale           1 runs the positive condition alone, at half the cost
    rescale             0 to 1, see `rescaled`
    interval            the sigmas between which guidance acts (Kynkaanniemi et al. 2404.07724)
    Raises ValueError for a cfg_scale outside 0 to 30 or a rescale outside 0 to 1.
    """
    if not 0 <= cfg_scale <= 30:
        raise ValueError(f"cfg is {cfg_scale:g}, but it has to be between 0 and 30. Try 3.")
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale is {rescale:g}, but it has to be between 0 and 1. Try 0.7.")

    def both(name: str) -> Any:
        a, b = positive[name], negative[name]
        return torch.cat([a, b]) if torch.is_tensor(a) else a

    stacked = {name: both(name) for name in positive}

    def call(x: Tensor, sigma: Tensor) -> Tensor:
        if cfg_scale == 1 or not interval[0] <= float(sigma) <= interval[1]:
            return denoise(x, sigma, **positive)
        yes, no = denoise(torch.cat([x, x]), sigma, **stacked).chunk(2)
        x0 = no + cfg_scale * (yes - no)
        return rescaled(x0, yes, rescale) if rescale else x0

    return call
