"""Temporal layers trained over a frozen image model: files that say which family and widths they are for.

The image model is not in them. They fit every checkpoint of its family, as LoRAs do, and the inpainting one, too.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from ...config import DEPTHS, TemporalSpec, UNetSpec
from ...limits import FRAMES
from ...outputs import write_whole
from ...rules import each, line, one_of, real, record, whole
from ..animatediff.network import BETAS, MotionSpec
from ..container import Contents, Kind, read_contents, read_header, to_contents
from ..stunet import SpaceTimeUNet
from .families import FAMILIES

STRIDE = 2  # frames become one at each change of size: 8 at the coarsest level of SD1.5


def strides_for(unet: UNetSpec) -> tuple[int, ...]:
    """The temporal strides of an image model that is inflated."""
    return (STRIDE,) * (len(unet.channels) - 1)


def temporal_for(unet: UNetSpec, motion: MotionSpec) -> TemporalSpec:
    """What inflation adds where a motion file's coarsest modules are the attention over time."""
    strides = strides_for(unet)
    return TemporalSpec(
        strides=strides,
        condition_channels=0,
        attention_kind="animatediff",
        positions=-(-motion.frames // math.prod(strides)),
    )


@dataclass(frozen=True)
class TrainedSpec:
    """What temporal layers were trained over, and on what.

    base      the image model's family
    channels, blocks, embed_dim, context_dim  its sizes, as in `UNetSpec`
    betas     a row of network.BETAS, whose noise levels they learnt at; "": the image model's own
    window    frames of the clips they learnt from, at so many fps
    """

    base: str
    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    embed_dim: int
    context_dim: int
    temporal: TemporalSpec
    betas: str = ""
    window: int = 16
    fps: float = 8.0

    @property
    def name(self) -> str:
        return f"temporal layers for {self.base}"

    @property
    def frames(self) -> int:
        """The longest clip, or window, that they read: a position stands for N frames. "rotary" has no end."""
        return self.temporal.positions * self.temporal.time_factor or FRAMES

    def fits(self, unet: UNetSpec) -> bool:
        """Whether a U-Net has these sizes."""
        theirs = unet.channels, unet.blocks, unet.embed_dim, unet.context_dim
        return theirs == (self.channels, self.blocks, self.embed_dim, self.context_dim)


def sizes_of(spec: TrainedSpec | UNetSpec) -> str:
    """What tells two image models apart, in words."""
    return f"levels of {', '.join(map(str, spec.channels))} channels, prompts of {spec.context_dim}"


TRAINED = record(
    TrainedSpec,
    base=one_of(*FAMILIES),
    channels=each(whole(32, 8192, 32), *DEPTHS),
    blocks=each(whole(1, 8), *DEPTHS),
    embed_dim=whole(4, 8192, 4),
    context_dim=whole(1, 8192),
    temporal=record(
        TemporalSpec,
        strides=each(whole(1, 8), DEPTHS[0] - 1, DEPTHS[1] - 1),
        kernel=one_of(1, 3, 5, 7),
        head_dim=one_of(32),
        condition_channels=one_of(0),
        attention_kind=one_of("rotary", "animatediff"),
        positions=whole(0, 4096),
    ),
    betas=one_of("", *BETAS),
    window=whole(1, FRAMES),
    fps=real(0.01, 300),
)


def trained_spec(data: Any) -> TrainedSpec:
    """The spec from JSON; one that comes back can be built. Raises ValueError."""
    spec = TRAINED("spec", data)
    temporal, levels = spec.temporal, len(spec.channels)
    if not levels == len(spec.blocks) == len(temporal.strides) + 1:
        raise ValueError(
            f"in its spec there are {levels} channels, {len(spec.blocks)} blocks and {len(temporal.strides)} strides: "
            "one each a level, and a stride between two of them."
        )
    if (temporal.attention_kind == "animatediff") != (temporal.positions > 0):
        raise ValueError(f"in its spec positions is {temporal.positions} with {temporal.attention_kind}.")
    return spec


def layers_alone(spec: TrainedSpec) -> nn.Module:
    """The layers under the names that they have in a `SpaceTimeUNet`."""
    unet = UNetSpec(
        channels=spec.channels,
        blocks=spec.blocks,
        attention=(0,) * len(spec.channels),
        embed_width=spec.embed_dim,
        context_dim=spec.context_dim,
        groups=32,
        res_kind="add",
        pooled_text=False,
    )
    return nn.ModuleDict({"temporal": SpaceTimeUNet(unet, spec.temporal).temporal})


TRAINED_FILE = Kind(
    format="lumiere temporal layers",
    version=1,
    what="temporal layers for an image model",
    remedy="Use a file made by `python -m lumiere_core train temporal --backbone`.",
    parse=trained_spec,
    build=layers_alone,
    least=lambda spec: 10 * (2 * sum(spec.blocks) + len(spec.blocks)),  # of the blocks that are inflated
)
Trained = Contents[TrainedSpec]


def is_trained(path: Path) -> bool:
    """Whether a file says that it holds trained temporal layers. False for what cannot be read."""
    try:
        return read_header(path).metadata.get("format") == TRAINED_FILE.format
    except (OSError, ValueError):
        return False


def read_trained(path: Path) -> Trained:
    """Read and check a file of temporal layers. Raises ValueError naming what is wrong with it and what to do."""
    return read_contents(path, TRAINED_FILE)


def check_origin(license: str, trained_on: str) -> None:
    """Raises ValueError for what could not be read back: both are a line. Before the work, and not after it."""
    for name, said in (("license", license), ("trained-on", trained_on)):
        line(0, 500)(name, said)


def save_trained(
    path: Path, spec: TrainedSpec, tensors: dict[str, Tensor], *, license: str, trained_on: str
) -> None:
    """Write a file of temporal layers in half precision; license, trained_on: a line each, which travels with it.

    Raises ValueError for values that are not finite in it, and where the file cannot be written.
    """
    kept = {name: t.detach().to("cpu", torch.float16).contiguous() for name, t in tensors.items()}
    write_whole(path, to_contents(TRAINED_FILE, asdict(spec), kept, license, trained_on))
