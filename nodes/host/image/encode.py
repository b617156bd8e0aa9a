"""A program: clips and captions as a checkpoint's own VAE and text encoder see them, for `train temporal --backbone`.

    <ComfyUI's python> encode.py COMFYUI CHECKPOINT

The engine starts it in ComfyUI's own interpreter and never imports it. It reads one JSON object a line,

    {"caption": words, "size": pixels a side, "pixels": a safetensors file with "pixels" (T, H, W, 3) uint8, or null,
     "out": where the result goes}

and answers each with a line `LUMIERE {"error": ""}`; what ComfyUI itself prints begins otherwise. A result is a
safetensors file with "context" (L, D), for SDXL "label" (W), "latents" (T, C, h, w) as the network has them, for the x4
upscaler "small" (T, 3, h, w) in [-1, 1], "sigmas", the checkpoint's table of noise levels, and in its metadata
"prediction": eps or v.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

REPLY = "LUMIERE "
ACCELERATORS = ("cuda", "xpu", "mps")


def has_accelerator() -> bool:
    return any(hasattr(torch, name) and getattr(torch, name).is_available() for name in ACCELERATORS)


class Checkpoint:
    """A whole checkpoint, as ComfyUI's own loader has it. Raises ValueError for one that cannot be trained on."""

    def __init__(self, path: str) -> None:
        import comfy.sd
        from comfy.model_base import ModelType

        loaded = comfy.sd.load_checkpoint_guess_config(path, output_vae=True, output_clip=True)
        self.model, self.clip, self.vae = loaded[0].model, loaded[1], loaded[2]
        if self.clip is None or getattr(self.clip, "cond_stage_model", None) is None:
            raise ValueError("it has no text encoder: take a whole checkpoint, not the U-Net alone")
        if getattr(self.vae, "first_stage_model", None) is None:
            raise ValueError("it has no VAE: take a whole checkpoint, not the U-Net alone")
        kinds = {ModelType.EPS: "eps", ModelType.V_PREDICTION: "v"}
        if self.model.model_type not in kinds:
            raise ValueError(f"it predicts {self.model.model_type.name}, but eps and v are trained here")
        self.prediction = kinds[self.model.model_type]

    def text(self, caption: str, size: int) -> dict[str, Tensor]:
        """What the network is told of a prompt, for pictures of that size."""
        rows, pooled = self.clip.encode_from_tokens(self.clip.tokenize(caption), return_pooled=True)
        found = {"context": rows[0]}
        label = self.model.encode_adm(pooled_output=pooled, width=size, height=size, device=rows.device)
        return found if label is None else {**found, "label": label[0]}

    def latents(self, pixels: Tensor) -> Tensor:
        """Frames `(T, H, W, 3)` uint8 as the network has them, `(T, C, h, w)`."""
        return self.model.process_latent_in(self.vae.encode(pixels.float() / 255))

    def small(self, pixels: Tensor) -> dict[str, Tensor]:
        """What the x4 upscaler is shown beside the latents, at their size; nothing for others."""
        from comfy.model_base import SD_X4Upscaler

        if not isinstance(self.model, SD_X4Upscaler):
            return {}
        return {"small": F.avg_pool2d(pixels.movedim(-1, 1) / 127.5 - 1, 4)}

    def answer(self, caption: str, size: int, pixels: str | None, out: str) -> None:
        """One request, into a file."""
        tensors = {**self.text(caption, size), "sigmas": self.model.model_sampling.sigmas}
        if pixels:
            frames = load_file(pixels)["pixels"]
            tensors |= {"latents": self.latents(frames), **self.small(frames)}
        kept = {name: t.detach().float().cpu().contiguous() for name, t in tensors.items()}
        save_file(kept, out, {"prediction": self.prediction})


def tell(error: str = "") -> None:
    print(REPLY + json.dumps({"error": error}), flush=True)


def serve(host: str, path: str) -> None:
    sys.path.insert(0, host)
    sys.argv = [sys.argv[0], *([] if has_accelerator() else ["--cpu"])]
    import comfy.options

    comfy.options.enable_args_parsing()
    checkpoint: Any = None
    for line in sys.stdin:
        try:
            with torch.inference_mode():
                checkpoint = checkpoint or Checkpoint(path)
                checkpoint.answer(**json.loads(line))
        except Exception as error:  # the host's loaders raise all kinds: each is told, in one line
            tell(" ".join(str(error).split()) or type(error).__name__)
        else:
            tell()


if __name__ == "__main__":
    serve(*sys.argv[1:3])
