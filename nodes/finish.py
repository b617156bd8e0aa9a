"""Nodes for finished clips: cinemagraphs, loops, steady colours. No model is needed."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.photo.cinemagraph import cinemagraph_from_clip
from ..lumiere_core.photo.loop import LOOPS, loop_pad, loop_unpad, make_loop
from ..lumiere_core.photo.region import keep_pixels
from ..lumiere_core.photo.steady import match_drift
from .host.progress import HostBar, announce, collected
from .sockets import advanced, schema
from .tensors import change_of, frames_of, source_of


def feather_input(default: int = 8) -> Any:
    return io.Int.Input(
        "feather",
        default=default,
        min=0,
        max=1024,
        tooltip="Soft edge in pixels. It lies inside the mask: what is black in the mask stays as it was, "
        "to the last bit.",
    )


def even_input() -> Any:
    return advanced(
        io.Boolean.Input(
            "even",
            default=True,
            tooltip="Video files need even sides: where one is odd, its last row or column is repeated.",
        )
    )


class CinemagraphFromClip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_CinemagraphFromClip",
            display_name="Cinemagraph from a Clip",
            category="Lumiere/finish",
            description="One part of a clip moves for ever, the rest is a photo. Steadies the camera, takes "
            "out slow drift of colour, closes the loop. No model needed.",
            search_aliases=["cinemagraph", "living photo", "plotagraph", "loop", "stabilize", "freeze"],
            inputs=[
                io.Image.Input("image", tooltip="The clip, from a camera or any model."),
                io.Mask.Input(
                    "mask", tooltip="White moves, black is still, grey moves less far (it is never mixed)."
                ),
                io.Float.Input(
                    "motion",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How far things move. Below 1 they are pulled back along their own motion; "
                    "nothing shows twice.",
                ),
                io.Combo.Input(
                    "loop",
                    options=list(LOOPS),
                    default="dissolve",
                    tooltip="cut: the part that closes best; dissolve: the end moves over into the "
                    "beginning; ping-pong: forwards and backwards; none.",
                ),
                feather_input(),
                io.Boolean.Input(
                    "stabilise", default=True, tooltip="Steady the camera by what lies outside the mask."
                ),
                advanced(
                    io.Boolean.Input(
                        "drift",
                        default=True,
                        tooltip="Take out slow drift of colour and brightness, measured outside.",
                    )
                ),
                even_input(),
                io.Image.Input(
                    "still", optional=True, tooltip="The photo around it. Without it the clip's first frame."
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        motion: float,
        loop: str,
        feather: int,
        stabilise: bool,
        drift: bool,
        even: bool,
        still: Tensor | None = None,
    ) -> io.NodeOutput:
        still = None if still is None else frames_of(still)
        mask = change_of(mask).amax(0)
        made = cinemagraph_from_clip(
            source_of(image), mask, still, feather, stabilise, drift, loop, motion, HostBar()
        )
        return io.NodeOutput(collected(made, even))


class MakeLoop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_MakeLoop",
            display_name="Make a Loop",
            category="Lumiere/finish",
            description="Any clip as a loop: the part that closes best, a dissolve along the motion, or "
            "forwards and backwards. No model needed.",
            search_aliases=["loop", "seamless", "boomerang", "ping pong", "crossfade", "best cut"],
            inputs=[
                io.Image.Input("image", tooltip="The clip."),
                io.Combo.Input(
                    "how",
                    options=[name for name in LOOPS if name != "none"],
                    default="cut",
                    tooltip="cut leaves frames untouched, dissolve moves the end over into the beginning, "
                    "ping-pong goes back.",
                ),
                io.Int.Input(
                    "min_frames", default=16, min=2, max=4096, tooltip="For cut: the shortest loop."
                ),
                io.Int.Input(
                    "max_frames", default=0, min=0, max=4096, tooltip="For cut: the longest loop; 0 is any."
                ),
                io.Int.Input("overlap", default=8, min=1, max=4096, tooltip="For dissolve: frames it takes."),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="After its last frame comes its first.")],
        )

    @classmethod
    def execute(
        cls, image: Tensor, how: str, min_frames: int, max_frames: int, overlap: int
    ) -> io.NodeOutput:
        settings = {
            "cut": {"min_frames": min_frames, "max_frames": max_frames},
            "dissolve": {"overlap": overlap},
        }
        return io.NodeOutput(collected(make_loop(source_of(image), how, HostBar(), **settings.get(how, {}))))


class MatchDrift(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_MatchDrift",
            display_name="Match Colour Drift",
            category="Lumiere/finish",
            description="Takes out the slow change of colour and contrast that long clips suffer from. What "
            "flickers fast, such as fire, stays. No model needed.",
            search_aliases=["color match", "drift", "deflicker", "exposure", "brightness"],
            inputs=[
                io.Image.Input("image", tooltip="The clip."),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=1.0, step=0.05, tooltip="0 leaves the clip alone."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is left out of the measurement: what moves on purpose.",
                ),
                io.Image.Input(
                    "still", optional=True, tooltip="The colours to match. Without it the clip's first frame."
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(
        cls, image: Tensor, strength: float, mask: Tensor | None = None, still: Tensor | None = None
    ) -> io.NodeOutput:
        still = None if still is None else frames_of(still)
        mask = None if mask is None else change_of(mask)
        return io.NodeOutput(collected(match_drift(source_of(image), mask, still, strength, HostBar())))


class KeepPixels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_KeepPixels",
            display_name="Keep Untouched Pixels",
            category="Lumiere/finish",
            description="Puts the source back wherever the mask is black, to the last bit, whatever "
            "sampler, VAE or upscaler ran in between.",
            search_aliases=["composite", "restore", "known pixels", "paste back", "inpaint stitch"],
            inputs=[
                io.Image.Input("image", tooltip="The clip that was made."),
                io.Image.Input(
                    "source", tooltip="What was known: a picture, or a clip as long. Of the same size."
                ),
                io.Mask.Input(
                    "mask", tooltip="White keeps what was made, black the source. One frame, or one for each."
                ),
                feather_input(),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(cls, image: Tensor, source: Tensor, mask: Tensor, feather: int) -> io.NodeOutput:
        return io.NodeOutput(
            collected(keep_pixels(frames_of(image), frames_of(source), change_of(mask), feather))
        )


class LoopPad(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_LoopPad",
            display_name="Pad a Loop",
            category="Lumiere/finish",
            description="Puts frames of the loop before its beginning and after its end, so that an "
            "interpolator or upscaler sees no border. Unpad a Loop cuts them off again.",
            search_aliases=["loop padding", "interpolate loop", "rife loop", "circular"],
            inputs=[
                io.Image.Input("image", tooltip="The loop."),
                io.Int.Input("frames", default=4, min=1, max=256, tooltip="Frames to add on each side."),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(cls, image: Tensor, frames: int) -> io.NodeOutput:
        announce(image.shape[0] + 2 * frames, *image.shape[1:3])
        return io.NodeOutput(loop_pad(image, frames))


class LoopUnpad(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_LoopUnpad",
            display_name="Unpad a Loop",
            category="Lumiere/finish",
            description="Cuts off what Pad a Loop added, also after the frames were multiplied or enlarged.",
            search_aliases=["loop padding", "interpolate loop", "rife loop", "circular"],
            inputs=[
                io.Image.Input("image", tooltip="The padded loop, interpolated or enlarged."),
                io.Int.Input("frames", default=4, min=1, max=256, tooltip="As in Pad a Loop."),
                io.Int.Input(
                    "factor",
                    default=1,
                    min=1,
                    max=64,
                    tooltip="By how much frames were multiplied in between.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(cls, image: Tensor, frames: int, factor: int) -> io.NodeOutput:
        announce(*image.shape[:3])
        return io.NodeOutput(loop_unpad(image, frames, factor))
