"""Nodes that change how a MODEL is sampled, by any sampler: MODEL in, MODEL out."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..lumiere_core.config import replace
from ..lumiere_core.diffusion.guidance import check_guidance
from ..lumiere_core.diffusion.windows import WINDOW_WEIGHTS, Windows
from ..lumiere_core.limits import within
from .host.controls import control_of, controlled
from .host.model import LumiereModel
from .sockets import advanced, schema, seed_input


class Guidance(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Guidance",
            display_name="Guidance for Clips",
            category="Lumiere/control",
            description="Controls how strong guidance (cfg) acts, so that colours do not burn. It "
            "is measured over the whole clip, so brightness does not change from "
            "frame to frame. Works with any sampler.",
            search_aliases=["cfg rescale", "rescale cfg", "guidance interval", "dynamic thresholding"],
            inputs=[
                io.Model.Input("model", tooltip="Any MODEL."),
                io.Float.Input(
                    "rescale",
                    default=0.7,
                    **within("rescale"),
                    step=0.05,
                    tooltip="Reduces contrast to that of the prompt alone. 0 is off, 0.7 is usual.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    **within("percent"),
                    step=0.01,
                    tooltip="Guidance begins at this part of sampling, 0 to 1. Before it cfg is "
                    "1, which is twice as fast.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    **within("percent"),
                    step=0.01,
                    tooltip="Guidance ends at this part of sampling, 0 to 1. After it cfg is 1, "
                    "which is twice as fast.",
                ),
                advanced(
                    io.Float.Input(
                        "threshold",
                        default=0.0,
                        **within("threshold"),
                        step=0.005,
                        tooltip="Dynamic thresholding, for Lumiere's pixel models. 0 is off; use "
                        "0.995 with a high cfg.",
                    )
                ),
            ],
            outputs=[io.Model.Output(display_name="MODEL")],
        )

    @classmethod
    def execute(
        cls, model: Any, rescale: float, start_percent: float, end_percent: float, threshold: float
    ) -> io.NodeOutput:
        check_guidance(rescale=rescale, quantile=threshold)
        if start_percent > end_percent:
            raise ValueError(
                f"start_percent is {start_percent:g}, which lies after end_percent {end_percent:g}. Swap "
                "them."
            )
        if threshold and not isinstance(model.model, LumiereModel):
            raise ValueError(
                f"threshold is {threshold:g}, but dynamic thresholding needs a MODEL of pixels from -1 to "
                "1, and this one works on a latent. Set it to 0; rescale does the same job there."
            )
        interval = (start_percent, end_percent)
        return io.NodeOutput(controlled(model, rescale=rescale, interval=interval, quantile=threshold))


class MultiDiffusion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_MultiDiffusion",
            display_name="Long Clips (MultiDiffusion)",
            category="Lumiere/control",
            description="The MODEL sees a window of frames at a time. Overlapping windows are "
            "averaged at every step, so a clip may be longer than the model or the "
            "memory allows. Works with any sampler.",
            search_aliases=[
                "context window",
                "context options",
                "sliding window",
                "long video",
                "multidiffusion",
            ],
            inputs=[
                io.Model.Input(
                    "model", tooltip="Any MODEL with frames: Lumiere, video models, frames as batch."
                ),
                io.Int.Input(
                    "window",
                    default=80,
                    **within("window"),
                    tooltip="Frames the MODEL sees at a time, counted in the LATENT: 80 for "
                    "Lumiere mini, 16 for its SSR and for AnimateDiff, 21 for Wan.",
                ),
                io.Int.Input(
                    "overlap",
                    default=16,
                    **within("overlap"),
                    tooltip="Frames that neighbouring windows share. More is smoother and slower.",
                ),
                advanced(
                    io.Combo.Input(
                        "weights",
                        options=list(WINDOW_WEIGHTS),
                        default="triangle",
                        tooltip="How much each frame of a window counts. triangle: less towards "
                        "the window's ends. flat: all alike.",
                    )
                ),
                io.Boolean.Input(
                    "wrap",
                    default=False,
                    tooltip="Windows continue from the end of the clip to its beginning, so that "
                    "it loops. Needs a clip longer than the window.",
                ),
                io.Boolean.Input(
                    "freenoise",
                    default=True,
                    tooltip="Windows share their noise (FreeNoise), so the scene changes less "
                    "over a long clip.",
                ),
            ],
            outputs=[io.Model.Output(display_name="MODEL")],
        )

    @classmethod
    def execute(
        cls, model: Any, window: int, overlap: int, weights: str, wrap: bool, freenoise: bool
    ) -> io.NodeOutput:
        roll = control_of(model.model_options).windows.roll
        windows = Windows(window, overlap, weights, wrap, roll)
        windows.parts(1)  # what cannot be is said here, not at the sampler
        return io.NodeOutput(controlled(model, windows=windows, free_noise=freenoise))


class Loop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Loop",
            display_name="Seamless Loop (while Sampling)",
            category="Lumiere/control",
            description="Makes the MODEL sample a clip that loops: at every step the clip is "
            "rotated in time, so that the last frame leads back to the first. Any "
            "number of frames works. Works with any sampler.",
            search_aliases=["loop", "seamless loop", "looping video", "closed loop", "living photo"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Any MODEL with frames. The VAE of Wan and LTX leaves a "
                    "seam; use Make a Loop for those.",
                ),
                seed_input("Sets where each step begins. Any number works."),
            ],
            outputs=[io.Model.Output(display_name="MODEL")],
        )

    @classmethod
    def execute(cls, model: Any, seed: int) -> io.NodeOutput:
        windows = replace(control_of(model.model_options).windows, roll=seed)
        return io.NodeOutput(controlled(model, windows=windows))
