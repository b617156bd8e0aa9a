"""Weather and light over a photo or clip, as a node. It needs no model."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ...lumiere_core.limits import within
from ...lumiere_core.photo.overlays.air import Overlay
from ...lumiere_core.photo.overlays.overlay import OVERLAYS, overlaid_frames
from ..finish import even_input
from ..host.notify import say_its_length
from ..host.progress import collected
from ..sockets import advanced, schema
from ..tensors import change_of, source_of


class LayOver(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Overlay",
            display_name="Overlay: Steam, Rain, Snow, Light",
            category="Lumiere/start",
            description="Lays steam, mist, rain, snow, sparks or light rays over a photo or clip, in a "
            "loop. Made by code: no footage, model or GPU needed.",
            search_aliases=[
                "overlay",
                "steam",
                "smoke",
                "mist",
                "fog",
                "rain",
                "snow",
                "sparks",
                "embers",
                "light rays",
                "god rays",
                "particles",
                "weather",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The photo or clip, of any size."),
                io.Combo.Input(
                    "kind",
                    options=list(OVERLAYS),
                    default="steam",
                    tooltip="steam rises and curls, mist drifts in banks, rain and snow fall in layers, "
                    "sparks rise and go out, rays sweep through dust.",
                ),
                io.Float.Input(
                    "amount",
                    default=1.0,
                    **within("overlay.amount"),
                    step=0.05,
                    tooltip="How much of it. 0 is the photo itself, 1 the kind's own.",
                ),
                io.Int.Input(
                    "frames",
                    default=80,
                    **within("loop.frames"),
                    tooltip="Frames of the loop over a photo. A clip keeps its own.",
                ),
                io.Float.Input("fps", default=16.0, **within("fps"), step=0.01, tooltip="Frames per second."),
                io.Float.Input(
                    "speed",
                    default=1.0,
                    **within("overlay.speed"),
                    step=0.05,
                    tooltip="1 is the kind's own, 2 twice as fast.",
                ),
                advanced(
                    io.Float.Input(
                        "size",
                        default=1.0,
                        **within("overlay.size"),
                        step=0.05,
                        tooltip="1 is the kind's own, 2 twice as large: nearer.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "wind",
                        default=0.2,
                        **within("wind"),
                        step=0.05,
                        tooltip="Blows to the left below 0, to the right above. Rays lean.",
                    )
                ),
                io.String.Input(
                    "tint",
                    default="",
                    tooltip="A colour as #rrggbb, such as #ffcc88. Empty: the kind's own.",
                ),
                advanced(
                    io.Int.Input(
                        "variation",
                        default=0,
                        **within("brush.seed"),
                        tooltip="Another number gives other drops, flakes and swirls.",
                    )
                ),
                even_input(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="For steam and sparks: white is where they rise from. For the others: white is "
                    "where they are seen.",
                ),
                io.Mask.Input(
                    "matte",
                    optional=True,
                    tooltip="White stands before the overlay and hides it. One frame, or one for each frame "
                    "of the clip.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE"), io.Float.Output(display_name="fps")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        kind: str,
        amount: float,
        frames: int,
        fps: float,
        speed: float,
        size: float,
        wind: float,
        tint: str,
        variation: int,
        even: bool,
        mask: Tensor | None = None,
        matte: Tensor | None = None,
    ) -> io.NodeOutput:
        overlay = Overlay(kind, amount, speed, size, wind, tint, variation)
        mask = None if mask is None else change_of(mask).amax(0)
        matte = None if matte is None else change_of(matte)
        made = overlaid_frames(source_of(image, fps), overlay, frames, mask, matte)
        clip = collected(made, even, "overlay")
        say_its_length(made.count, frames)
        return io.NodeOutput(clip, fps)
