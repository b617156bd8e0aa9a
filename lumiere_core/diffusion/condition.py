"""Lumiere's condition `<C, M>`: which pixels of a clip are known (Lumiere, section 4.1), for every task.

A clip is `(1, 3, T, H, W)` in [-1, 1]. M is `(1, 1, T, H, W)` in [0, 1], **1 where a pixel is known and kept**, as in
the paper. C is the clip with unknown pixels set to 0. Any model that takes a masked clip can use both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .process import TABLE, Denoise, Process


@dataclass(frozen=True)
class Condition:
    """A clip, and which of its pixels are known.

    clip   `(1, 3, T, H, W)`: the known pixels, and a guess (the nearest known frame) everywhere else
    known  `(1, 1, T, H, W)`: M; a grey pixel is unknown to a network, and held in part by `held`
    """

    clip: Tensor
    known: Tensor

    @property
    def firm(self) -> Condition:
        """Grey counts as unknown, as it does to a network: for a clip that is mixed with the source when it is done.

        What both a sampler and the last mix hold in part would be held twice.
        """
        return Condition(self.clip, self.known.floor())

    @property
    def blanked(self) -> Tensor:
        """C: the clip with 0 wherever M is below 1."""
        return self.clip * (self.known == 1)

    @property
    def remark(self) -> str:
        """What an artist may not have meant; mostly empty."""
        if bool((self.known == 1).all()):
            return "The mask is empty: nothing will change. White is the part to make."
        if bool((self.known < 1).all()):
            return "Everything is to be made: nothing of the picture is kept. Black is the part to keep."
        return ""

    @property
    def stacked(self) -> Tensor | None:
        """<C, M> as a network reads it, `(1, 4, T, H, W)`; None where no pixel is known, as in text to video."""
        known = self.known == 1
        return torch.cat([self.blanked, known.to(self.clip)], dim=1) if bool(known.any()) else None

    def kept(self, made: Tensor) -> Tensor:
        """`made` with every known pixel as it was given, exactly."""
        return torch.where((self.known == 1).to(made.device), self.clip.to(made), made)


def held(denoise: Denoise, task: Condition, noise: Tensor, own: Callable | None = None) -> Denoise:
    """A denoiser whose known pixels follow the clip's own path, whatever the network says of them.

    Before a call they are `clip + sigma noise`, after it `clip`; where M is grey, both are mixed, or M is what
    `own(known, sigma)` makes of it at a noise level. The host's core does the same for a LATENT with a noise mask
    (blended diffusion, Avrahami et al. 2111.14818).
    """
    clip, known = task.clip.to(noise), task.known.to(noise)

    def call(x: Tensor, sigma: Tensor, **condition: object) -> Tensor:
        now = own(known, sigma) if own else known
        x0 = denoise(torch.lerp(x, clip + sigma * noise, now), sigma, **condition)
        return torch.lerp(x0, clip, now)

    return call


def differential(process: Process, sigmas: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """For `held`: a pixel is held until the share of the way that is left is its own 1 - M.

    So each pixel begins with noise of its own strength (Differential Diffusion, Levin & Fried 2306.00950). It equals
    the host's node of that name.
    """
    last = process.u_max / TABLE
    first = float(process.spaced(sigmas[0]))

    def own(known: Tensor, sigma: Tensor) -> Tensor:
        left = (float(process.spaced(sigma.flatten()[0])) - last) / max(first - last, 1e-9)
        return (1 - known < left).to(known)

    return own


def cinemagraph(picture: Tensor, known: Tensor, frames: int) -> Condition:
    """One picture, of which a region moves: all of frame 0 is known, in later frames what lies outside the region.

    picture `(1, 3, 1, H, W)`, known `(1, 1, 1, H, W)`, 0 in the region. Raises ValueError.
    """
    still = one_frame(picture, "a cinemagraph").expand(-1, -1, frames, -1, -1)
    known = fitting(known, still).clone()
    known[:, :, 0] = 1
    return Condition(still, known)


def inpaint(clip: Tensor, known: Tensor, frames: int) -> Condition:
    """A clip, or a repeated picture, of which a region is made new in every frame. Raises ValueError."""
    if clip.shape[2] == 1:
        clip = clip.expand(-1, -1, frames, -1, -1)
    if clip.shape[2] != frames:
        raise ValueError(
            f"the clip has {clip.shape[2]} frames, but {frames} are asked for. Ask for {clip.shape[2]}, or cut it."
        )
    return Condition(clip, fitting(known, clip))


def outpaint(clip: Tensor, sides: tuple[int, int, int, int], frames: int) -> Condition:
    """A clip, or a repeated picture, with room to fill. sides: pixels left, top, right, bottom. Raises ValueError."""
    left, top, right, bottom = sides
    if min(sides) < 0 or max(sides) == 0:
        raise ValueError(f"the sides are {sides}, but one has to be above 0 and none below. Try 64.")
    height, width = clip.shape[-2:]
    known = torch.zeros(1, 1, 1, height + top + bottom, width + left + right)
    known[..., top : top + height, left : left + width] = 1
    wide = F.pad(clip.flatten(1, 2), (left, right, top, bottom), mode="replicate").unflatten(
        1, clip.shape[1:3]
    )
    return inpaint(wide, known, frames)


def chosen_frames(clip: Tensor, places: Sequence[int], frames: int, stride: int = 1) -> Condition:
    """Pictures `(1, 3, N, H, W)` known at N frames of the clip; the frames between them are made.

    stride: frames that share a latent step in a causal video VAE. A known picture then fills its whole step, or the VAE
    would mix it with unknown frames. Raises ValueError for places outside the clip, or not one for each picture.
    """
    if len(places) != clip.shape[2] or not places:
        raise ValueError(
            f"there are {clip.shape[2]} pictures and {len(places)} places for them. Give one frame number for each."
        )
    if min(places) < 0 or max(places) >= frames or len(set(places)) < len(places):
        raise ValueError(
            f"the places are {', '.join(map(str, places))}, but they have to differ and lie in 0 to {frames - 1}."
        )
    steps = [step_of(place, stride, frames) for place in places]
    taken: dict[int, int] = {}
    for place, step in zip(places, steps, strict=True):
        if step.start in taken:
            raise ValueError(
                f"frames {taken[step.start]} and {place} lie in one latent step of {stride} frames, which can hold one "
                f"picture. Move one of them to {step.stop} or later."
            )
        taken[step.start] = place
    at = torch.tensor(places)
    nearest = (torch.arange(frames)[:, None] - at).abs().argmin(dim=1)
    filled, known = clip[:, :, nearest].clone(), torch.zeros(1, 1, frames, *clip.shape[-2:])
    for number, step in enumerate(steps):
        filled[:, :, step], known[:, :, step] = clip[:, :, number : number + 1], 1
    return Condition(filled, known)


def first_frame(clip: Tensor, frames: int, stride: int = 1) -> Condition:
    """Image to video: the picture `(1, 3, 1, H, W)` is frame 0."""
    return chosen_frames(one_frame(clip, "first frame"), [0], frames, stride)


def first_and_last(clip: Tensor, frames: int, stride: int = 1) -> Condition:
    """Two pictures for the first and last frame, or one for both, which gives a loop."""
    if clip.shape[2] == 1:
        clip = clip.expand(-1, -1, 2, -1, -1)
    return chosen_frames(clip, [0, frames - 1], frames, stride)


def extend(clip: Tensor, count: int, frames: int, stride: int = 1) -> Condition:
    """Continue a clip: its last `count` frames are the first ones of the new clip.

    With a causal video VAE, count has to fill whole latent steps: 1 + k * stride. Raises ValueError.
    """
    check_kept(clip, count, frames)
    check_begin(count, stride)
    known = torch.zeros(1, 1, frames, *clip.shape[-2:])
    known[:, :, :count] = 1
    last = clip[:, :, -1:].expand(-1, -1, frames - count, -1, -1)
    return Condition(torch.cat([clip[:, :, -count:], last], dim=2), known)


def lead_in(clip: Tensor, count: int, frames: int, stride: int = 1) -> Condition:
    """What came before a clip: its first `count` frames are the last ones of the new clip. Raises ValueError."""
    check_kept(clip, count, frames)
    check_end(count, frames, stride)
    known = torch.zeros(1, 1, frames, *clip.shape[-2:])
    known[:, :, frames - count :] = 1
    first = clip[:, :, :1].expand(-1, -1, frames - count, -1, -1)
    return Condition(torch.cat([first, clip[:, :, :count]], dim=2), known)


def bridge(clip: Tensor, frames: int, stride: int = 1) -> Condition:
    """From one clip to another: the first half of the frames given begins the new clip, the other half ends it.

    Raises ValueError.
    """
    given = clip.shape[2]
    if given < 2 or given >= frames:
        raise ValueError(
            f"a bridge joins the end of one clip to the beginning of another, but {given} frames were given for "
            f"{frames}. Give both in one batch, such as {max(1, min(8, (frames - 1) // 2))} frames of each."
        )
    end = given // 2
    begin = given - end
    check_begin(begin, stride)
    check_end(end, frames, stride)
    half = begin + (frames - given) // 2  # the guess between them changes halfway
    at = torch.arange(frames)
    at = torch.where(at < half, at.clamp(max=begin - 1), (at - frames + given).clamp(min=begin))
    known = torch.zeros(1, 1, frames, *clip.shape[-2:])
    known[:, :, :begin] = known[:, :, frames - end :] = 1
    return Condition(clip[:, :, at], known)


def step_of(frame: int, stride: int, frames: int) -> slice:
    """The frames that share a latent step with this one: 0 alone, then `stride` at a time."""
    if stride == 1 or frame == 0:
        return slice(frame, frame + 1)
    first = (frame - 1) // stride * stride + 1
    return slice(first, min(first + stride, frames))


def packed(known: Tensor, steps: int, height: int, width: int) -> Tensor:
    """M on a latent's own grid: a cell takes the smallest M of its pixels.

    `(1, 1, T, H, W) -> (1, 1, steps, height, width)`. With T frames in `steps` steps the grid is 1:1 or causal: step 0
    is frame 0, step k the frames s (k - 1) + 1 to s k. ComfyUI's trilinear resizing would lose frame 0.
    Raises ValueError if T fits neither.
    """
    frames = known.shape[2]
    if steps != frames:
        if steps < 2 or (frames - 1) % (steps - 1):
            raise ValueError(
                f"the VAE made {steps} latent steps of {frames} frames, which is no grid of 1 + k. Try "
                f"{(frames - 1) // 8 * 8 + 1} frames."
            )
        stride = (frames - 1) // (steps - 1)
        later = known[:, :, 1:].unflatten(2, (steps - 1, stride)).amin(dim=3)
        known = torch.cat([known[:, :, :1], later], dim=2)
    unknown = F.adaptive_max_pool2d(1 - known[0, 0], (height, width))
    return (1 - unknown)[None, None]


def on_canvas(clip: Tensor, known: Tensor, frames: int, height: int, width: int) -> Condition:
    """What a host gives, at the size of what it samples: a longer clip is cut, what a shorter one lacks is unknown.

    clip `(B, 3, t, h, w)`, known `(B or 1, 1, t or 1, h, w)`; both are resized where they have another size.
    Raises ValueError for a mask of another length.
    """
    clip = at_size(clip[:, :, :frames].float(), height, width)
    length = clip.shape[2]
    known = known if known.shape[2] == 1 else known[:, :, :length]
    if known.shape[2] not in (1, length):
        raise ValueError(
            f"the mask has {known.shape[2]} frames, but the clip has {length}. Give one frame, or {length}."
        )
    known = known_at_size(known.float(), height, width).expand(len(clip), -1, length, -1, -1)
    missing = (0, 0, 0, 0, 0, frames - length)
    return Condition(F.pad(clip, missing), F.pad(known, missing))


def cut_out(task: Condition, box: tuple[slice, slice], height: int, width: int) -> Condition:
    """A part of the picture, rows and columns, in a size of its own."""
    rows, columns = box
    clip, known = task.clip[..., rows, columns], task.known[..., rows, columns]
    return Condition(at_size(clip, height, width), known_at_size(known, height, width))


def at_size(clip: Tensor, height: int, width: int) -> Tensor:
    """`(B, C, T, h, w) -> (B, C, T, height, width)`, smoothly; of the right size already, as it is."""
    if clip.shape[-2:] == (height, width):
        return clip
    frames = clip.transpose(1, 2)
    resized = F.interpolate(frames.flatten(0, 1), (height, width), mode="bilinear", antialias=True)
    return resized.unflatten(0, frames.shape[:2]).transpose(1, 2)


def known_at_size(known: Tensor, height: int, width: int) -> Tensor:
    """M resized: a pixel is wholly known where all that it is made of is, to the bit."""
    return 1 - at_size(1 - known, height, width)


def check_kept(clip: Tensor, count: int, frames: int) -> None:
    if not 1 <= count <= min(clip.shape[2], frames - 1):
        raise ValueError(
            f"{count} frames of the clip are to be kept, but it has {clip.shape[2]}, and the new one has {frames}. Try "
            f"{max(1, min(clip.shape[2], frames - 1, 8))}."
        )


def check_begin(count: int, stride: int) -> None:
    """Frames kept at the beginning fill latent steps: 1 and then `stride` at a time."""
    if (count - 1) % stride:
        more = (count - 1) // stride * stride + 1
        raise ValueError(
            f"{count} frames of the clip are to be kept, but this VAE holds 1 and then {stride} at a time. Try {more} "
            f"or {more + stride}."
        )


def check_end(count: int, frames: int, stride: int) -> None:
    """Frames kept at the end fill latent steps."""
    if count % stride:
        more = max(stride, count // stride * stride)
        raise ValueError(
            f"{count} frames at the end of the clip are to be kept, but this VAE holds {stride} at a time there. Try "
            f"{more} or {more + stride}."
        )


def one_frame(clip: Tensor, task: str) -> Tensor:
    if clip.shape[2] != 1:
        raise ValueError(f"{task} takes one picture, but {clip.shape[2]} were given. Choose one of them.")
    return clip


def fitting(known: Tensor, clip: Tensor) -> Tensor:
    """M at the clip's size; one frame is repeated. Raises ValueError for another length."""
    frames, height, width = clip.shape[2:]
    if known.shape[2] not in (1, frames):
        raise ValueError(
            f"the mask has {known.shape[2]} frames, but the clip has {frames}. Give one frame, or {frames}."
        )
    known = known_at_size(known, height, width)
    return known.expand(-1, -1, frames, -1, -1)
