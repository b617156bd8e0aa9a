"""The Stable Diffusion x4 upscaler on clips: the host's own U-Net and VAE, frames as batch, over tiles and windows.

The network looks at single frames. What makes neighbours in time agree is noise that all frames share, in the LATENT
and in the small clip: where the clip stands still, so does what is made of it. A MODEL with a motion file works, too.
"""

from __future__ import annotations

from typing import Any

import comfy.model_base
import comfy.sample
import torch
from torch import Tensor, nn

from ....lumiere_core.diffusion.process import check_noise_level
from ....lumiere_core.diffusion.windows import tiles_of
from ..progress import HostBar
from ..sampling import Enlarging, sample_in_windows, with_options

SCALE = 4
LOADED = "Load Checkpoint with x4-upscaler-ema.safetensors"
AUGMENTOR = "noise_augmentor"  # what the host's model calls the layer that adds noise to the small clip


def is_x4(model: Any) -> bool:
    """Whether a MODEL is the Stable Diffusion x4 upscaler, as the core loader makes it."""
    return isinstance(model.model, comfy.model_base.SD_X4Upscaler)


class OneNoise(nn.Module):
    """The host's noise augmentation with one draw for all frames; where the host has a draw for each, a still flickers.

    x `(T, 3, h, w)` in [-1, 1]; noise_level `(1,)`, from 0 to `max_noise_level` - 1.
    """

    def __init__(self, augmentor: Any) -> None:
        super().__init__()
        self.augmentor, self.max_noise_level = augmentor, augmentor.max_noise_level

    def forward(self, x: Tensor, noise_level: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(x[:1].shape, generator=torch.Generator().manual_seed(seed)).to(x)
        return self.augmentor.q_sample(x, noise_level, noise=noise), noise_level


def check_vae(vae: Any) -> None:
    """Raises ValueError for a VAE that is not the x4 upscaler's own."""
    if vae is None:
        raise ValueError(f"the x4 upscaler works on a latent. Connect vae, the VAE of {LOADED}.")
    scale, channels = getattr(vae, "spacial_compression_decode", lambda: None)(), vae.latent_channels
    if (scale, channels) != (SCALE, SCALE):
        raise ValueError(
            f"the VAE enlarges {channels} channels by {scale}, but the x4 upscaler's own enlarges 4 channels by 4. "
            f"Connect the VAE of {LOADED}."
        )


def check_prompt(model: Any, name: str, conditioning: Any) -> None:
    """Raises ValueError where a prompt is missing, or made by another model's CLIP."""
    width = model.model.model_config.unet_config["context_dim"]
    remedy = f"Connect CLIP Text Encode with the CLIP of {LOADED}; an empty text will do."
    if not conditioning:
        raise ValueError(f"the x4 upscaler reads a prompt, but {name} is not connected. {remedy}")
    for rows, _ in conditioning:
        if rows.shape[-1] != width:
            raise ValueError(
                f"{name} is a prompt of {rows.shape[-1]} channels, but the x4 upscaler reads {width}. {remedy}"
            )


def enlarge_frames(
    model: Any, vae: Any, prompts: tuple[Any, Any], clip: Tensor, latent: dict, how: Enlarging, tile: int
) -> Tensor:
    """Clip `(1, 3, T, h, w)` in [-1, 1] -> IMAGE `(T, 4h, 4w, 3)`, over a LATENT `(T, 4, h, w)`. Raises ValueError.

    how   its noise_level, from 0 to 1, is a share of the levels that the model knows (350)
    tile  pixels of the small frame's sides that a call sees; neighbours share a quarter
    """
    check_noise_level(how.noise_level)
    canvas = latent["samples"]
    told = {"concat_image": clip[0].transpose(0, 1), "noise_augmentation": how.noise_level}
    positive, negative = (with_options(prompt, told) for prompt in prompts)
    rows, columns = tiles_of(*canvas.shape[-2:], tile)
    model = model.clone()
    model.add_object_patch(AUGMENTOR, OneNoise(model.get_model_object(AUGMENTOR)))
    noise = comfy.sample.prepare_noise(canvas, how.seed, [0] * len(canvas))
    tiles = len(rows) * len(columns)
    made = sample_in_windows(model, how, (positive, negative), latent, noise, len(canvas), tiles, tile=tile)
    return decoded(vae, made, how.window)


def decoded(vae: Any, samples: Tensor, at_a_time: int) -> Tensor:
    """LATENT samples `(T, 4, h, w)` -> IMAGE `(T, 4h, 4w, 3)`, some frames at a time, so that it can be cancelled."""
    frames, _, height, width = samples.shape
    image, bar = torch.empty(frames, SCALE * height, SCALE * width, 3), HostBar()
    for first in range(0, frames, at_a_time):
        bar(first, frames, "decoding")
        image[first : first + at_a_time] = vae.decode(samples[first : first + at_a_time])
    return image
