"""Nodes that tell any video model which pixels of a clip are known: Lumiere's mask as IMAGE, MASK and LATENT."""

from __future__ import annotations

import re
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.diffusion import condition
from ..lumiere_core.diffusion.condition import Condition
from ..lumiere_core.limits import within
from ..lumiere_core.photo.region import Region, all_of, region_for_model
from .host.notify import show_here
from .host.progress import announce
from .photo.region import RegionSocket
from .sockets import advanced, schema
from .tensors import image_of, known_of, mask_of, pictures_of

TASKS = {
    "cinemagraph": "one picture, of which only the painted region moves",
    "first frame": "the clip begins with the picture",
    "first and last frame": "the clip goes from one picture to another; one picture for both ends gives a loop",
    "chosen frames": "pictures at frame numbers of your choice",
    "inpaint": "the painted region of a clip is made new",
    "outpaint": "room around a clip is filled",
    "extend": "a clip is continued",
    "extend before": "what came before a clip",
    "bridge": "from the end of one clip to the beginning of another, given in one batch, as many frames of each",
}


def task_inputs() -> list:
    return [
        io.Image.Input("image", tooltip="The picture, the pictures, or the clip."),
        io.Combo.Input(
            "task",
            options=list(TASKS),
            tooltip="; ".join(f"{name}: {what}" for name, what in TASKS.items()) + ".",
        ),
        io.Int.Input(
            "frames",
            default=81,
            **within("task.frames"),
            tooltip="Number of frames to make. Wan takes 4k+1, LTX 8k+1; 81 fits both.",
        ),
        io.String.Input(
            "places",
            default="0, 40, 80",
            tooltip="For chosen frames: one frame number for each picture. For extend and extend "
            "before: how many frames to keep.",
        ),
        io.Int.Input(
            "room",
            default=64,
            **within("room"),
            step=8,
            tooltip="For outpaint: pixels added on every side.",
        ),
    ]


def region_input() -> Any:
    return io.Mask.Input(
        "mask",
        optional=True,
        tooltip="For cinemagraph and inpaint: white is the part to make. One frame, or one for "
        "each frame of the clip. Grey is made, too, and mixed with the source in the end.",
    )


def condition_of(
    image: Tensor, task: str, frames: int, places: str, room: int, mask: Tensor | None, stride: int = 1
) -> Condition:
    """The pictures, in [0, 1] as they were given, and their known pixels, for a task of `TASKS`. Raises ValueError."""
    more = 2 * room if task == "outpaint" else 0
    announce(frames, image.shape[1] + more, image.shape[2] + more)
    clip = pictures_of(image)
    if task in ("cinemagraph", "inpaint"):
        if mask is None or mask.shape[-2:] == (64, 64) and not mask.any():  # LoadImage's stand-in for none
            raise ValueError(
                f"{task} needs a mask: paint what should move (Open in MaskEditor on Load Image)."
            )
        make = condition.cinemagraph if task == "cinemagraph" else condition.inpaint
        return make(clip, known_of(mask), frames)
    if task == "first frame":
        return condition.first_frame(clip, frames, stride)
    if task == "first and last frame":
        return condition.first_and_last(clip, frames, stride)
    if task == "outpaint":
        return condition.outpaint(clip, (room,) * 4, frames)
    if task == "bridge":
        return condition.bridge(clip, frames, stride)
    numbers = numbers_in(places)
    if task == "chosen frames":
        return condition.chosen_frames(clip, numbers, frames, stride)
    if numbers[0] == 0:
        raise ValueError(f"places is {places!r}, but for {task} it says how many frames to keep. Try 9.")
    lengthen = condition.extend if task == "extend" else condition.lead_in
    return lengthen(clip, numbers[0], frames, stride)


def numbers_in(places: str) -> list[int]:
    found = [part for part in re.split(r"[,\s]+", places.strip()) if part]
    if not found or not all(re.fullmatch(r"\d{1,9}", part) for part in found):
        raise ValueError(
            f"places is {places!r}, but it has to be frame numbers with commas between. Try 0, 40, 80."
        )
    return [int(part) for part in found]


class VideoMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_VideoMask",
            display_name="Control and Mask: Image to Video",
            category="Lumiere/condition",
            description="Tells a model with a control video, such as Wan VACE, which pixels are "
            "known. Known pixels are shown, all others are grey.",
            search_aliases=[
                "i2v",
                "image to video",
                "vace",
                "control video",
                "animate picture",
                "cinemagraph",
                "inpaint video",
                "outpaint video",
                "extend video",
                "first last",
            ],
            inputs=[
                *task_inputs(),
                io.Float.Input(
                    "fps",
                    default=16.0,
                    **within("fps"),
                    step=0.01,
                    tooltip="Frames per second, passed on to the save node.",
                ),
                region_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="control",
                    tooltip="The known pixels, with grey where something is to be made.",
                ),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="One mask for each frame. White is to be made.",
                ),
                io.Image.Output(
                    display_name="source", tooltip="The clip without the grey, for Keep Untouched Pixels."
                ),
                io.Float.Output(display_name="fps"),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        task: str,
        frames: int,
        places: str,
        room: int,
        fps: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        made = condition_of(image, task, frames, places, room, mask)
        say(made.remark)
        told, source = as_clip(made), source_image(made)
        return io.NodeOutput(image_of(told.blanked), mask_of(made.known), source, fps)


class MaskedLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_MaskedLatent",
            display_name="Masked Latent: Image to Video, Inpaint",
            category="Lumiere/condition",
            description="Gives the clip as a LATENT with a mask on the VAE's own grid in space "
            "and time, so that known frames stay known in Wan, LTX and image models.",
            search_aliases=[
                "noise mask",
                "i2v",
                "image to video",
                "animate picture",
                "cinemagraph",
                "inpaint video",
                "outpaint video",
                "extend video",
                "continue",
                "first last frame",
                "keyframes",
                "bridge",
                "set latent noise mask",
            ],
            inputs=[
                io.Vae.Input("vae", tooltip="The VAE of the MODEL that will sample."),
                *task_inputs(),
                advanced(
                    io.Float.Input(
                        "motion",
                        default=1.0,
                        **within("motion"),
                        step=0.05,
                        tooltip="Below 1 the region changes less. Put the core node Differential "
                        "Diffusion on the MODEL; without it the sampler mixes the still "
                        "and the new picture, which looks double.",
                    )
                ),
                region_input(),
                fit_input(),
            ],
            outputs=[
                io.Latent.Output(display_name="LATENT"),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="The mask in pixels, for Enlarge a Clip, Keep Untouched Pixels or Stitch a Region.",
                ),
                io.Image.Output(
                    display_name="source",
                    tooltip="The clip in pixels, for Enlarge a Clip, Keep Untouched Pixels or Stitch a Region.",
                ),
                region_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        vae: Any,
        image: Tensor,
        task: str,
        frames: int,
        places: str,
        room: int,
        motion: float,
        mask: Tensor | None = None,
        fit: bool = True,
    ) -> io.NodeOutput:
        made = condition_of(image, task, frames, places, room, mask, time_stride(vae, frames))
        part, region, done = fitted(vae, as_clip(made), fit)
        latent = encoded(vae, part.firm, motion)
        say(made.remark, done, unlike(vae, image))
        return io.NodeOutput(latent, mask_of(made.known), source_image(made), region)


def fit_input() -> Any:
    return advanced(
        io.Boolean.Input(
            "fit",
            default=True,
            optional=True,
            tooltip="For Lumiere models: cuts out the part to make and the scene around it, at the size the model was "
            "trained at. Enlarge a Clip or Stitch a Region puts it back. Off: the picture is taken as it is.",
        )
    )


def region_output() -> Any:
    return RegionSocket.Output(
        display_name="region", tooltip="Where the LATENT was cut out, for Enlarge a Clip or Stitch a Region."
    )


def say(*sentences: str) -> None:
    """Show on the node what was done, where there is something to say."""
    text = " ".join(sentence for sentence in sentences if sentence)
    if text:
        show_here(text)


def as_clip(pictures: Condition) -> Condition:
    """Pictures in [0, 1] as the engine takes them."""
    return Condition(pictures.clip * 2 - 1, pictures.known)


def source_image(pictures: Condition) -> Tensor:
    """IMAGE of pictures in [0, 1]: those that were given, to the bit."""
    return pictures.clip[0].permute(1, 2, 3, 0).contiguous()


def fitted(vae: Any, made: Condition, fit: bool) -> tuple[Condition, Region, str]:
    """What of the clip is encoded, where it was cut out of it, and a sentence about that.

    Only a VAE of ours knows the size its model was trained at; for others the region is the whole picture.
    """
    height, width = made.clip.shape[-2:]
    region = all_of(height, width)
    if fit and hasattr(vae, "trained"):
        region = region_for_model((made.known < 1).any(dim=2)[0, 0], *vae.trained)
    if region == all_of(height, width):
        return made, region, ""
    cut = f"{region.width}x{region.height} of {width}x{height} were cut out and"
    done = (
        f"This model was trained at {vae.trained[0]} pixels: "
        f"{cut if (region.height, region.width) != (height, width) else f'{width}x{height} were'} scaled to "
        f"{region.crop_width}x{region.crop_height}. Enlarge a Clip or Stitch a Region puts the result back."
    )
    return condition.cut_out(made, region.box, region.crop_height, region.crop_width), region, done


def unlike(vae: Any, image: Tensor) -> str:
    """A sentence where our own model knows no such picture; empty for other VAEs."""
    return vae.remark(image) if hasattr(vae, "remark") else ""


def encoded(vae: Any, part: Condition, motion: float = 1.0) -> dict[str, Any]:
    """LATENT of a clip, with a mask of what is not known of it. Raises ValueError for a size the VAE would crop."""
    image = image_of(part.clip)
    check_grid(vae, image)
    return masked_latent(vae.encode(image), part.known, motion)


def time_stride(vae: Any, frames: int = 1) -> int:
    """Frames in a latent step of this VAE: 1 for pictures. Raises ValueError for a clip that does not fit."""
    stride = getattr(vae, "temporal_compression_decode", lambda: None)() or 1
    if (frames - 1) % stride:
        below = (frames - 1) // stride * stride + 1
        raise ValueError(
            f"frames is {frames}, but this VAE takes 1 and then {stride} at a time. Try {below} "
            f"or {below + stride}."
        )
    return stride


def check_grid(vae: Any, source: Tensor) -> None:
    """Raises ValueError for a size that ComfyUI would crop to the VAE's grid: masks would no longer fit the picture."""
    multiple = getattr(vae, "spacial_compression_encode", lambda: None)() or 1
    for name, size in (("width", source.shape[2]), ("height", source.shape[1])):
        if size % multiple:
            raise ValueError(
                f"{name} is {size}, but this VAE takes multiples of {multiple}. Put Crop for a Region before this "
                f"node, with multiple {max(multiple, 16)}."
            )


def masked_latent(samples: Tensor, known: Tensor, motion: float = 1.0) -> dict[str, Any]:
    """LATENT with a noise mask on its own grid: `[1, 1, T, H, W]` for video, `[T, 1, H, W]` for frames as batch."""
    steps = samples.shape[2] if samples.ndim == 5 else samples.shape[0]
    on_grid = condition.packed(known, steps, *samples.shape[-2:])
    noise_mask = (1 - on_grid) * motion
    if samples.ndim == 4:
        noise_mask = noise_mask[0].movedim(1, 0)  # (T, 1, H, W)
    return {"samples": samples, "noise_mask": noise_mask.to(torch.float32)}
