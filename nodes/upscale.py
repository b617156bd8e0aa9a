"""Nodes that make a clip larger."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.diffusion.condition import Condition, cut_out, inpaint, on_canvas
from ..lumiere_core.limits import within
from ..lumiere_core.model.checkpoint import bundled, read
from ..lumiere_core.photo.region import Region, change_mask, frames_for, stitch_frames
from .condition import encoded
from .finish import nothing_painted
from .host.image.x4 import SCALE, check_prompt, check_vae, enlarge_frames, is_x4
from .host.model import make_model
from .host.progress import announce, collected
from .host.sampling import Enlarging, enlarge_clip, upscale_condition, with_options
from .photo.region import RegionSocket
from .sockets import advanced, schema, seed_input
from .tensors import change_of, clip_of, frames_of, image_of, known_of

SOFT = 4  # pixels of the soft edge, inside the mask: one pixel of the base model after enlarging


class Upscale(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Upscale",
            display_name="Enlarge a Clip (SSR)",
            category="Lumiere/start",
            description="Makes a clip four times larger, in overlapping windows of frames that are averaged at every "
            "step (MultiDiffusion): a Lumiere clip by the bundled SSR model, which knows the drawn world only; any "
            "clip by the Stable Diffusion x4 upscaler.",
            search_aliases=[
                "super resolution",
                "upscale video",
                "ssr",
                "multidiffusion",
                "x4 upscaler",
                "4x",
                "tiles",
            ],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The clip to enlarge, 64x64 for the mini model, any size for the x4 upscaler. Any number "
                    "of frames.",
                ),
                seed_input("The random seed of the details."),
                io.Int.Input(
                    "steps",
                    default=2,
                    **within("steps"),
                    tooltip="Denoising steps. 2 are enough for Lumiere, 20 for the x4 upscaler.",
                ),
                io.Int.Input(
                    "window", default=16, **within("window"), tooltip="Frames the model sees at a time."
                ),
                io.Int.Input(
                    "overlap",
                    default=2,
                    **within("overlap"),
                    tooltip="Frames that neighbouring windows share. Less than the window.",
                ),
                io.Float.Input(
                    "noise_level",
                    default=0.0,
                    **within("noise_level"),
                    step=0.01,
                    tooltip="Noise mixed into the clip first. Higher values let the model change "
                    "and invent more.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="Another SSR MODEL, or the Stable Diffusion x4 upscaler from Load Checkpoint. Without it "
                    "the bundled one is used.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="What the clip shows. May be left out, but not for the x4 upscaler.",
                ),
                *known_inputs(),
                io.Boolean.Input(
                    "whole",
                    default=True,
                    optional=True,
                    tooltip="With a region: gives the whole source, with what was made in it. Off: only the part that "
                    "was made, for Stitch a Region.",
                ),
                io.Vae.Input(
                    "vae", optional=True, tooltip="For the x4 upscaler: the VAE of the same Load Checkpoint."
                ),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="What the clip does not show, where cfg is above 1."
                ),
                advanced(
                    io.Float.Input(
                        "cfg",
                        default=1.0,
                        **within("cfg"),
                        step=0.1,
                        optional=True,
                        tooltip="How strongly the prompts act. 1 is off. 4 suits the x4 upscaler; more invents more.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "tile",
                        default=128,
                        **within("tile"),
                        step=32,
                        optional=True,
                        tooltip="For the x4 upscaler: pixels of your clip that it sees at a time, in each direction. "
                        "It was trained at 128. Memory grows with window x tile x tile.",
                    )
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
        source: Tensor | None = None,
        mask: Tensor | None = None,
        region: Region | None = None,
        whole: bool = True,
        vae: Any = None,
        negative: Any = None,
        cfg: float = 1.0,
        tile: int = 128,
    ) -> io.NodeOutput:
        model = model or make_model(read(bundled("ssr")))
        known = known_pixels(len(image), source, mask, region)
        clip, prompts = clip_of(image), prompts_for(cfg, positive, negative)
        how = Enlarging(seed, steps, cfg, window, overlap, noise_level)
        if is_x4(model):
            large = enlarge_any(model, vae, prompts, clip, known, how, tile)
        else:
            large = image_of(enlarge_clip(model, prompts, clip, how, known))
        if whole and region is not None and not region.outgrown(*large.shape[1:3]):
            return io.NodeOutput(put_back(large, region, source, mask))
        return io.NodeOutput(large)


class UpscaleConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_UpscaleConditioning",
            display_name="Enlarge with KSampler (SSR Conditioning)",
            category="Lumiere/condition",
            description="Prepares a clip for an SSR model in any sampler, KSampler included. Put "
            "Long Clips (MultiDiffusion) with window 16, overlap 2 and freenoise off "
            "on the MODEL; use 2 steps at cfg 1.",
            search_aliases=["ssr", "super resolution", "upscale conditioning", "ksampler upscale"],
            inputs=[
                io.Model.Input("model", tooltip="The SSR model, from Load Lumiere Model."),
                io.Conditioning.Input("positive", tooltip="What the clip shows."),
                io.Conditioning.Input("negative", tooltip="Not used at cfg 1."),
                io.Image.Input("image", tooltip="The clip to enlarge, 64x64 for the mini model."),
                io.Float.Input(
                    "noise_level",
                    default=0.0,
                    **within("noise_level"),
                    step=0.01,
                    tooltip="Noise mixed into the clip first. Higher values let the model change "
                    "and invent more.",
                ),
                seed_input("The random seed of that noise."),
                *known_inputs(),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.Latent.Output(display_name="LATENT", tooltip="An empty clip, four times as large."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        image: Tensor,
        noise_level: float,
        seed: int,
        source: Tensor | None = None,
        mask: Tensor | None = None,
        region: Region | None = None,
    ) -> io.NodeOutput:
        known = known_pixels(len(image), source, mask, region)
        condition, latent = upscale_condition(model, clip_of(image), noise_level, seed, known)
        return io.NodeOutput(with_options(positive, condition), with_options(negative, condition), latent)


def prompts_for(cfg: float, positive: Any, negative: Any) -> tuple[Any, Any]:
    """The prompts; at cfg 1 the negative one may be missing. Raises ValueError."""
    if negative is None and cfg != 1:
        raise ValueError(
            f"cfg is {cfg:g}, which needs a negative prompt to lead away from. Connect it, or set cfg to 1."
        )
    return positive, positive if negative is None else negative


def enlarge_any(
    model: Any,
    vae: Any,
    prompts: tuple[Any, Any],
    clip: Tensor,
    known: Condition | None,
    how: Enlarging,
    tile: int,
) -> Tensor:
    """IMAGE four times as large, by the Stable Diffusion x4 upscaler; known pixels come back exactly. ValueError."""
    check_vae(vae)
    for name, prompt in zip(("positive", "negative"), prompts, strict=True):
        check_prompt(model, name, prompt)
    frames, height, width = clip.shape[2:]
    large = frames, SCALE * height, SCALE * width
    announce(*large)
    if known is None:
        empty = {"samples": torch.zeros(frames, 4, height, width)}
        return enlarge_frames(model, vae, prompts, clip, empty, how, tile)
    known = on_canvas(known.clip, known.known, *large).firm
    made = enlarge_frames(model, vae, prompts, clip, encoded(vae, known), how, tile)
    return image_of(known.kept(clip_of(made)))


def put_back(large: Tensor, region: Region, source: Tensor, mask: Tensor) -> Tensor:
    """IMAGE: the source at its own size, with what was made in it; exactly the source where the mask is black."""
    source, change = frames_of(source), change_of(mask)
    if nothing_painted(mask):
        return frames_for("source", source, len(large), region.picture_height, region.picture_width).clone()
    change = change_mask(change, len(large), region.picture_height, region.picture_width)
    return collected(stitch_frames(frames_of(large), region, source, change, SOFT), even=True)


def known_inputs() -> list:
    """Known pixels, which are held at every step."""
    return [
        io.Image.Input(
            "source",
            optional=True,
            tooltip="Pixels to keep where the mask is black: the source of Masked Latent, at its own size.",
        ),
        io.Mask.Input("mask", optional=True, tooltip="Its mask. White is made."),
        RegionSocket.Input(
            "region", optional=True, tooltip="Where the clip was cut out of the source, if it was."
        ),
    ]


def known_pixels(
    frames: int, source: Tensor | None, mask: Tensor | None, region: Region | None
) -> Condition | None:
    """What of the large clip is known, at the source's own size; what is grey is mixed later. Raises ValueError."""
    if source is None and mask is None and region is None:
        return None
    if source is None or mask is None:
        raise ValueError(
            "to keep pixels, source and mask are both needed. Connect the other one, or neither."
        )
    made = inpaint(clip_of(source), known_of(mask), frames).firm
    if region is None:
        return made
    if source.shape[1:3] != (region.picture_height, region.picture_width):
        raise ValueError(
            f"the source is {source.shape[2]}x{source.shape[1]}, but the region was taken from "
            f"{region.picture_width}x{region.picture_height}. Use the source of the same node."
        )
    return cut_out(made, region.box, region.height, region.width)
