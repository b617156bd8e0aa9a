"""Classifier-free guidance, and two corrections of its result: rescale and dynamic thresholding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..limits import check
from .process import Denoise


def rescaled(guided: Tensor, reference: Tensor, amount: float) -> Tensor:
    """Scale the contrast of `guided` to that of `reference`, clip by clip (Lin et al. 2305.08891, section 3.4).

    amount 0 changes nothing, 1 matches the contrast. The deviation is taken over the whole clip: frame by frame,
    brightness would flicker.
    """
    axes = tuple(range(1, guided.ndim))  # a clip of one colour has no contrast to divide by, hence the 1e-6
    factor = reference.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True).clamp(min=1e-6)
    return guided * (amount * factor + 1 - amount)


def thresholded(x0: Tensor, quantile: float) -> Tensor:
    """Dynamic thresholding (Imagen, 2205.11487, section 2.3) of pixels in [-1, 1], clip by clip.

    The limit s is that quantile of |x0| over the whole clip, at least 1. x0 is cut to [-s, s] and divided by s, so
    colours that strong guidance has pushed out of [-1, 1] return. A limit for each frame would make brightness flicker.
    """
    size = x0.flatten(1).abs()  # (B, C*T*H*W)
    s = size.kthvalue(max(1, round(quantile * size.shape[1])), dim=1).values.clamp(min=1)
    s = s.view(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-s, s) / s


def check_guidance(cfg_scale: float = 1.0, rescale: float = 0.0, quantile: float = 0.0) -> None:
    check("cfg", cfg_scale)
    check("rescale", rescale)
    check("threshold", quantile)


def guided(
    denoise: Denoise,
    positive: dict[str, Any],
    negative: dict[str, Any],
    cfg_scale: float,
    rescale: float = 0.0,
    interval: tuple[float, float] = (0.0, float("inf")),
    quantile: float = 0.0,
) -> Denoise:
    """A denoiser with its prompts: `negative + cfg_scale * (positive - negative)` (Ho & Salimans 2022).

    positive, negative  conditions with a leading batch axis, the same keys in both
    cfg_scale           1 runs the positive condition alone, at half the cost
    rescale             0 to 1, see `rescaled`
    interval            the sigmas between which guidance acts (Kynkaanniemi et al. 2404.07724)
    quantile            0 is off, see `thresholded`
    Raises ValueError for a cfg_scale outside 0 to 30, a rescale or a quantile outside 0 to 1.
    """
    check_guidance(cfg_scale, rescale, quantile)

    def both(name: str) -> Any:
        a, b = positive[name], negative[name]
        return torch.cat([a, b]) if torch.is_tensor(a) else a

    stacked = {name: both(name) for name in positive}

    def call(x: Tensor, sigma: Tensor) -> Tensor:
        if cfg_scale == 1 or not interval[0] <= float(sigma) <= interval[1]:
            x0 = denoise(x, sigma, **positive)
        else:
            yes, no = denoise(torch.cat([x, x]), sigma, **stacked).chunk(2)
            x0 = no + cfg_scale * (yes - no)
            x0 = rescaled(x0, yes, rescale) if rescale else x0
        return thresholded(x0, quantile) if quantile else x0

    return call
