"""Nodes that make a clip."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io

from ..lumiere_core.diffusion.samplers import SAMPLERS
from ..lumiere_core.limits import within
from .host.progress import announce
from .host.sampling import sample_clip
from .sockets import schema, seed_input
from .tensors import latent_of


class EmptyVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_EmptyVideo",
            display_name="Empty Clip",
            category="Lumiere/start",
            description="An empty clip for a Lumiere pixel model. Its latent has the size of the "
            "clip in pixels. 80 frames are 5 seconds.",
            search_aliases=["empty latent video", "lumiere latent", "frames"],
            inputs=[
                io.Int.Input(
                    "width",
                    default=64,
                    **within("clip.size"),
                    step=16,
                    tooltip="Width in pixels before super-resolution. The mini model was trained at 64.",
                ),
                io.Int.Input(
                    "height",
                    default=64,
                    **within("clip.size"),
                    step=16,
                    tooltip="Height in pixels before super-resolution. The mini model was trained at 64.",
                ),
                io.Int.Input(
                    "frames",
                    default=80,
                    **within("frames"),
                    tooltip="Number of frames; any number works. The mini model was trained on "
                    "80, 5 seconds at 16 fps.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="LATENT")],
        )

    @classmethod
    def execute(cls, width: int, height: int, frames: int) -> io.NodeOutput:
        announce(frames, height, width, "Choose fewer frames or a smaller size.")
        samples = torch.zeros(
            1, 3, frames, height, width, device=comfy.model_management.intermediate_device()
        )
        return io.NodeOutput(latent_of(samples))


class Sample(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Sample",
            display_name="Sample a Clip",
            category="Lumiere/start",
            description="Makes all frames of the clip in one pass. The core KSampler with the "
            "scheduler sgm_uniform gives the same clip.",
            search_aliases=["ksampler", "lumiere sampler", "text to video", "t2v"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Lumiere Model, or any MODEL."),
                io.Conditioning.Input("positive", tooltip="What to show."),
                io.Conditioning.Input("negative", tooltip="What not to show."),
                io.Latent.Input("latent", tooltip="From Empty Clip, or an encoded clip."),
                seed_input(),
                io.Int.Input(
                    "steps",
                    default=20,
                    **within("steps"),
                    tooltip="Denoising steps. 20 is enough; 8 gives a rough version.",
                ),
                io.Float.Input(
                    "cfg",
                    default=3.0,
                    **within("cfg"),
                    step=0.1,
                    tooltip="How closely the prompt is followed. 1 is off, and twice as fast.",
                ),
                io.Combo.Input(
                    "sampler",
                    options=list(SAMPLERS),
                    default="dpmpp_2m",
                    tooltip="dpmpp_2m needs the fewest steps.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="LATENT")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent: dict,
        seed: int,
        steps: int,
        cfg: float,
        sampler: str,
    ) -> io.NodeOutput:
        return io.NodeOutput(sample_clip(model, positive, negative, latent, seed, steps, cfg, sampler))
