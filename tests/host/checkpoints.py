"""Whole checkpoints of random weights that ComfyUI's own loader knows: U-Net, VAE and text encoder.

Import it in the host's interpreter, after `inside`. The loader knows a family by its widths, so these are true; a small
one has fewer levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.ops
import comfy.sd1_clip
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from inside_inflate import SD15 as NARROW
from safetensors.torch import save_file
from torch import Tensor

SD15 = {**NARROW, "model_channels": 320, "channel_mult": [1, 2, 4, 4], "context_dim": 768}
SMALL_SD15 = {  # two levels of SD1.5's finest
    **SD15,
    "channel_mult": [1, 1],
    "num_res_blocks": [1, 1],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
}
X4 = {  # the x4 upscaler
    **NARROW,
    "in_channels": 7,
    "model_channels": 256,
    "channel_mult": [1, 2, 2, 4],
    "transformer_depth": [0, 0, 1, 1, 1, 1, 1, 1],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    "disable_self_attentions": [True, True, True, False],
    "use_linear_in_transformer": True,
    "num_classes": 1000,
    "context_dim": 1024,
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


def drawn_tensors(shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values for tensors that may hold none, in half precision, sized so that a layer gives about what it is given."""
    found = {}
    for name, weight in shapes.items():
        if name.endswith("position_ids"):
            continue
        if weight.ndim > 1:
            found[name] = (torch.randn(weight.shape) / weight[0].numel() ** 0.5).half()
        else:
            found[name] = torch.full(weight.shape, float(name.endswith("weight"))).half()
    return found


def open_clip(layers: int = 24, width: int = 1024) -> dict[str, Tensor]:
    """SD2's text encoder, in the layout its checkpoints have it."""
    shapes = {"positional_embedding": (77, width), "token_embedding.weight": (49408, width)}
    shapes |= {f"ln_final.{part}": (width,) for part in ("weight", "bias")}
    for i in range(layers):
        for name, rows, columns in (
            ("attn.in_proj_", 3 * width, width),
            ("attn.out_proj.", width, width),
            ("mlp.c_fc.", 4 * width, width),
            ("mlp.c_proj.", width, 4 * width),
            ("ln_1.", width, 0),
            ("ln_2.", width, 0),
        ):
            block = f"transformer.resblocks.{i}.{name}"
            shapes |= {f"{block}weight": (rows, columns) if columns else (rows,), f"{block}bias": (rows,)}
    return drawn_tensors({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})


def write_checkpoint(path: Path, sizes: dict[str, Any]) -> None:
    """A checkpoint of these sizes: the x4 upscaler, or of SD1.5's kind."""
    x4 = sizes["in_channels"] == 7
    with torch.device("meta"):
        unet = UNetModel(**sizes, dtype=torch.float16, operations=comfy.ops.disable_weight_init)
        vae = AutoencoderKL(ddconfig={**VAE, "ch_mult": [1, 2, 4]} if x4 else VAE, embed_dim=4)
        text = comfy.sd1_clip.SDClipModel(dtype=torch.float16).transformer.text_model
    words = {"cond_stage_model.model.": open_clip()} if x4 else {}
    words = words or {"cond_stage_model.transformer.text_model.": drawn_tensors(text.state_dict())}
    parts = {
        "model.diffusion_model.": drawn_tensors(unet.state_dict()),
        "first_stage_model.": drawn_tensors(vae.state_dict()),
        **words,
    }
    save_file({front + name: t for front, part in parts.items() for name, t in part.items()}, path)
