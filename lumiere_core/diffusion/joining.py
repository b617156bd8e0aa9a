"""What is made joins what is known beside it in the same frame: its colours at the border, and no mottling behind it.

For clips of which frames are known in part (inpainting, outpainting, cinemagraphs). All of it happens at the last noise
levels, where a model decides surfaces and no longer places; above them, and for other clips, x0 is the model's own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .condition import Condition
from .inversion import last_known
from .process import Denoise

# Guidance below sharpens what the model is unsure of, which is mottling (an interval of guidance, Kynkaanniemi et al.
# 2404.07724): over six scenes 1.54 times a drawn clip's gradients become 1.33.
GUIDED_ABOVE = 3.0
SEEN_TWICE = 0.7  # noise levels from here down: with ten steps the last one
AGAIN_AT = 1.3  # the level of the second look, that of the step before: a smoother surface, in the same place
LIVELY = 1.0, GUIDED_ABOVE  # noise levels above the first, up to the second
LIVELIER = 0.5  # 1 makes a fire twice as restless as a drawn one, 0 half as restless
COARSEST = 2  # rows or columns of the smallest picture on which a membrane is spread
RELAXED = 10  # rounds at each size; thirty leave a third less of the error, in twice the time


def is_joined(task: Condition) -> bool:
    """Whether a frame is known in part, so that what is known and what is made meet within it."""
    known = (task.known == 1).flatten(3)  # (1, 1, T, H*W)
    return bool((known.any(dim=3) & ~known.all(dim=3)).any())


def joining(denoise: Denoise, task: Condition, noise: Tensor) -> Denoise:
    """A denoiser whose x0 is `levelled` and `seen_twice`, where a frame is known in part. noise: what x began with."""

    def once(x: Tensor, sigma: Tensor, **condition: object) -> Tensor:
        return levelled(denoise(x, sigma, **condition), sigma, task)

    def call(x: Tensor, sigma: Tensor, **condition: object) -> Tensor:
        def again(x: Tensor, sigma: Tensor) -> Tensor:
            return once(x, sigma, **condition)

        return seen_twice(once(x, sigma, **condition), sigma, task, noise, again)

    return call if is_joined(task) else denoise


def enlivening(denoise: Denoise, task: Condition) -> Denoise:
    """A denoiser whose x0 is `livelier`."""

    def call(x: Tensor, sigma: Tensor, **condition: object) -> Tensor:
        return livelier(denoise(x, sigma, **condition), sigma, task)

    return call


def livelier(x0: Tensor, sigma: Tensor, task: Condition) -> Tensor:
    """x0 `(1, C, T, H, W)` of a cinemagraph, in which what changes over time changes more.

    x0 is the mean of what could be, which moves less than any of it does. As it is outside LIVELY, and in clips
    without a frame known in part and one known wholly.
    """
    if not LIVELY[0] < float(sigma.flatten()[0]) <= LIVELY[1] or not (
        is_joined(task) and last_known(task.known)
    ):
        return x0
    return x0 + LIVELIER * (x0 - x0.mean(dim=2, keepdim=True))


def seen_twice(
    x0: Tensor, sigma: Tensor, task: Condition, noise: Tensor, again: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The mean of x0 and of what the model makes of it under the same noise turned over (antithetic variates).

    What of x0 follows the noise falls away; that is most of the mottling. As it is above SEEN_TWICE.

    again: the denoiser, told what it was told before
    """
    if float(sigma.flatten()[0]) > SEEN_TWICE:
        return x0
    now = torch.lerp(x0, task.clip.to(x0), task.known.to(x0))
    return (x0 + again(now - AGAIN_AT * noise.to(x0), torch.full_like(sigma, AGAIN_AT))) / 2


def levelled(x0: Tensor, sigma: Tensor, task: Condition) -> Tensor:
    """x0 `(B, C, T, H, W)`, in whose frames a membrane takes away the step at the border between known and made.

    By how much the model misses the known pixels is spread over what it makes, as smoothly as can be (Perez et al.,
    Poisson Image Editing, 2003). As it is above GUIDED_ABOVE.
    """
    if float(sigma.flatten()[0]) > GUIDED_ABOVE:
        return x0
    parts = x0, task.clip, task.known == 1
    frames, given, known = (v.to(x0).transpose(1, 2).flatten(0, 1) for v in parts)  # (B*T, C, H, W)
    made = frames + membrane((given - frames) * known, known)
    return made.unflatten(0, (len(x0), -1)).transpose(1, 2)


def membrane(values: Tensor, known: Tensor) -> Tensor:
    """`values` where `known` is 1, and between and around them as flat as can be: Laplace's equation, nearly.

    `(N, C, H, W)`, known `(N, 1, H, W)` of 0 and 1. From a small picture to larger ones, so that few rounds do; 0
    where a picture has no known pixel.
    """
    sizes = [(values * known, known)]
    while min(sizes[-1][0].shape[-2:]) > COARSEST:
        sizes.append(halved(*sizes[-1]))
    spread = sizes[-1][0]
    for values, known in reversed(sizes):
        spread = F.interpolate(spread, values.shape[-2:], mode="bilinear")
        for _ in range(RELAXED):
            spread = torch.lerp(beside(spread), values, known)
    return spread


def halved(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Both at half the size: a pixel is known where one of its four is, and their mean."""
    share, total = (F.avg_pool2d(v, 2, ceil_mode=True, count_include_pad=False) for v in (known, values))
    some = share > 0
    return torch.where(some, total / share.clamp(min=1e-6), 0), some.to(values)


def beside(pictures: Tensor) -> Tensor:
    """The mean of the four pixels beside each, beyond the border as on it. `(N, C, H, W)`"""
    wide = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    up, down = wide[..., :-2, 1:-1], wide[..., 2:, 1:-1]
    left, right = wide[..., 1:-1, :-2], wide[..., 1:-1, 2:]
    return (up + down + left + right) / 4
