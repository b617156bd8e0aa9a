"""Nodes for finished clips: cinemagraphs, loops, colour drift. They need no model."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.limits import within
from ..lumiere_core.photo.cinemagraph import cinemagraph_from_clip
from ..lumiere_core.photo.drift import match_drift
from ..lumiere_core.photo.loops.loop import loop_pad, loop_unpad
from ..lumiere_core.photo.loops.ways import LOOPS, loop_kind, loop_length, make_loop
from ..lumiere_core.photo.region import frames_for, keep_pixels
from .host.notify import show_here
from .host.progress import HostBar, announce, collected
from .sockets import advanced, schema
from .tensors import change_of, frames_of, source_of


def feather_input(default: int = 8) -> Any:
    return io.Int.Input(
        "feather",
        default=default,
        **within("feather"),
        tooltip="Width of the soft edge in pixels. The edge lies inside the mask; pixels where "
        "the mask is black are not changed.",
    )


def even_input() -> Any:
    return advanced(
        io.Boolean.Input(
            "even",
            default=True,
            tooltip="Video files need even sides. If a side is odd, its last row or column is repeated.",
        )
    )


def length_input() -> Any:
    return io.String.Input(
        "length",
        default="0",
        optional=True,
        tooltip="How long the loop is: frames (48) or seconds at 16 frames each (3 s). 0: as long as loops best.",
    )


class CinemagraphFromClip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_CinemagraphFromClip",
            display_name="Cinemagraph from a Clip",
            category="Lumiere/finish",
            description="Keeps a clip still except in the masked part, which moves in a loop. "
            "Steadies the camera and removes slow colour drift. No model needed.",
            search_aliases=[
                "cinemagraph",
                "living photo",
                "plotagraph",
                "loop",
                "stabilize",
                "stabilise",
                "steady",
                "tripod",
                "freeze",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The clip, from a camera or any model."),
                io.Mask.Input("mask", tooltip="White moves, black is still, grey moves less."),
                io.Float.Input(
                    "motion",
                    default=1.0,
                    **within("motion"),
                    step=0.05,
                    tooltip="How much moves, 0 to 1. Less makes fewer and calmer loops; ways that play "
                    "frames in order move things less far.",
                ),
                io.Combo.Input(
                    "loop",
                    options=list(LOOPS),
                    default="auto",
                    tooltip="auto: the way whose join shows least. per pixel: every pixel loops in its "
                    "own time, or stands still. cut: the part that loops best. crossfade, dissolve: blend "
                    "the end into the beginning. ping-pong: there and back. none: no loop.",
                ),
                feather_input(),
                io.Boolean.Input(
                    "stabilise",
                    default=True,
                    label_on="auto",
                    label_off="off",
                    tooltip="auto steadies the camera by what lies outside the mask, if that makes it steadier; "
                    "a clip from a tripod stays as it is.",
                ),
                advanced(
                    io.Boolean.Input(
                        "drift",
                        default=True,
                        label_on="auto",
                        label_off="off",
                        tooltip="auto removes slow drift of colour and brightness, measured outside the mask, if "
                        "there is any.",
                    )
                ),
                even_input(),
                io.Image.Input(
                    "still", optional=True, tooltip="The still photo. Default: what still_frame says."
                ),
                advanced(
                    io.Int.Input(
                        "still_frame",
                        default=-1,
                        **within("still_frame"),
                        optional=True,
                        tooltip="Without a still: the number of the frame to use, from 0. -1 is auto: the sharpest "
                        "one, without people who walk through.",
                    )
                ),
                length_input(),
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
        still_frame: int = -1,
        length: str = "0",
    ) -> io.NodeOutput:
        chosen = frames_of(still) if still is not None else still_frame if still_frame >= 0 else None
        clip, mask = source_of(image), change_of(mask).amax(0)
        length = loop_length(length, clip.fps)
        made = cinemagraph_from_clip(
            clip, mask, chosen, feather, stabilise, drift, loop, motion, length, HostBar()
        )
        return io.NodeOutput(collected(made, even, "cinemagraph"))


class MakeLoop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_MakeLoop",
            display_name="Make a Loop",
            category="Lumiere/finish",
            description="Makes a finished clip loop: every pixel in its own time, the part that loops "
            "best, a blend, or forwards and backwards. No model needed.",
            search_aliases=["loop", "seamless", "boomerang", "ping pong", "crossfade", "best cut"],
            inputs=[
                io.Image.Input("image", tooltip="The clip."),
                io.Combo.Input(
                    "how",
                    options=[name for name in LOOPS if name != "none"],
                    default="auto",
                    tooltip="auto takes the way whose join shows least. per pixel loops every pixel in its "
                    "own time, cut keeps frames unchanged, crossfade and dissolve blend the end into the "
                    "beginning, ping-pong plays forwards and backwards.",
                ),
                io.Int.Input(
                    "min_frames",
                    default=16,
                    **within("min_frames"),
                    tooltip="For cut: the shortest loop, in frames.",
                ),
                io.Int.Input(
                    "max_frames",
                    default=0,
                    **within("max_frames"),
                    tooltip="For cut: the longest loop, in frames. 0 is any length.",
                ),
                io.Int.Input(
                    "overlap",
                    default=8,
                    **within("loop.overlap"),
                    tooltip="For crossfade and dissolve: how many frames the blend takes.",
                ),
                length_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="IMAGE", tooltip="The loop: its last frame leads back to its first."
                )
            ],
        )

    @classmethod
    def execute(
        cls, image: Tensor, how: str, min_frames: int, max_frames: int, overlap: int, length: str = "0"
    ) -> io.NodeOutput:
        clip = source_of(image)
        settings = {"min_frames": min_frames, "max_frames": max_frames, "overlap": overlap}
        own = loop_kind(how).own(length=loop_length(length, clip.fps), **settings)
        made = make_loop(clip, how, HostBar(), **own)
        return io.NodeOutput(collected(made, command="loop"))


class MatchDrift(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_MatchDrift",
            display_name="Match Colour Drift",
            category="Lumiere/finish",
            description="Removes slow changes of light and colour, measured by the pixels that stay in place. Fast "
            "changes, such as fire, stay. No model needed.",
            search_aliases=["color match", "drift", "deflicker", "exposure", "brightness"],
            inputs=[
                io.Image.Input("image", tooltip="The clip."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    **within("strength"),
                    step=0.05,
                    tooltip="1 removes the drift, 0 leaves the clip as it is.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is left out of the measurement. Paint what moves on purpose.",
                ),
                io.Image.Input(
                    "still",
                    optional=True,
                    tooltip="The picture whose colours to match. Default: the clip's first frame.",
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
            description="Copies the source's pixels back wherever the mask is black. They are "
            "exact, whatever sampler, VAE or upscaler ran before.",
            search_aliases=["composite", "restore", "known pixels", "paste back", "inpaint stitch"],
            inputs=[
                io.Image.Input("image", tooltip="The clip that was made."),
                io.Image.Input(
                    "source",
                    tooltip="The known pixels: a picture, or a clip as long as the image. Of the same size.",
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="White keeps the image, black the source. One frame, or one "
                    "for each frame of the clip.",
                ),
                feather_input(),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(cls, image: Tensor, source: Tensor, mask: Tensor, feather: int) -> io.NodeOutput:
        if nothing_painted(mask):
            return io.NodeOutput(frames_for("source", frames_of(source), *image.shape[:3]).clone())
        return io.NodeOutput(
            collected(keep_pixels(frames_of(image), frames_of(source), change_of(mask), feather))
        )


def nothing_painted(mask: Tensor) -> bool:
    """Whether a mask is all black, which is said on the node. Load Image's 64x64 stand-in for none is refused later."""
    black = not bool(mask.any()) and tuple(mask.shape[-2:]) != (64, 64)
    if black:
        show_here("The mask is empty: the source comes back as it was. White is the part that was made.")
    return black


class LoopPad(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_LoopPad",
            display_name="Pad a Loop",
            category="Lumiere/finish",
            description="Adds frames from the other end of a loop before its beginning and after "
            "its end, so that an interpolator or upscaler sees no border. Unpad a "
            "Loop removes them.",
            search_aliases=["loop padding", "interpolate loop", "rife loop", "circular"],
            inputs=[
                io.Image.Input("image", tooltip="The loop."),
                io.Int.Input(
                    "frames", default=4, **within("pad.frames"), tooltip="Frames to add on each side."
                ),
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
            description="Removes the frames that Pad a Loop added, also after an interpolator or upscaler.",
            search_aliases=["loop padding", "interpolate loop", "rife loop", "circular"],
            inputs=[
                io.Image.Input("image", tooltip="The padded loop, interpolated or enlarged."),
                io.Int.Input(
                    "frames", default=4, **within("pad.frames"), tooltip="The same number as in Pad a Loop."
                ),
                io.Int.Input(
                    "factor",
                    default=1,
                    **within("factor"),
                    tooltip="How many times more frames an interpolator made. 1 for upscalers.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(cls, image: Tensor, frames: int, factor: int) -> io.NodeOutput:
        announce(*image.shape[:3])
        return io.NodeOutput(loop_unpad(image, frames, factor))
