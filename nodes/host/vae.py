"""The VAE of our pixel models, which have no latent of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...lumiere_core.config import MINI_LABEL, ModelSpec
from ...lumiere_core.train.world.likeness import FAR, far_from_drawn
from ..tensors import clip_of, image_of, three_channels
from .notify import show_here


class PixelVAE:
    """The VAE of a pixel model. It changes the layout only and loses nothing. The core's nodes can use it.

    trained: the long side its model was trained at, and what its sides are multiples of, both in pixels.
    """

    latent_channels = 3
    latent_dim = 3
    downscale_ratio = upscale_ratio = 1

    def __init__(self, spec: ModelSpec) -> None:
        self.trained = spec.size, spec.unet.size_multiple
        self.drawn = spec.label == MINI_LABEL  # its model knows the drawn world only

    def remark(self, pixels: Tensor) -> str:
        """What an artist should know before a model is given this IMAGE; mostly empty."""
        far = self.drawn and far_from_drawn(three_channels(pixels)[0].movedim(-1, 0))
        return FAR if far else ""

    def encode(self, pixels: Tensor) -> Tensor:
        """IMAGE -> LATENT samples `(1, 3, T, H, W)`. Says on the running node if the model knows no such picture."""
        if remark := self.remark(pixels):
            show_here(remark)
        return clip_of(pixels)

    def decode(self, samples: Tensor, *_: Any, **__: Any) -> Tensor:
        """LATENT samples `(B, 3, T, H, W)` -> `(B, T, H, W, 3)`; core VAEDecode joins B and T."""
        if samples.ndim == 4:
            samples = samples[:, :, None]
        if samples.ndim != 5 or samples.shape[1] != 3:
            raise ValueError(
                f"this LATENT has the shape {tuple(samples.shape)}, but the Lumiere mini VAE decodes clips of "
                "3 channels. Decode it with the VAE of the model that made it."
            )
        return torch.stack([image_of(one[None]) for one in samples])

    def encode_tiled(self, pixels: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.encode(pixels)

    def decode_tiled(self, samples: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.decode(samples)

    def spacial_compression_decode(self) -> int:
        return 1

    spacial_compression_encode = spacial_compression_decode

    def temporal_compression_decode(self) -> None:
        return None

    def throw_exception_if_invalid(self) -> None:
        pass

    def get_sd(self) -> dict[str, Tensor]:
        return {"pixel_space_vae": torch.tensor(1.0)}
