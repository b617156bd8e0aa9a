"""What `generate` is given beside a prompt: pictures or a clip, and a mask, for the task they are for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .clip import open_mask, open_picture
from .terminal import check_choice, number

if TYPE_CHECKING:  # torch is imported where it is used: help comes at once
    from torch import Tensor

    from ..config import ModelSpec
    from ..diffusion.condition import Condition
    from ..media.frames import Rendered
    from ..photo.region import Region

JOBS = {
    "text": "from the prompt alone",
    "image": "one picture is the first frame, two are the first and the last",
    "cinemagraph": "of one picture only the white part of the mask moves",
    "inpaint": "the white part of the mask is made new",
    "outpaint": "--room pixels are added on every side",
    "extend": "goes on with the last --keep frames of a clip",
    "edit": "changes a clip by --strength, inside a mask by --inside",
}
MASKED = ("cinemagraph", "inpaint")

# Options that only some tasks read, and what they are where they are left out.
ONLY = {
    "mask": ("cinemagraph", "inpaint", "edit"),
    "room": ("outpaint",),
    "keep": ("extend",),
    "strength": ("edit",),
    "inside": ("edit",),
    "feather": tuple(JOBS)[1:],
}
LEFT_OUT = {"room": 64, "keep": 8, "strength": 0.4, "inside": 0.8, "feather": 4}
# Of outpaint, where nothing of the source lies under the edge to mix with: no step, and no smear.
HARD_EDGE = 0.25


@dataclass(frozen=True)
class Work:
    """A task at the source's own size, and what of it a model is given.

    strength   of the whole; 1 - M is each pixel's share of it
    keeps      whether something of the source stays, so that it comes back at its own size
    remark     what was done to fit the source, and what may not be meant
    """

    task: Condition
    part: Condition
    region: Region
    strength: float
    keeps: bool
    feather: float
    remark: str

    def large(self) -> Condition:
        """The known pixels of the part, as large as the source has them, for super-resolution."""
        from ..diffusion.condition import cut_out

        return cut_out(self.task, self.region.box, self.region.height, self.region.width)

    def stitched(self, clip: Tensor, fps: float) -> Rendered:
        """What was made, in the untouched source: frames `(H, W, 3)` in [0, 1].

        Where it is all of the source and now larger, in the source enlarged.
        """
        from ..diffusion.condition import cut_out
        from ..photo.region import all_of, stitch_frames

        height, width = clip.shape[-2:]
        task, region, feather = self.task, self.region, self.feather
        if region.outgrown(height, width):
            feather *= height / region.height
            task, region = cut_out(task, region.box, height, width), all_of(height, width)
        made, source = ((v[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1) for v in (clip, task.clip))
        return stitch_frames(made, region, source, 1 - task.known[0, 0], feather, fps)


def work_of(args: argparse.Namespace, spec: ModelSpec) -> Work | None:
    """None for text alone. Raises ValueError for what does not go together, before the work."""
    from ..config import MINI_LABEL
    from ..diffusion.condition import cut_out
    from ..photo.region import region_for_model
    from ..train.world.likeness import FAR, far_from_drawn

    check_given(args)
    if args.task == "text":
        return None
    usual = {**LEFT_OUT, **({"feather": HARD_EDGE} if args.task == "outpaint" else {})}
    args = argparse.Namespace(
        **{**vars(args), **{k: v for k, v in usual.items() if getattr(args, k) is None}}
    )
    clip, remark = given_clip(args)
    task, strength = known_pixels_for(args, clip, spec)
    if bool((task.known == 1).all()):
        raise ValueError(
            "nothing would be made: the mask is black, or one frame was asked for. Paint white what to make, and ask "
            "for two frames or more."
        )
    remark += fitted_length(args, clip.shape[2], task.clip.shape[2])
    size = max(args.size) if args.size else spec.size
    region = region_for_model((task.known < 1).any(dim=2)[0, 0], size, spec.unet.size_multiple)
    part = cut_out(task, region.box, region.crop_height, region.crop_width)
    if args.task == "edit":  # what is changed a little is made, too: nothing of the source is mixed in later
        task = replace(task, known=task.known.floor())
    else:
        part, remark = part.firm, f"{remark} {task.remark}"
    if part.clip.shape[-2:] != task.clip.shape[-2:]:
        remark += (
            f" {region.width}x{region.height} of {region.picture_width}x{region.picture_height} are made at "
            f"{region.crop_width}x{region.crop_height}."
        )
    if spec.label == MINI_LABEL and far_from_drawn(clip[0, :, 0] / 2 + 0.5):
        remark += f" {FAR}"
    keeps = bool(args.mask) or bool((task.known == 1).any())
    return Work(task, part, region, strength, keeps, args.feather, remark.strip())


def check_given(args: argparse.Namespace) -> None:
    """Raises ValueError for options that do not go with the task, before anything is read."""
    task = args.task
    check_choice("task", task, JOBS)
    given = [name for name in ("image", "video", *ONLY) if getattr(args, name) is not None]
    if task == "text":
        if given:
            raise ValueError(
                f"task is 'text', which takes no --{given[0]}. Name the task, such as --task image."
            )
        return
    if bool(args.image) == bool(args.video):
        raise ValueError(f"task is {task!r}, which takes --image or --video, one of them.")
    for name, tasks in ONLY.items():
        if name in given and task not in tasks:
            raise ValueError(f"--{name} is for {', '.join(tasks)}, but the task is {task!r}. Leave it out.")
    if args.inside is not None and not args.mask:
        raise ValueError("--inside is for the white part of a mask. Give a --mask, or leave it out.")
    if task in MASKED and not args.mask:
        raise ValueError(f"task is {task!r}, which needs a --mask: a picture, white where it is made.")
    if task == "image" and args.video:
        raise ValueError("task is 'image', which takes --image. To go on with a clip, use --task extend.")
    if task == "extend" and args.image:
        raise ValueError("task is 'extend', which takes --video. To begin with a picture, use --task image.")
    most = 2 if task == "image" else 1
    if args.image and len(args.image) > most:
        takes = "one or two" if most == 2 else "one, or a clip by --video"
        raise ValueError(f"{len(args.image)} pictures were given, but {task} takes {takes}. Leave some out.")


def fitted_length(args: argparse.Namespace, given: int, made: int) -> str:
    """What is said where a clip is not as long as was asked for."""
    if args.task not in ("inpaint", "outpaint", "edit") or given == 1:
        return ""
    if args.frames and args.frames > made:
        return f" The clip has {made} frames, so {made} are made and not {args.frames}."
    return f" The first {made} of {given} frames are taken." if made < given else ""


def given_clip(args: argparse.Namespace) -> tuple[Tensor, str]:
    """The pictures or the clip `(1, 3, T, H, W)` in [-1, 1], shown at args.fps, and what was done."""
    import torch

    from ..media.files import read_clip
    from ..media.frames import at_rate

    if args.image:
        pictures = [open_picture(path) for path in args.image]
        sizes = {tuple(picture.shape[:2]) for picture in pictures}
        if len(sizes) > 1:
            (height, width), (other, wide) = sorted(sizes)[:2]
            raise ValueError(f"the pictures are {width}x{height} and {wide}x{other}. Resize one of them.")
        return torch.stack(pictures).permute(3, 0, 1, 2)[None] * 2 - 1, ""
    clip, fps = read_clip(args.video)
    shown = at_rate(clip.shape[1], fps, args.fps)
    remark = ""
    if len(shown) != clip.shape[1]:
        remark = f"{clip.shape[1]} frames at {fps:g} fps became {len(shown)} at {args.fps:g}."
    return clip[None, :, shown], remark


def known_pixels_for(args: argparse.Namespace, clip: Tensor, spec: ModelSpec) -> tuple[Condition, float]:
    """What is known of the clip that is made, and how far the rest is changed."""
    import torch

    from ..diffusion import condition

    length = clip.shape[2]
    frames = args.frames or spec.num_frames
    if args.task == "image":
        make = condition.first_frame if length == 1 else condition.first_and_last
        return make(clip, frames), 1.0
    if args.task == "extend":
        return condition.extend(clip, args.keep, frames), 1.0
    if length > 1:
        frames = min(args.frames or length, length)
        clip = clip[:, :, :frames]
    if args.task == "outpaint":
        return condition.outpaint(clip, (args.room,) * 4, frames), 1.0
    white = open_mask(args.mask)[None, None, None] if args.mask else None
    if args.task == "cinemagraph":
        return condition.cinemagraph(clip, 1 - white, frames), 1.0
    if args.task == "inpaint":
        return condition.inpaint(clip, 1 - white, frames), 1.0
    change = torch.full((1, 1, 1, *clip.shape[-2:]), args.strength)
    if white is not None:
        inside = condition.at_size(white, *clip.shape[-2:])
        change = torch.lerp(change, torch.full_like(change, args.inside), inside)
    most = float(change.max())
    return condition.inpaint(clip, 1 - change / most, frames), most


def add_task(command: Any) -> None:
    """The options of a task."""
    names = "; ".join(f"{name}: {what}" for name, what in JOBS.items())
    command.add_argument("--task", default="text", help=names)
    command.add_argument("--image", nargs="+", help="a picture, or two for the first and the last frame")
    command.add_argument("--video", help="a clip, shown at --fps")
    command.add_argument("--mask", help="a picture, white where something is made; what is black stays")
    command.add_argument("--room", type=number(int, "room"), help="for outpaint, in pixels: 64")
    command.add_argument(
        "--keep", type=number(int, "frames", "keep"), help="for extend: frames of the clip to keep, 8"
    )
    command.add_argument(
        "--strength",
        type=number(float, "edit.strength"),
        help="for edit: how far the clip is changed, 0.4; up to 1",
    )
    command.add_argument(
        "--inside",
        type=number(float, "edit.strength", "inside"),
        help="for edit: how far the white part of the mask is changed, 0.8",
    )
    command.add_argument(
        "--feather",
        type=number(float, "feather"),
        help="soft edge in pixels, inside the mask: 4; for outpaint 0.25",
    )
