"""Converts ComfyUI's layouts to the engine's and back. No other file does.

IMAGE is `(T, H, W, C)` in [0, 1], a clip being the batch; the engine's clip is `(1, 3, T, H, W)` in [-1, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..lumiere_core.media.frames import Rendered, TensorFrames


def three_channels(image: Tensor) -> Tensor:
    """An IMAGE of three channels: alpha is dropped, grey is repeated."""
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(*image.shape[:-1], 3)


def clip_of(image: Tensor) -> Tensor:
    """IMAGE `(T, H, W, C)` in [0, 1] -> clip `(1, 3, T, H, W)` in [-1, 1]. Alpha is dropped, grey is repeated."""
    return three_channels(image).permute(3, 0, 1, 2)[None].float() * 2 - 1


def image_of(clip: Tensor) -> Tensor:
    """Clip `(1, 3, T, H, W)` in [-1, 1] -> IMAGE `(T, H, W, 3)` in [0, 1], clipped, contiguous."""
    return (clip[0].permute(1, 2, 3, 0).float() / 2 + 0.5).clamp(0, 1).contiguous()


def frames_of(image: Tensor) -> Tensor:
    """IMAGE -> `(T, H, W, 3)` float32 in [0, 1] on the CPU, for the tools that need no model; often a view."""
    return three_channels(image).float().cpu()


def source_of(image: Tensor) -> TensorFrames:
    """IMAGE as a clip to go through frame by frame, without a copy of it."""
    return TensorFrames(three_channels(image))


def with_even_sides(clip: Rendered) -> Rendered:
    """A clip whose sides are even, as video files need them: an odd one has its last row or column repeated."""
    odd = (0, clip.height % 2), (0, clip.width % 2), (0, 0)
    if not (odd[0][1] or odd[1][1]):
        return clip
    height, width = clip.height + odd[0][1], clip.width + odd[1][1]
    return Rendered(
        clip.count, height, width, clip.fps, lambda: (np.pad(frame, odd, mode="edge") for frame in clip)
    )


def change_of(mask: Tensor) -> Tensor:
    """MASK -> `(T, H, W)` float32 on the CPU, beside `frames_of`."""
    return mask.reshape(-1, *mask.shape[-2:]).float().cpu()


def known_of(mask: Tensor) -> Tensor:
    """MASK `(T, H, W)` or `(H, W)`, 1 = change -> M `(1, 1, T, H, W)`, 1 = known."""
    return 1 - change_of(mask).clamp(0, 1)[None, None]


def mask_of(known: Tensor) -> Tensor:
    """M `(1, 1, T, H, W)`, 1 = known -> MASK `(T, H, W)`, 1 = change."""
    return (1 - known[0, 0]).contiguous()


def strength_of(mask: Tensor) -> Tensor:
    """MASK -> how strongly each place changes `(T, 1, H, W)` in [0, 1], for frames as batch."""
    return change_of(mask).clamp(0, 1)[:, None]


def latent_of(clip: Tensor) -> dict[str, Any]:
    """Clip `(1, 3, T, H, W)` -> LATENT. Newer hosts would otherwise rescale an empty one by 8."""
    return {"samples": clip, "downscale_ratio_spacial": 1}
