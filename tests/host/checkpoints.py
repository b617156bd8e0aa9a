"""Whole checkpoints of random weights that ComfyUI's own loader knows: U-Net, VAE and text encoder.

Import it in the host's interpreter, after `inside`. The loader knows a family by its widths, so these are true; a small
one has fewer levels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.sd1_clip
import comfy.supported_models
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from inside_inflate import SD15 as NARROW
from safetensors.torch import save_file
from torch import Tensor, nn

SD15 = {**NARROW, "model_channels": 320, "channel_mult": [1, 2, 4, 4], "context_dim": 768}
SMALL_SD15 = {  # two levels of SD1.5's finest
    **SD15,
    "channel_mult": [1, 1],
    "num_res_blocks": [1, 1],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
}
VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def drawn_weights(layers: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Weights for layers that hold none, in half precision, sized so that values keep theirs from layer to layer."""
    found = {}
    for name, weight in layers.state_dict().items():
        if name.endswith("position_ids"):
            continue
        if weight.ndim > 1:
            found[prefix + name] = (torch.randn(weight.shape) / weight[0].numel() ** 0.5).half()
        else:
            found[prefix + name] = torch.full(weight.shape, float(name.endswith("weight"))).half()
    return found


def write_checkpoint(path: Path, sizes: dict[str, Any]) -> None:
    """An SD1.5 checkpoint of these sizes."""
    with torch.device("meta"):
        config = comfy.supported_models.SD15(dict(sizes))
        config.set_inference_dtype(torch.float16, None)
        unet = config.get_model({}, "").diffusion_model
        vae = AutoencoderKL(ddconfig=VAE, embed_dim=4)
        text = comfy.sd1_clip.SDClipModel(dtype=torch.float16).transformer.text_model
    save_file(
        {
            **drawn_weights(unet, "model.diffusion_model."),
            **drawn_weights(vae, "first_stage_model."),
            **drawn_weights(text, "cond_stage_model.transformer.text_model."),
        },
        path,
    )
