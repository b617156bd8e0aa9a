"""Cut a region out of a large picture, and put it back without changing any other pixel.

A clip is float32 `(T, H, W, 3)` in [0, 1]; `change` is a mask, float32 `(H, W)` or `(T, H, W)` in [0, 1]: **1 is
what changes**, as in ComfyUI (`known`, for the engine's networks, has it the other way round). Inputs are never
written to. Large pictures are processed frame by frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..limits import check
from ..media.frames import Rendered, gathered
from ..media.pictures import opencv

MIXED_ROWS = 64  # rows that are mixed at a time, so that what is in between takes little memory


@dataclass(frozen=True)
class Region:
    """Where a crop was taken: a box in the picture, the picture's size, and the size the crop was scaled to."""

    left: int
    top: int
    width: int
    height: int
    picture_width: int
    picture_height: int
    crop_width: int
    crop_height: int

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns, to index `(..., H, W)` or a frame."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def outgrown(self, height: int, width: int) -> bool:
        """Whether a clip of this size is all of the picture, undistorted, and larger: none to put it back into."""
        whole = (self.height, self.width) == (self.picture_height, self.picture_width)
        return whole and height > self.height and height * self.width == width * self.height


def region_of(change: Tensor, margin: float = 0.1, multiple: int = 8, size: int = 0) -> Region:
    """The box around everything a mask changes in any frame, grown until its crop fits a model.

    margin: room on each side; below 1 a fraction of the box's long side, from 1 on pixels. multiple: of what the
    crop's sides are. size: long side of the crop, 0 to keep the picture's own scale. The aspect is the box's; only
    where the picture ends before the next multiple, the crop is scaled to the nearest one. Raises ValueError.
    """
    check("margin", margin)
    check("multiple", multiple)
    check("crop.size", size)
    if size % multiple:
        near = max(multiple, size // multiple * multiple)
        raise ValueError(
            f"size is {size}, but it has to be a multiple of {multiple}. Try {near} or {near + multiple}."
        )
    painted = (
        change_mask(change, 1 if change.ndim == 2 else len(change), *change.shape[-2:]).amax(0) > 0
    )  # (H, W)
    rows, columns = _span(painted.any(1)), _span(painted.any(0))
    room = margin if margin >= 1 else margin * max(rows[1] - rows[0], columns[1] - columns[0])
    limits = painted.shape
    (top, bottom), (left, right) = (
        (max(0, a - round(room)), min(limit, b + round(room)))
        for (a, b), limit in zip((rows, columns), limits, strict=True)
    )
    scale = size / max(bottom - top, right - left) if size else 1.0
    height, crop_height = _side(bottom - top, limits[0], scale, multiple)
    width, crop_width = _side(right - left, limits[1], scale, multiple)
    top = min(max(0, (top + bottom - height) // 2), limits[0] - height)
    left = min(max(0, (left + right - width) // 2), limits[1] - width)
    return Region(left, top, width, height, limits[1], limits[0], crop_width, crop_height)


def all_of(height: int, width: int) -> Region:
    """The region that is all of a picture, at its own size."""
    return Region(0, 0, width, height, width, height, width, height)


def region_for_model(change: Tensor, size: int, multiple: int) -> Region:
    """What changes `(H, W)` and the largest square of the picture around it, at the long side a model was trained at.

    A model of whole scenes wants as much of the scene as there is: from a close cut it makes a scene of its own. A
    picture that fits as it is stays whole, and so does one in which nothing changes.
    """
    height, width = change.shape
    fits = max(height, width) <= size and not height % multiple and not width % multiple
    if fits or not change.any():
        return all_of(height, width)
    side = min(height, width)
    top, left = (
        min(max(0, (sum(_span(used)) - side) // 2), limit - side)
        for used, limit in ((change.any(1), height), (change.any(0), width))
    )
    scene = change.bool().clone()
    scene[top : top + side, left : left + side] = True
    return region_of(scene, 0, multiple, size)


def _span(used: Tensor) -> tuple[int, int]:
    """First and one past the last true entry."""
    places = used.nonzero()
    return int(places[0]), int(places[-1]) + 1


def _side(wanted: int, available: int, scale: float, multiple: int) -> tuple[int, int]:
    """One side of the box and of its crop: the next multiple up, or what the picture has at the nearest multiple."""
    crop = math.ceil(wanted * scale / multiple - 1e-6) * multiple
    box = round(crop / scale)
    if box <= available:
        return box, crop
    return available, max(1, round(available * scale / multiple)) * multiple


def change_mask(change: Tensor, frames: int, height: int, width: int) -> Tensor:
    """A mask in the shape of a clip: `(1 or frames, height, width)` in [0, 1], resized where it has another size.

    Raises ValueError for an empty mask and for a number of frames that fits neither one nor the clip.
    """
    change = change if change.ndim == 3 else change[None]
    if change.ndim != 3:
        raise ValueError(
            f"the mask has the shape {tuple(change.shape)}, but it has to be (H, W) or (T, H, W)."
        )
    if not (change > 0).any():
        raise ValueError(
            "the mask is empty: nothing is painted. In ComfyUI right-click Load Image, Open in MaskEditor, paint and "
            "save; in a mask file white moves."
        )
    if len(change) not in (1, frames):
        raise ValueError(
            f"the mask has {len(change)} frames, but the clip has {frames}. Give one mask for all, or {frames}."
        )
    change = change.float()
    low, high = change.aminmax()
    change = change if low >= 0 and high <= 1 else change.clamp(0, 1)
    return (
        change
        if change.shape[1:] == (height, width)
        else _scaled(change[..., None], height, width, "bilinear")[..., 0]
    )


def _scaled(clip: Tensor, height: int, width: int, how: str = "bicubic") -> Tensor:
    """`(T, h, w, C) -> (T, height, width, C)`, one frame at a time; shrinking averages, nothing leaves [0, 1]."""
    if clip.shape[1:3] == (height, width):
        return clip.clone()
    out = clip.new_empty(len(clip), height, width, clip.shape[-1])
    for frame, to in zip(clip, out, strict=True):
        picture = F.interpolate(frame.permute(2, 0, 1)[None], (height, width), mode=how, antialias=True)
        to.copy_(picture[0].permute(1, 2, 0).clamp(0, 1))
    return out


def _check_picture(what: str, size: tuple[int, ...], region: Region) -> None:
    if tuple(size) != (region.picture_height, region.picture_width):
        raise ValueError(
            f"the {what} is {size[1]}x{size[0]}, but the region was taken from {region.picture_width}x"
            f"{region.picture_height}. Use the picture and the mask that the region was made with."
        )


def crop(clip: Tensor, region: Region) -> Tensor:
    """The region of a clip, scaled to the size the region names: `(T, H, W, 3) -> (T, crop_height, crop_width, 3)`."""
    _check_picture("clip", clip.shape[1:3], region)
    rows, columns = region.box
    return _scaled(clip[:, rows, columns], region.crop_height, region.crop_width)


def crop_mask(change: Tensor, region: Region) -> Tensor:
    """The region of a mask, `(H, W)` or `(T, H, W)`, scaled alike."""
    _check_picture("mask", change.shape[-2:], region)
    part = change[..., region.box[0], region.box[1]].float()
    frames = part.reshape(-1, *part.shape[-2:], 1)
    scaled = _scaled(frames, region.crop_height, region.crop_width, "bilinear")
    return scaled.reshape(*part.shape[:-2], region.crop_height, region.crop_width)


def feathered(change: Tensor, feather: float) -> Tensor:
    """The mask with a soft edge `feather` pixels wide, all of it inside: what is 0 stays 0. Greys are multiplied.

    The picture's own border is no edge. `(H, W)` or `(T, H, W)`. Raises ValueError for a feather out of range.
    """
    check("feather", feather)
    if feather == 0:
        return change.clone()
    if change.ndim == 3:
        return torch.stack([feathered(frame, feather) for frame in change])
    if bool((change > 0).all()):
        return change.clone()
    cv2 = opencv()
    painted = (change > 0).cpu().numpy().astype(np.uint8)
    distance = torch.from_numpy(cv2.distanceTransform(painted, cv2.DIST_L2, 5)).to(change)
    ramp = (distance / (feather + 1)).clamp(0, 1)
    return change * ramp.square() * (3 - 2 * ramp)  # smoothstep: no line shows where the edge begins


def frames_for(what: str, source: Tensor, frames: int, height: int, width: int) -> Tensor:
    """A source `(H, W, 3)`, `(1, H, W, 3)` or `(T, H, W, 3)` with a frame for each of the clip's, as a view."""
    source = source if source.ndim == 4 else source[None]
    if source.shape[1:3] != (height, width):
        raise ValueError(
            f"the {what} is {source.shape[2]}x{source.shape[1]}, but the clip is {width}x{height}. Resize one of them."
        )
    if len(source) not in (1, frames):
        raise ValueError(
            f"the {what} has {len(source)} frames, but the clip has {frames}. Give one frame, or {frames}."
        )
    return source.expand(frames, -1, -1, -1)


def one_picture(what: str, source: Tensor, height: int, width: int) -> Tensor:
    """A source that is one picture of this size, `(H, W, 3)`. Raises ValueError."""
    source = source if source.ndim == 4 else source[None]
    if len(source) > 1:
        raise ValueError(
            f"the {what} has {len(source)} frames, but it has to be one picture. Choose one of them."
        )
    return frames_for(what, source, 1, height, width)[0]


def stitch_frames(
    generated: Tensor, region: Region, original: Tensor, change: Tensor, feather: float = 16, fps: float = 16
) -> Rendered:
    """What `stitch` gives, one frame `(H, W, 3)` at a time: a 12-megapixel clip need not fit into memory."""
    height, width = region.picture_height, region.picture_width
    count = len(generated)
    original = frames_for("original", original, count, height, width)
    _check_picture("mask", change.shape[-2:], region)
    changes = change_mask(change, count, height, width)

    def render() -> Iterator[np.ndarray]:
        alpha = None
        for i, (part, picture) in enumerate(zip(generated, original, strict=True)):
            if alpha is None or len(changes) > 1:
                alpha = _soft_box(changes[i], region, feather)
            frame = picture.clone()
            lay_over(frame[region.box], _scaled(part[None], region.height, region.width)[0], alpha)
            yield frame.numpy()

    return Rendered(count, height, width, fps, render)


def _soft_box(change: Tensor, region: Region, feather: float) -> Tensor:
    """How much of the generated pixels shows in the box, `(height, width, 1)`; the box's own edge is an edge, too."""
    inside = torch.zeros_like(change)
    inside[region.box] = change[region.box]
    return feathered(inside, feather)[region.box][..., None]


def stitch(
    generated: Tensor, region: Region, original: Tensor, change: Tensor, feather: float = 16
) -> Tensor:
    """Put a generated crop back: `(T, H, W, 3)`, bit for bit the original where the mask is 0.

    generated `(T, h, w, 3)` of any size, scaled into the region's box. original: one picture or T frames of the
    region's size; mask of that size, `(H, W)` or `(T, H, W)`. The soft edge of `feather` pixels lies inside the mask.
    """
    return gathered(stitch_frames(generated, region, original, change, feather))


def keep_pixels(
    clip: Tensor, source: Tensor, change: Tensor, feather: float = 0, fps: float = 16
) -> Rendered:
    """The clip where the mask is 1, bit for bit the source where it is 0: frames `(H, W, 3)`, one at a time.

    source: one picture or T frames of the clip's size. mask: `(H, W)` or `(T, H, W)`, resized where it has another
    size. Raises ValueError, also for an empty mask.
    """
    frames, height, width = clip.shape[:3]
    source = frames_for("source", source, frames, height, width)
    changes = change_mask(change, frames, height, width)
    first = feathered(changes[0], feather)

    def render() -> Iterator[np.ndarray]:
        for i, (new, known) in enumerate(zip(clip, source, strict=True)):
            alpha = feathered(changes[i], feather) if i and len(changes) > 1 else first
            frame = known.clone(memory_format=torch.contiguous_format)
            lay_over(frame, new, alpha[..., None])
            yield frame.numpy()

    return Rendered(frames, height, width, fps, render)


def lay_over(below: Tensor, new: Tensor, alpha: Tensor) -> None:
    """Mix `new` into `below`, both `(H, W, 3)`; untouched where alpha `(H, W, 1)` is 0, even if `new` is no number."""
    for top in range(0, len(below), MIXED_ROWS):
        rows = slice(top, top + MIXED_ROWS)
        known = below[rows]
        share = alpha[rows].expand_as(known)
        known.copy_(torch.where(share == 0, known, torch.lerp(known, new[rows], share)))
