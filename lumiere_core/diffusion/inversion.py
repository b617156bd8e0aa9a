"""The noise from which a model would itself make a known picture, for the frames that go on from it.

Where frames share noise, they show the same place before anything else is told: so what is behind a known frame is
handed to its neighbours. The path is Euler's, walked backwards (DDIM inversion, Song et al. 2010.02502, section 4.3).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .condition import Condition
from .process import Process

Alone = Callable[[Tensor, Tensor, list[int]], Tensor]  # (x, sigma, places of the frames) -> x0

# Below it a model of clips decides surfaces, not places (docs/recipe.md): the walk begins there, with the draw's own
# noise, which stays as good as Gaussian. Ten steps found what forty found.
FROM, WALK = 1.0, 10


def going_on(denoise: Alone, process: Process, task: Condition, noise: Tensor) -> Tensor:
    """Shared noise `(1, C, T, H, W)` from which the other frames go on where the known ones are.

    denoise: the model on frames `(K, C, 1, H, W)`, each a picture by itself, told the positive prompt. The noise comes
    back as it is where no frame is wholly known, and where frames do not share any.
    """
    places = last_known(task.known)
    if not places or not process.spec.noise_share:
        return noise
    pictures, own = (v[0, :, places].transpose(0, 1)[:, :, None] for v in (task.clip.to(noise), noise))

    def alone(x: Tensor, sigma: Tensor) -> Tensor:
        return denoise(x, sigma, places)

    return led(process, noise, noise_behind(alone, process, pictures, own), places)


def noise_behind(denoise: Callable, process: Process, pictures: Tensor, noise: Tensor) -> Tensor:
    """The noise that the path to each picture begins with, at unit variance. `(K, C, 1, H, W) -> (K, C, 1, H, W)`

    noise: what the pictures are covered with at FROM.
    """
    levels = [level for level in process.sigmas(WALK).flip(0).to(noise) if level >= FROM]
    x = pictures + levels[0] * noise
    for low, high in zip(levels, levels[1:], strict=False):
        x0 = denoise(x, low)
        x = x0 + (x - x0) * (high / low)
    return x / levels[-1]


def last_known(known: Tensor) -> list[int]:
    """Frames that are wholly known, next to one that is not. `(1, 1, T, H, W)`"""
    whole = (known == 1).flatten(3).all(dim=3).flatten()
    beside = torch.nn.functional.pad(~whole, (1, 1))
    return (whole & (beside[:-2] | beside[2:])).nonzero().flatten().tolist()


def led(process: Process, noise: Tensor, behind: Tensor, places: list[int]) -> Tensor:
    """Shared noise `(1, C, T, H, W)` whose common part is what lies behind the known frames at `places`.

    behind `(K, C, 1, H, W)`, in the order of `places`; between two of them it goes over from one to the other.
    """
    t = torch.arange(noise.shape[2])
    at = torch.tensor(places)
    after = torch.searchsorted(at, t).clamp(max=len(at) - 1)
    before = (torch.searchsorted(at, t, right=True) - 1).clamp(min=0)
    share = (t - at[before]) / (at[after] - at[before]).clamp(min=1)
    share = share.to(noise).view(1, 1, -1, 1, 1)
    parts = behind[:, :, 0].transpose(0, 1)[None]  # (1, C, K, H, W)
    common = torch.lerp(parts[:, :, before], parts[:, :, after], share.expand_as(noise))
    common = common / common.std(
        dim=(1, 3, 4), keepdim=True
    )  # two that differ lose variance when they are mixed
    return process.spec.noise_share**0.5 * common + noise - noise.mean(dim=2, keepdim=True)
