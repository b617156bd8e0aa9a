"""The list of all nodes. A node has sockets and widgets, and calls `lumiere_core`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .condition import MaskedLatent, VideoMask
from .control import Guidance, Loop, MultiDiffusion
from .finish import CinemagraphFromClip, KeepPixels, LoopPad, LoopUnpad, MakeLoop, MatchDrift
from .inflate import Inflate, MotionLora, register_motion_folders
from .inspect import SeamScore, XTSlice
from .load import LoadModel, register_folder
from .photo.brush import ExampleInput, MotionBrush
from .photo.camera import MoveCamera
from .photo.overlay import LayOver
from .photo.region import CropForRegion, Stitch
from .prompt import PromptSchedule, TextEncode
from .sample import EditClip, EmptyVideo, Sample
from .sockets import checked
from .style import AlphaStrip, StyleInterpolate, TrainStyle
from .upscale import Upscale, UpscaleConditioning

register_folder()
register_motion_folders()


class LumiereExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        nodes = [
            LoadModel,
            TextEncode,
            EmptyVideo,
            Sample,
            Upscale,
            Guidance,
            MultiDiffusion,
            Loop,
            PromptSchedule,
            UpscaleConditioning,
            XTSlice,
            SeamScore,
            ExampleInput,
            MotionBrush,
            CinemagraphFromClip,
            MakeLoop,
            MatchDrift,
            LoopPad,
            LoopUnpad,
            CropForRegion,
            Stitch,
            KeepPixels,
            VideoMask,
            MaskedLatent,
            EditClip,
            LayOver,
            MoveCamera,
            Inflate,
            MotionLora,
            StyleInterpolate,
            AlphaStrip,
            TrainStyle,
        ]
        return [checked(node) for node in nodes]
