"""Nodes that cut a region out of a large picture and stitch it back. They need no model."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ...lumiere_core.limits import within
from ...lumiere_core.photo import region as regions
from ..finish import even_input, feather_input, nothing_painted
from ..host.progress import announce, collected
from ..sockets import schema
from ..tensors import change_of, frames_of

RegionSocket = io.Custom("LUMIERE_REGION")


class CropForRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_CropForRegion",
            display_name="Crop for a Region",
            category="Lumiere/finish",
            description="Cuts the painted part out of a large picture or clip, with some room "
            "around it, at the size a model takes. Stitch a Region puts it back.",
            search_aliases=[
                "crop",
                "inpaint crop",
                "crop and stitch",
                "crop stitch",
                "region",
                "only masked",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The picture or clip."),
                io.Mask.Input(
                    "mask", tooltip="White is the region. One frame, or one for each frame of the clip."
                ),
                io.Float.Input(
                    "margin",
                    default=0.25,
                    **within("margin"),
                    step=0.05,
                    tooltip="Room around the region. Below 1: a share of its long side. From 1 on: pixels.",
                ),
                io.Int.Input(
                    "multiple",
                    default=16,
                    **within("multiple"),
                    tooltip="Width and height become multiples of this.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    **within("crop.size"),
                    step=8,
                    tooltip="Long side of the crop in pixels; many models take 832. 0 keeps the "
                    "picture's own scale.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="crop"),
                io.Mask.Output(display_name="mask", tooltip="The mask of the crop."),
                RegionSocket.Output(
                    display_name="region", tooltip="Where the crop was taken, for Stitch a Region."
                ),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, mask: Tensor, margin: float, multiple: int, size: int) -> io.NodeOutput:
        mask = regions.change_mask(change_of(mask), image.shape[0], *image.shape[1:3])
        region = regions.region_of(mask, margin, multiple, size)
        announce(image.shape[0], region.crop_height, region.crop_width)
        return io.NodeOutput(regions.crop(frames_of(image), region), regions.crop_mask(mask, region), region)


class Stitch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Stitch",
            display_name="Stitch a Region",
            category="Lumiere/finish",
            description="Puts a crop back into the large picture. Pixels outside the mask are "
            "exactly those of the original.",
            search_aliases=["stitch", "crop stitch", "paste back", "inpaint stitch", "uncrop", "composite"],
            inputs=[
                io.Image.Input("image", tooltip="The crop, of any size and length."),
                RegionSocket.Input("region", tooltip="From Crop for a Region, Masked Latent or Edit a Clip."),
                io.Image.Input(
                    "original", tooltip="The large picture, or a clip as long as the crop: their source."
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="The mask of the large picture, as given to Crop for a Region, or from those nodes.",
                ),
                feather_input(16),
                even_input(),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        region: regions.Region,
        original: Tensor,
        mask: Tensor,
        feather: int,
        even: bool,
    ) -> io.NodeOutput:
        height, width = region.picture_height, region.picture_width
        if nothing_painted(mask):
            kept = regions.frames_for("original", frames_of(original), len(image), height, width)
            return io.NodeOutput(kept.clone())
        mask = regions.change_mask(change_of(mask), image.shape[0], height, width)
        frames = regions.stitch_frames(frames_of(image), region, frames_of(original), mask, feather)
        return io.NodeOutput(collected(frames, even))
