"""Nodes that make a clip larger."""

from __future__ import annotations

from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.checkpoint import bundled, read
from ..lumiere_core.generate import augmented, check_size
from ..lumiere_core.windows import shares
from .host import LumiereModel, host_sampler, make_clip, make_model, with_windows
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
                    default=0.1,
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
        if model is None or positive is None:
            weights = read(bundled("ssr"))
            model = model or make_model(weights)
        if not isinstance(model.model, LumiereModel) or model.model.lumiere.kind != "ssr":
            raise ValueError(
                "the MODEL is not a Lumiere super-resolution model. Choose an SSR model in Load Lumiere "
                "Model, or leave the input empty."
            )
        if positive is None:
            clip = make_clip(weights)
            positive = clip.encode_from_tokens_scheduled(clip.tokenize(""))
        spec = model.model.lumiere
        low_res = clip_of(image)
        multiple = spec.unet.size_multiple // spec.scale
        check_size("width", low_res.shape[-1], multiple)
        check_size("height", low_res.shape[-2], multiple)

        condition = {
            "low_res": augmented(low_res, noise_level, seed),
            "noise_level": torch.full((1,), noise_level),
        }
        positive = [[rows, {**options, **condition}] for rows, options in positive]
        _, _, frames, height, width = low_res.shape
        canvas = torch.zeros(1, 3, frames, spec.scale * height, spec.scale * width)
        bar = comfy.utils.ProgressBar(steps * len(shares(frames, window, overlap)))
        windows = with_windows(model, window, overlap, lambda *_: bar.update(1))
        sigmas = comfy.samplers.calculate_sigmas(
            model.get_model_object("model_sampling"), "sgm_uniform", steps
        )
        out = comfy.sample.sample_custom(
            windows,
            comfy.sample.prepare_noise(canvas, seed),
            1.0,
            host_sampler("dpmpp_2m"),
            sigmas,
            positive,
            positive,
            canvas,
            seed=seed,
        )
        return io.NodeOutput(image_of(out))
