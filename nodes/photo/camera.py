"""Slow zooms and pans over a photo or clip, as a node. It needs no model."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ...lumiere_core.limits import within
from ...lumiere_core.photo.camera.move import MOVES, PATHS, CameraMove, moved_frames
from ..finish import even_input
from ..host.notify import say_its_length
from ..host.progress import collected
from ..sockets import advanced, schema
from ..tensors import frames_of, source_of


class MoveCamera(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_CameraMove",
            display_name="Camera Move: Zoom, Pan, Parallax",
            category="Lumiere/start",
            description="Moves a slow camera over a photo or clip. With a depth picture, near things move "
            "more than far ones, and what they hid is filled in. No model needed.",
            search_aliases=[
                "camera",
                "zoom",
                "pan",
                "ken burns",
                "parallax",
                "2.5d",
                "depth",
                "dolly",
                "3d photo",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The photo or clip, of any size."),
                io.Combo.Input(
                    "move",
                    options=list(MOVES),
                    default="zoom in",
                    tooltip="zoom: the photo itself is the widest view. pan: the camera goes that way. "
                    "circle: round in a small circle. Pans and circles crop what they need.",
                ),
                io.Combo.Input(
                    "path",
                    options=list(PATHS),
                    default="there and back",
                    tooltip="there and back: a loop. one way: from rest to rest. A circle is always a loop.",
                ),
                io.Float.Input(
                    "amount",
                    default=0.1,
                    **within("camera.amount"),
                    step=0.01,
                    tooltip="How far: 0.1 zooms by 10 %, or pans by 10 % of the photo's side.",
                ),
                io.Float.Input(
                    "parallax",
                    default=1.0,
                    **within("parallax"),
                    step=0.05,
                    tooltip="With depth: how much more near things move than far ones. 0: all alike.",
                ),
                io.Int.Input(
                    "frames",
                    default=80,
                    **within("loop.frames"),
                    tooltip="Frames of the move over a photo. A clip keeps its own.",
                ),
                io.Float.Input("fps", default=16.0, **within("fps"), step=0.01, tooltip="Frames per second."),
                advanced(
                    io.Boolean.Input(
                        "depth_white",
                        default=True,
                        label_on="near",
                        label_off="far",
                        tooltip="What white means in the depth picture. Most depth estimators paint near things white.",
                    )
                ),
                even_input(),
                io.Image.Input(
                    "depth",
                    optional=True,
                    tooltip="A depth picture, of any size, from any depth estimator. One, or one for each frame "
                    "of the clip.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE"), io.Float.Output(display_name="fps")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        move: str,
        path: str,
        amount: float,
        parallax: float,
        frames: int,
        fps: float,
        depth_white: bool,
        even: bool,
        depth: Tensor | None = None,
    ) -> io.NodeOutput:
        camera = CameraMove(move, path, amount, parallax)
        near = None if depth is None else frames_of(depth).mean(-1)
        made = moved_frames(source_of(image, fps), camera, frames, near, depth_white)
        clip = collected(made, even, "move")
        say_its_length(made.count, frames)
        return io.NodeOutput(clip, fps)
