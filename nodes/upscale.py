"""Nodes that make a clip larger."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.checkpoint import bundled, read
from .host import LumiereModel, make_clip, make_model
from .sampling import enlarge_clip
from .sockets import schema, seed_input
from .tensors import clip_of, image_of


class Upscale(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Upscale",
            display_name="Enlarge a Clip (SSR)",
            category="Lumiere/start",
            description="Four times larger, over overlapping windows of frames that are fused at every step "
            "(MultiDiffusion). The bundled SSR model knows the drawn world only.",
            search_aliases=["super resolution", "upscale video", "ssr", "multidiffusion"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="The clip to enlarge, 64x64 for the mini model. Any number of frames."
                ),
                seed_input("The random seed of the details."),
                io.Int.Input(
                    "steps", default=6, min=1, max=1000, tooltip="Denoising steps; few are enough here."
                ),
                io.Int.Input(
                    "window", default=16, min=1, max=4096, tooltip="Frames the model sees at a time."
                ),
                io.Int.Input(
                    "overlap",
                    default=2,
                    min=0,
                    max=4095,
                    tooltip="Frames that neighbouring windows share. Below the window.",
                ),
                io.Float.Input(
                    "noise_level",
                    default=0.05,
                    min=0.0,
                    max=0.4,
                    step=0.01,
                    tooltip="Noise mixed into the clip first. More of it repairs more and invents more.",
                ),
                io.Model.Input(
                    "model", optional=True, tooltip="Another SSR MODEL. Without it the bundled one is used."
                ),
                io.Conditioning.Input(
                    "positive", optional=True, tooltip="What is seen; helps a little. May be left out."
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        seed: int,
        steps: int,
        window: int,
        overlap: int,
        noise_level: float,
        model: Any = None,
        positive: Any = None,
    ) -> io.NodeOutput:
        model = model or make_model(read(bundled("ssr")))
        if not isinstance(model.model, LumiereModel) or model.model.lumiere.kind != "ssr":
            raise ValueError(
                "the MODEL is not a Lumiere super-resolution model. Choose an SSR model in Load Lumiere "
                "Model, or leave the input empty."
            )
        if positive is None:
            clip = make_clip(model.model.text)
            positive = clip.encode_from_tokens_scheduled(clip.tokenize(""))
        out = enlarge_clip(model, positive, clip_of(image), seed, steps, window, overlap, noise_level)
        return io.NodeOutput(image_of(out))
