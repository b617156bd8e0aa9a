"""How far pictures are from a style: colour and detail statistics, the same for every model and every style."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = 3  # of detail: finer than 2, 4 and 8 pixels


def statistics(pictures: Tensor) -> Tensor:
    """What a style shows in: of each picture `(B, 3, H, W)` in [-1, 1] 18 numbers, `(B, 18)`.

    The mean colour, the spread of each channel, the covariances between channels, and how much detail each channel has
    at three sizes (mean absolute value of the bands of a Laplacian pyramid; Burt and Adelson 1983).
    """
    flat = pictures.flatten(2)
    mean, spread = flat.mean(2), flat.std(2)
    centred = flat - mean[..., None]
    shared = torch.stack([(centred[:, i] * centred[:, j]).mean(1) for i, j in ((0, 1), (0, 2), (1, 2))], 1)
    details, now = [], pictures
    for _ in range(BANDS):
        small = F.avg_pool2d(now, 2)
        details.append((now - F.interpolate(small, scale_factor=2.0)).abs().mean((2, 3)))
        now = small
    return torch.cat([mean, spread, shared, *details], 1)


@dataclass(frozen=True)
class StyleGauge:
    """Measures pictures against those of a style.

    centre  `(18,)`, the mean of the style's pictures
    unit    `(18,)`, the spread of plain pictures: a distance of 1 is as far as two plain pictures lie apart
    """

    centre: Tensor
    unit: Tensor

    @classmethod
    def of(cls, style: Tensor, plain: Tensor) -> StyleGauge:
        return cls(statistics(style).mean(0), statistics(plain).std(0).clamp(min=1e-3))

    def distance(self, pictures: Tensor) -> float:
        """Root mean square distance between the means: what single pictures show is averaged out. Use eight or more."""
        return float(((statistics(pictures).mean(0) - self.centre) / self.unit).square().mean().sqrt())
