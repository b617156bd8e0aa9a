"""Tiny random stand-ins for big video models: native MODEL, CLIP and VAE objects of the host's own classes.

Import it in the host's interpreter, after `inside`. Every class is the host's, a few channels wide, so that a stand-in
is *given* what the real model would be given; what it makes is noise.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch
from torch import Tensor, nn

TEXT_WIDTH = 32


@dataclass(frozen=True)
class StandIn:
    """One family. stride: frames in each latent step after the first; cell: pixels of a latent cell's side."""

    model: Any
    clip: Any
    vae: Any
    stride: int
    cell: int


class Text:
    """A text encoder's stand-in, as CLIPTextEncode calls it: rows that depend on the prompt, of the model's width."""

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, text: str) -> list:
        noise = torch.Generator().manual_seed(len(text))
        rows = torch.randn(1, 7, TEXT_WIDTH, generator=noise)
        return [[rows, {"attention_mask": torch.ones(1, 7, dtype=torch.long)}]]  # LTXV does not run without


def randomised(network: nn.Module, std: float) -> nn.Module:
    """Every weight drawn, since the host's layers come without any; the VAEs' statistics are 1."""
    noise = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        nn.init.normal_(weight, std=std, generator=noise)
    for statistics in network.buffers():
        statistics.fill_(1)
    return network


def model_of(kind: str, **sizes: Any) -> Any:
    """A MODEL of one of `comfy.supported_models`, as its loader makes it."""
    config = getattr(comfy.supported_models, kind)(sizes)
    config.set_inference_dtype(torch.float32, None)
    model, cpu = config.get_model({}, ""), torch.device("cpu")
    randomised(model.diffusion_model, 0.05)
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


WAN = {
    "image_model": "wan2.1",
    "patch_size": (1, 2, 2),
    "text_len": 7,
    "text_dim": TEXT_WIDTH,
    "dim": 48,
    "ffn_dim": 32,
    "freq_dim": 16,
    "num_heads": 4,
    "num_layers": 2,
}


def wan_vae(module: str, **sizes: Any) -> Any:
    """The Wan VAE of `comfy.ldm.wan.<module>`: the host knows it in full size only, so it is built narrow for it."""
    room = importlib.import_module(f"comfy.ldm.wan.{module}")
    full, sizes = vars(room)["WanVAE"], {"dim": 8, **sizes}

    def narrow(**asked: Any) -> nn.Module:
        return full(**{**asked, **sizes})

    shape = {"dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]}
    weights = randomised(narrow(**shape), 0.1).state_dict()
    with patch.object(room, "WanVAE", narrow):
        return comfy.sd.VAE(sd=weights, dtype=torch.float32)


def wan_vace() -> StandIn:
    """Wan 2.1 VACE, and Wan 2.1's VAE of 16 channels, 4 frames and 8 x 8 pixels."""
    sizes = {"in_dim": 16, "out_dim": 16, "vace_layers": 2, "vace_in_dim": 96}
    model = model_of("WAN21_Vace", **WAN, **sizes, model_type="vace")
    return StandIn(model, Text(), wan_vae("vae", z_dim=16), stride=4, cell=8)


def wan_t2v() -> StandIn:
    """Wan 2.1 for text to video, and Wan 2.1's VAE."""
    model = model_of("WAN21_T2V", **WAN, in_dim=16, out_dim=16, model_type="t2v")
    return StandIn(model, Text(), wan_vae("vae", z_dim=16), stride=4, cell=8)


def wan_5b() -> StandIn:
    """Wan 2.2 TI2V 5B, and Wan 2.2's VAE of 48 channels, 4 frames and 16 x 16 pixels."""
    model = model_of("WAN22_T2V", **WAN, in_dim=48, out_dim=48, model_type="t2v")
    return StandIn(model, Text(), wan_vae("vae2_2", z_dim=48, dec_dim=8), stride=4, cell=16)


def ltxv_vae() -> Any:
    """LTX-Video's VAE with few blocks: 128 channels, 8 frames, 32 x 32 pixels."""
    import comfy.ldm.lightricks.vae.causal_video_autoencoder as room

    down = [["res_x", {"num_layers": 1}], *[["compress_all", {}]] * 3, ["res_x", {"num_layers": 1}]]
    still = ["res_x", {"num_layers": 1, "inject_noise": False}]
    config = {
        "dims": 3,
        "latent_channels": 128,
        "encoder_blocks": down,
        "decoder_blocks": [still, *[["compress_all", {}]] * 3, still],
        "encoder_base_channels": 16,  # for hosts that ask
        "decoder_base_channels": 16,
        "norm_layer": "pixel_norm",
        "patch_size": 4,
        "latent_log_var": "uniform",
    }
    weights = randomised(room.VideoVAE(config=config), 0.05).state_dict()
    return comfy.sd.VAE(sd=weights, dtype=torch.float32, metadata={"config": json.dumps({"vae": config})})


def ltxv() -> StandIn:
    """LTX-Video, and its VAE."""
    sizes = {"attention_head_dim": 16, "num_attention_heads": 4, "cross_attention_dim": 64, "num_layers": 2}
    model = model_of("LTXV", image_model="ltxv", **sizes, caption_channels=TEXT_WIDTH)
    return StandIn(model, Text(), ltxv_vae(), stride=8, cell=32)


FAMILIES: dict[str, Callable[[], StandIn]] = {"wan vace": wan_vace, "wan 5b": wan_5b, "ltxv": ltxv}
NEEDS = {"wan vace": "WAN21_Vace", "wan 5b": "WAN22_T2V", "ltxv": "LTXV"}


def families() -> dict[str, StandIn]:
    """Those that this host knows."""
    return {name: FAMILIES[name]() for name, kind in NEEDS.items() if hasattr(comfy.supported_models, kind)}


def on_grid(mask: Tensor, stride: int, cell: int = 1) -> Tensor:
    """A drawn mask `(T, H, W)` on a latent's grid, by hand: a cell is open as soon as one pixel in it is."""
    steps = torch.cat([mask[:1], mask[1:].unflatten(0, (-1, stride)).amax(1)])
    return steps.unflatten(1, (-1, cell)).unflatten(3, (-1, cell)).amax((2, 4))
