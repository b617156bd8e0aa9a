"""Nodes that show what a clip does."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor

from ..lumiere_core.measure import xt_slice
from .sockets import schema


class XTSlice(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_XTSlice",
            display_name="Motion Trace (X-T Slice)",
            category="Lumiere/inspect",
            description="One row of pixels, stacked over time: smooth traces are consistent motion, jagged ones "
            "flicker, "
            "straight ones a still picture.",
            search_aliases=["xt slice", "temporal consistency", "flicker", "motion"],
            inputs=[
                io.Image.Input("image", tooltip="The clip."),
                io.Float.Input(
                    "row",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Height of the row: 0 is the top, 1 the bottom.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="Width of the clip, one line for each frame.")
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, image: Tensor, row: float) -> io.NodeOutput:
        traced = (
            xt_slice(image[..., :3].movedim(-1, 0), row).movedim(0, -1)[None].contiguous()
        )  # (1, T, W, 3)
        return io.NodeOutput(traced, ui=ui.PreviewImage(traced, cls=cls))
