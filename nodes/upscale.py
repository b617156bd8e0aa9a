"""Nodes that make a clip larger."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.limits import within
from ..lumiere_core.model.checkpoint import bundled, read
from .host.model import make_model
from .host.sampling import enlarge_clip, upscale_condition, with_options
from .sockets import schema, seed_input
from .tensors import clip_of, image_of, latent_of


class Upscale(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Upscale",
            display_name="Enlarge a Clip (SSR)",
            category="Lumiere/start",
            description="Makes a Lumiere clip four times larger, in overlapping windows of frames "
            "that are averaged at every step (MultiDiffusion). The bundled SSR model "
            "knows the drawn world only.",
            search_aliases=["super resolution", "upscale video", "ssr", "multidiffusion"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="The clip to enlarge, 64x64 for the mini model. Any number of frames."
                ),
                seed_input("The random seed of the details."),
                io.Int.Input(
                    "steps", default=6, **within("steps"), tooltip="Denoising steps. 6 are enough here."
                ),
                io.Int.Input(
                    "window", default=16, **within("window"), tooltip="Frames the model sees at a time."
                ),
                io.Int.Input(
                    "overlap",
                    default=2,
                    **within("overlap"),
                    tooltip="Frames that neighbouring windows share. Less than the window.",
                ),
                io.Float.Input(
                    "noise_level",
                    default=0.05,
                    **within("noise_level"),
                    step=0.01,
                    tooltip="Noise mixed into the clip first. Higher values let the model change "
                    "and invent more.",
                ),
                io.Model.Input(
                    "model", optional=True, tooltip="Another SSR MODEL. Without it the bundled one is used."
                ),
                io.Conditioning.Input(
                    "positive", optional=True, tooltip="What the clip shows. May be left out."
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
        out = enlarge_clip(model, positive, clip_of(image), seed, steps, window, overlap, noise_level)
        return io.NodeOutput(image_of(out))


class UpscaleConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_UpscaleConditioning",
            display_name="Enlarge with KSampler (SSR Conditioning)",
            category="Lumiere/condition",
            description="Prepares a clip for an SSR model in any sampler, KSampler included. Put "
            "Long Clips (MultiDiffusion) with window 16, overlap 2 and freenoise off "
            "on the MODEL; use 6 steps at cfg 1.",
            search_aliases=["ssr", "super resolution", "upscale conditioning", "ksampler upscale"],
            inputs=[
                io.Model.Input("model", tooltip="The SSR model, from Load Lumiere Model."),
                io.Conditioning.Input("positive", tooltip="What the clip shows."),
                io.Conditioning.Input("negative", tooltip="Not used at cfg 1."),
                io.Image.Input("image", tooltip="The clip to enlarge, 64x64 for the mini model."),
                io.Float.Input(
                    "noise_level",
                    default=0.05,
                    **within("noise_level"),
                    step=0.01,
                    tooltip="Noise mixed into the clip first. Higher values let the model change "
                    "and invent more.",
                ),
                seed_input("The random seed of that noise."),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.Latent.Output(display_name="LATENT", tooltip="An empty clip, four times as large."),
            ],
        )

    @classmethod
    def execute(
        cls, model: Any, positive: Any, negative: Any, image: Tensor, noise_level: float, seed: int
    ) -> io.NodeOutput:
        condition, canvas = upscale_condition(model, clip_of(image), noise_level, seed)
        return io.NodeOutput(
            with_options(positive, condition), with_options(negative, condition), latent_of(canvas)
        )
