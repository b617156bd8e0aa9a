"""The motion brush as a node, and pictures to try it on. They need no model."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...lumiere_core.limits import within
from ...lumiere_core.photo.brush import Brush, brushed_frames
from ...lumiere_core.photo.examples import EXAMPLES, example
from ...lumiere_core.photo.strokes import BRUSH_PRESETS, drawing_with_path, written
from ...lumiere_core.train.world.examples import DRAWN_EXAMPLES, drawn_example
from ..finish import even_input
from ..host.notify import say_its_length
from ..host.preview import jpeg, shrunk
from ..host.progress import collected
from ..sockets import advanced, schema
from ..tensors import change_of, clip_of, frames_of


class MotionBrush(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_MotionBrush",
            display_name="Motion Brush: Animate a Photo",
            category="Lumiere/start",
            description="Moves the painted part of a photo in a loop, at the photo's full size: "
            "water, smoke, grass, flames. No model or GPU needed.",
            search_aliases=[
                "motion brush",
                "cinemagraph",
                "living photo",
                "animate photo",
                "image to video",
                "flow",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The photo, of any size."),
                io.Mask.Input("mask", tooltip="White moves, black is still, grey moves less."),
                io.Combo.Input(
                    "preset",
                    options=list(BRUSH_PRESETS),
                    default="flow",
                    tooltip="drift: clouds, smoke, mist. flow: running water. ripple: a lake. "
                    "sway: grass, hair, cloth. flicker: flames, lamps.",
                ),
                io.Int.Input(
                    "direction",
                    default=-1,
                    **within("direction"),
                    tooltip="Degrees: 0 is right, 90 up, 180 left, 270 down. -1 uses the preset's own.",
                ),
                io.Float.Input(
                    "motion",
                    default=1.0,
                    **within("brush.motion"),
                    step=0.05,
                    tooltip="Strength. 0 is the photo itself, 1 the preset's own strength.",
                ),
                io.Int.Input(
                    "frames",
                    default=80,
                    **within("loop.frames"),
                    tooltip="Number of frames of the loop. 80 frames at 16 fps are 5 seconds.",
                ),
                io.Float.Input("fps", default=16.0, **within("fps"), step=0.01, tooltip="Frames per second."),
                advanced(
                    io.Float.Input(
                        "speed",
                        default=0.0,
                        **within("speed"),
                        step=0.005,
                        tooltip="Photo widths per second for drift and flow, cycles per second "
                        "for the others. 0 uses the preset's own.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "path",
                        default="",
                        tooltip="Points x,y that the motion follows, as shares of the photo's "
                        "width and height: 0.1,0.8 0.5,0.6 0.9,0.7",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "edge",
                        default=0.03,
                        **within("edge"),
                        step=0.005,
                        tooltip="Distance inside the mask over which motion grows from zero, in "
                        "photo widths.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "variation",
                        default=0,
                        **within("brush.seed"),
                        tooltip="Another number gives other waves.",
                    )
                ),
                even_input(),
                advanced(
                    io.String.Input(
                        "strokes",
                        default="",
                        optional=True,
                        tooltip="What is drawn on the picture below, as JSON. It also takes the coordinates of "
                        "a spline editor, in pixels. Empty: all of the mask moves in the direction.",
                    )
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE"), io.Float.Output(display_name="fps")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        preset: str,
        direction: int,
        motion: float,
        frames: int,
        fps: float,
        speed: float,
        path: str,
        edge: float,
        variation: int,
        even: bool,
        strokes: str = "",
    ) -> io.NodeOutput:
        angle = None if direction < 0 else float(direction)
        drawing = drawing_with_path(strokes, path, image.shape[2], image.shape[1])
        brush = Brush(preset, angle, speed or None, drawing, motion, edge, variation)
        made = brushed_frames(frames_of(image), change_of(mask)[0], brush, frames, fps)
        seen = [
            small_jpeg(image[:1]),
            small_jpeg(mask[:1, ..., None]),
            written(drawing),
            [image.shape[2], image.shape[1]],
        ]
        clip = collected(made, even, "brush")
        say_its_length(made.count, frames)
        return io.NodeOutput(clip, fps, ui={"lumiere_brush": seen})


def small_jpeg(image: Tensor) -> str:
    """The first picture of an IMAGE as a small JPEG in base64, on which `js/brush.js` draws."""
    small = shrunk(clip_of(image[:1])[:, :, 0], 512)  # (1, 3, h, w)
    return jpeg(small[0].movedim(0, -1))


class ExampleInput(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_ExampleInput",
            display_name="Example Photo or Clip",
            category="Lumiere/start",
            description="A picture or a clip to try things on, painted by this pack's code, with "
            "a mask. Use Load Image in its place for your own picture.",
            search_aliases=["example", "sample image", "test image", "demo"],
            inputs=[
                io.Combo.Input(
                    "example",
                    options=[*EXAMPLES, *DRAWN_EXAMPLES],
                    tooltip="; ".join(f"{name}: {what}" for name, what in told_examples()) + ".",
                )
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE"),
                io.Mask.Output(display_name="MASK", tooltip="White is the part that should move."),
                io.Float.Output(display_name="fps"),
            ],
        )

    @classmethod
    def execute(cls, example: str) -> io.NodeOutput:
        return io.NodeOutput(*read_example(example))


def told_examples() -> list[tuple[str, str]]:
    """Each example's name, and what it shows."""
    return [*EXAMPLES.items(), *((name, drawn.what) for name, drawn in DRAWN_EXAMPLES.items())]


def read_example(name: str) -> tuple[Any, Any, float]:
    if name in DRAWN_EXAMPLES:
        return drawn_example(name)
    frames, mask, fps = example(name)
    return frames, mask[None], fps
