"""Sizes as frozen dataclasses, variants as rows: nothing in here knows torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class UNetSpec:
    """A 2D text-to-image U-Net of the ADM family (Dhariwal & Nichol 2021, and all that inherited its key names)."""

    channels: tuple[int, ...] = (64, 128, 128)  # one entry a level, finest first
    blocks: tuple[int, ...] = (2, 1, 1)  # ResBlocks a level in the encoder; the decoder has one more
    attention: tuple[bool, ...] = (False, True, True)  # levels whose ResBlocks are followed by attention
    attention_kind: str = "joint"  # a row of layers.ATTENTION
    resize_kind: str = "conv"  # a row of layers.DOWNSAMPLE and layers.UPSAMPLE
    in_channels: int = 3
    out_channels: int = 3
    low_res_channels: int = 0  # a low-resolution clip joined on the grid (super-resolution); 0: none
    patch: int = 4  # space-to-depth: the network works on a grid of patch x patch pixels
    embed_width: int = 192  # of the time and text embedding; 0: four times the finest level, as ADM has it
    context_dim: int = 128  # width of a text row
    word_dim: int = (
        0  # width of the raw word embedding that follows each text row; 0: the text encoder gives none
    )
    timed_width: int = (
        0  # of the vector "this prompt at this second" (layers.TimedText); 0: frames have no second
    )
    field_rank: int = 0  # of the field over pixel coordinates (layers.CoordinateField); 0: none
    head_dim: int = 32
    groups: int = 8  # of every GroupNorm
    residual: bool = False  # adds the enlarged low-resolution clip: the network makes what that lacks
    noise_level: bool = False  # embeds the noise added to the low-resolution clip

    @property
    def embed_dim(self) -> int:
        return self.embed_width or 4 * self.channels[0]

    @property
    def row_width(self) -> int:
        """Width of the rows that the text encoder has to give."""
        return self.context_dim + self.word_dim

    @property
    def size_multiple(self) -> int:
        """Height and width in pixels have to be multiples of this."""
        return self.patch * 2 ** (len(self.channels) - 1)


@dataclass(frozen=True)
class TemporalSpec:
    """What inflation adds to a `UNetSpec` (Lumiere, section 3.1)."""

    strides: tuple[int, ...] = (2, 2)  # temporal factor at each spatial resize, finest first
    kernel: int = 3
    head_dim: int = 32
    condition_channels: int = 4  # <C, M>: three of the masked clip, one of the mask; 0: none

    @property
    def time_factor(self) -> int:
        """N: the coarsest level holds one frame for N frames of the clip."""
        n = 1
        for stride in self.strides:
            n *= stride
        return n


@dataclass(frozen=True)
class DiffusionSpec:
    """How the network was trained, and the settings that suit it."""

    prediction: str = "v"  # a row of process.PREDICTIONS
    shift: float = 1.0  # spaces steps and training draws: sigma = shift * tan(pi u / 2)
    noise_share: float = (
        0.0  # correlation of the noise of any two frames, 0 to below 1 (Ge et al. 2305.10474)
    )
    sigma_max: float = 955.0  # numerically zero terminal signal; larger costs accuracy in fp32
    steps: int = 20
    cfg_scale: float = 3.0
    rescale: float = 0.0


@dataclass(frozen=True)
class TextSpec:
    """The small text encoder of lumiere-mini: word level, always `rows` rows."""

    vocabulary: tuple[str, ...] = ()
    rows: int = 32
    width: int = 128
    depth: int = 2
    heads: int = 4
    raw_words: bool = False  # each row is followed by the word's own embedding, zero for padding


@dataclass(frozen=True)
class ModelSpec:
    """One weights file: a network, its text encoder, and what it makes."""

    name: str
    kind: str  # "image", "base" or "ssr"
    unet: UNetSpec
    temporal: TemporalSpec | None = None
    diffusion: DiffusionSpec = field(default_factory=DiffusionSpec)
    text: TextSpec = field(default_factory=TextSpec)
    num_frames: int = 80
    fps: int = 16
    size: int = 64  # pixels a side it was trained at
    scale: int = 1  # super-resolution factor
    window: int = 80  # frames a network call sees at most
    label: str = ""  # where the model is chosen, this is its name


def replace(spec: Any, **changes: Any) -> Any:
    """`dataclasses.replace`, here so that callers import one module."""
    return dataclasses.replace(spec, **changes)


def to_dict(spec: ModelSpec) -> dict[str, Any]:
    """Plain lists, numbers and strings: what goes into a file's metadata as JSON."""
    return dataclasses.asdict(spec)


def from_dict(data: dict[str, Any]) -> ModelSpec:
    """The inverse of `to_dict`. Raises ValueError for a field this version does not know."""

    def build(cls: type, values: dict[str, Any]) -> Any:
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"the weights describe themselves with {', '.join(unknown)}, which this version "
                "does not know. Update the pack."
            )
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    parts = {"unet": UNetSpec, "temporal": TemporalSpec, "diffusion": DiffusionSpec, "text": TextSpec}
    return build(
        ModelSpec, {k: build(parts[k], v) if k in parts and v is not None else v for k, v in data.items()}
    )


MINI_LABEL = "Lumiere mini (drawn world)"
_SSR_DIFFUSION = DiffusionSpec(prediction="x0", shift=1.0, steps=6, cfg_scale=1.0, rescale=0.0)
_SSR_UNET = UNetSpec(
    channels=(64, 96, 128),
    blocks=(1, 1, 1),
    attention=(False, False, False),
    low_res_channels=3,
    word_dim=128,
    noise_level=True,
    residual=True,
)
# 384 random products of words and seconds are enough for a place to be read off them; with 192 it took four times
# the steps (docs/recipe.md).
_TIMED = {"word_dim": 128, "timed_width": 384, "field_rank": 128}
_GPU_UNET = UNetSpec(channels=(64, 96, 160), patch=2, **_TIMED)

PRESETS: dict[str, ModelSpec] = {
    # What two CPU cores can train: the finest grid is 16x16.
    "mini-cpu": ModelSpec(
        "lumiere-mini-base",
        "base",
        UNetSpec(**_TIMED),
        TemporalSpec(),
        DiffusionSpec(shift=4.0, noise_share=0.9),
        TextSpec(raw_words=True),
        label=MINI_LABEL,
    ),
    # What half an hour of a large GPU can train: a 32x32 grid.
    "mini-gpu": ModelSpec(
        "lumiere-mini-base",
        "base",
        _GPU_UNET,
        TemporalSpec(),
        DiffusionSpec(shift=4.0, noise_share=0.9),
        TextSpec(raw_words=True),
        label=MINI_LABEL,
    ),
    "mini-ssr": ModelSpec(
        "lumiere-mini-ssr",
        "ssr",
        _SSR_UNET,
        TemporalSpec(condition_channels=0),
        _SSR_DIFFUSION,
        TextSpec(raw_words=True),
        num_frames=80,
        size=256,
        scale=4,
        window=16,
        label=MINI_LABEL,
    ),
    # For tests: seconds to build, nothing learnt.
    "tiny": ModelSpec(
        "tiny",
        "base",
        UNetSpec(
            channels=(16, 24, 32),
            groups=4,
            head_dim=8,
            context_dim=16,
            word_dim=16,
            timed_width=24,
            field_rank=8,
            embed_width=32,
            patch=2,
        ),
        TemporalSpec(head_dim=8),
        DiffusionSpec(shift=4.0, noise_share=0.9),
        TextSpec(width=16, heads=2, raw_words=True),
        label="tiny",
    ),
}
