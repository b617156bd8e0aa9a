"""Nodes that make a clip."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.diffusion.condition import inpaint
from ..lumiere_core.diffusion.samplers import SAMPLERS
from ..lumiere_core.limits import within
from ..lumiere_core.media.frames import at_rate
from .condition import encoded, fit_input, fitted, region_output, say, time_stride, unlike
from .host.progress import announce
from .host.sampling import sample_clip, with_own_strength
from .sockets import schema, seed_input
from .tensors import change_of, clip_of, latent_of, mask_of, three_channels


class EmptyVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_EmptyVideo",
            display_name="Empty Clip",
            category="Lumiere/start",
            description="An empty clip for a Lumiere pixel model. Its latent has the size of the "
            "clip in pixels. 80 frames are 5 seconds.",
            search_aliases=["empty latent video", "lumiere latent", "frames"],
            inputs=[
                io.Int.Input(
                    "width",
                    default=64,
                    **within("clip.size"),
                    step=16,
                    tooltip="Width in pixels before super-resolution. The mini model was trained at 64.",
                ),
                io.Int.Input(
                    "height",
                    default=64,
                    **within("clip.size"),
                    step=16,
                    tooltip="Height in pixels before super-resolution. The mini model was trained at 64.",
                ),
                io.Int.Input(
                    "frames",
                    default=80,
                    **within("frames"),
                    tooltip="Number of frames; any number works. The mini model was trained on "
                    "80, 5 seconds at 16 fps.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="LATENT")],
        )

    @classmethod
    def execute(cls, width: int, height: int, frames: int) -> io.NodeOutput:
        announce(frames, height, width, "Choose fewer frames or a smaller size.")
        samples = torch.zeros(
            1, 3, frames, height, width, device=comfy.model_management.intermediate_device()
        )
        return io.NodeOutput(latent_of(samples))


class Sample(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Sample",
            display_name="Sample a Clip",
            category="Lumiere/start",
            description="Makes all frames of the clip in one pass. The core KSampler with the "
            "scheduler sgm_uniform gives the same clip.",
            search_aliases=["ksampler", "lumiere sampler", "text to video", "t2v"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Lumiere Model, or any MODEL."),
                io.Conditioning.Input("positive", tooltip="What to show."),
                io.Conditioning.Input("negative", tooltip="What not to show."),
                io.Latent.Input("latent", tooltip="From Empty Clip, or an encoded clip."),
                seed_input(),
                io.Int.Input(
                    "steps",
                    default=10,
                    **within("steps"),
                    tooltip="Denoising steps. 10 are enough for Lumiere mini; other models may want 20.",
                ),
                io.Float.Input(
                    "cfg",
                    default=2.0,
                    **within("cfg"),
                    step=0.1,
                    tooltip="How closely the prompt is followed. 1 is off, and twice as fast.",
                ),
                io.Combo.Input(
                    "sampler",
                    options=list(SAMPLERS),
                    default="dpmpp_2m",
                    tooltip="dpmpp_2m needs the fewest steps.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    **within("edit.strength"),
                    step=0.01,
                    optional=True,
                    tooltip="1 makes a new clip. Below 1 the clip in the latent is changed, less at lower values.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="LATENT")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent: dict,
        seed: int,
        steps: int,
        cfg: float,
        sampler: str,
        denoise: float = 1.0,
    ) -> io.NodeOutput:
        made = sample_clip(model, positive, negative, latent, seed, steps, cfg, sampler, denoise)
        return io.NodeOutput(made)


class EditClip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_EditClip",
            display_name="Edit a Clip (SDEdit)",
            category="Lumiere/condition",
            description="Begins with your clip, or with a rough draft from Motion Brush, and changes it as far as "
            "the strength says; inside a mask by another strength. For any model and sampler.",
            search_aliases=[
                "edit video",
                "video to video",
                "v2v",
                "vid2vid",
                "sdedit",
                "refine",
                "restyle video",
                "denoise",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The MODEL that will sample."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                io.Image.Input("image", tooltip="The clip to change."),
                io.Float.Input(
                    "strength",
                    default=0.4,
                    **within("strength"),
                    step=0.01,
                    tooltip="How far the clip is changed. 0 keeps it, 1 makes a new one.",
                ),
                io.Float.Input(
                    "inside",
                    default=0.8,
                    **within("strength"),
                    step=0.01,
                    tooltip="How far the white part of the mask is changed. Not used without a mask.",
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=within("frames")["max"],
                    tooltip="At most so many frames. 0 takes the whole clip.",
                ),
                io.Float.Input(
                    "fps", default=16.0, **within("fps"), step=0.01, tooltip="Frames per second of your clip."
                ),
                io.Float.Input(
                    "to_fps",
                    default=16.0,
                    **within("fps"),
                    step=0.01,
                    tooltip="Frames per second of the model: 16 for Lumiere and Wan, 25 for LTX.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is changed by the strength inside. One frame, or one for each frame of the clip.",
                ),
                fit_input(),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Latent.Output(display_name="LATENT"),
                io.Float.Output(
                    display_name="denoise", tooltip="For the denoise of Sample a Clip or KSampler."
                ),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="What may change, for Keep Untouched Pixels or Stitch a Region.",
                ),
                io.Image.Output(display_name="source", tooltip="The clip, at the model's frames per second."),
                region_output(),
                io.Float.Output(display_name="fps"),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        image: Tensor,
        strength: float,
        inside: float,
        frames: int,
        fps: float,
        to_fps: float,
        mask: Tensor | None = None,
        fit: bool = True,
    ) -> io.NodeOutput:
        shown = at_rate(len(image), fps, to_fps, frames, time_stride(vae))
        announce(len(shown), *image.shape[1:3])
        change = torch.full((1, 1, 1), strength)
        if mask is not None:
            change = torch.lerp(change, torch.tensor(inside), change_of(mask).clamp(0, 1))
            change = change[shown] if len(change) == len(image) else change
        most = round(float(change.max()), 6)  # as it was typed
        if most < within("edit.strength")["min"]:
            raise ValueError("the strength is 0 everywhere: the clip would stay as it is. Try 0.4.")
        known = (1 - change / most)[None, None]
        made = inpaint(clip_of(image[shown]), known, len(shown))
        part, region, done = fitted(vae, made, fit)
        latent = encoded(vae, part)
        if len(shown) < len(image) or fps != to_fps:
            done = f"{len(image)} frames at {fps:g} fps became {len(shown)} at {to_fps:g}. {done}"
        if frames > len(shown):
            done += f" The clip is shorter than the {frames} frames asked for."
        say(done, unlike(vae, image))
        if bool((made.known == 0).all()):  # one strength: the sampler's denoise says it all
            del latent["noise_mask"]
        else:
            model = with_own_strength(model)
        mask, source = mask_of(made.known).ceil(), three_channels(image[shown]).contiguous()
        return io.NodeOutput(model, latent, most, mask, source, region, to_fps)
