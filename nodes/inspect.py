"""Nodes that measure a clip and show the result."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor

from ..lumiere_core.diffusion.windows import Windows
from ..lumiere_core.limits import within
from ..lumiere_core.media.measure import difference_chart, loop_seam, seam_picture, seam_score, xt_slice
from .host.notify import show_text
from .host.preview import jpeg, shrunk
from .host.progress import HostBar
from .sockets import schema
from .tensors import clip_of, three_channels

SEEN = 1.5  # a loop's score from which the node shows where it tears, in place of the chart


class XTSlice(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_XTSlice",
            display_name="Motion Trace (X-T Slice)",
            category="Lumiere/inspect",
            description="Shows one row of pixels over time. Smooth traces are consistent motion, "
            "jagged ones flicker, straight ones a still picture.",
            search_aliases=["xt slice", "temporal consistency", "flicker", "motion"],
            inputs=[
                io.Image.Input("image", tooltip="The clip."),
                io.Float.Input(
                    "row",
                    default=0.5,
                    **within("row"),
                    step=0.01,
                    tooltip="Height of the row: 0 is the top, 1 the bottom.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="As wide as the clip, one line for each frame.")
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, image: Tensor, row: float) -> io.NodeOutput:
        traced = (
            xt_slice(three_channels(image).movedim(-1, 0), row).movedim(0, -1)[None].contiguous()
        )  # (1, T, W, 3)
        tall = traced.repeat_interleave(max(1, traced.shape[2] // (3 * traced.shape[1])), dim=1)  # to look at
        shown = ui.PreviewImage(tall, cls=cls).as_dict()
        return io.NodeOutput(traced, ui={**shown, "lumiere_first_frame": [first_frame_jpeg(image)]})


def first_frame_jpeg(image: Tensor) -> str:
    """The first frame as a small JPEG in base64, on which `js/xt_row.js` draws the row. IMAGE is `(T, H, W, C)`."""
    small = shrunk(clip_of(image[:1])[:, :, 0], 256)  # (1, 3, h, w)
    return jpeg(small[0].movedim(0, -1))


class SeamScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_SeamScore",
            display_name="Seam Score (Windows and Loop)",
            category="Lumiere/inspect",
            description="Measures how much more the picture changes at window borders than elsewhere, and how "
            "much the worst place does where the last frame leads to the first. 1 is ideal; a higher score "
            "means a seam.",
            search_aliases=["seam", "loop check", "context window seam", "flicker", "frame difference"],
            inputs=[
                io.Image.Input("image", tooltip="The clip, three frames or more."),
                io.Int.Input(
                    "window", default=16, **within("window"), tooltip="The window the clip was made with."
                ),
                io.Int.Input(
                    "overlap", default=2, **within("overlap"), tooltip="The overlap the clip was made with."
                ),
            ],
            outputs=[
                io.Float.Output(display_name="window_score", tooltip="1 if the clip fits into one window."),
                io.Float.Output(
                    display_name="loop_score",
                    tooltip="The worst place at the join against its own motion. About 1 for a clip that loops.",
                ),
                io.Image.Output(
                    display_name="chart",
                    tooltip="One bar for each step. Orange: window borders. Blue: last frame to first.",
                ),
                io.Image.Output(
                    display_name="where", tooltip="The first frame in grey, red where the loop's join tears."
                ),
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, image: Tensor, window: int, overlap: int) -> io.NodeOutput:
        if image.shape[0] < 3:
            raise ValueError(f"the clip has {image.shape[0]} frames, but a seam is measured on 3 or more.")
        clip, bar = three_channels(image).movedim(-1, 0).cpu(), HostBar()
        borders = Windows(window, overlap).borders(image.shape[0])
        windows = seam_score(clip, borders, bar) if borders else 1.0
        loop, where = loop_seam(clip, bar)
        chart = (
            difference_chart(clip, borders, progress=bar).movedim(0, -1)[None].contiguous()
        )  # (1, H, W, 3)
        show_text(cls.hidden.unique_id, f"windows {windows:.2f}; as a loop {loop:.2f}. 1 is ideal.")
        torn = seam_picture(three_channels(image)[0].cpu().float(), where)[None]  # (1, H, W, 3)
        shown = ui.PreviewImage(chart if loop < SEEN else torn, cls=cls)
        return io.NodeOutput(windows, loop, chart, torn, ui=shown)
