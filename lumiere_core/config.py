"""Sizes as frozen dataclasses, variants as rows: nothing in here knows torch.

Under each dataclass stands what a file may say for its fields, one rule a field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .rules import each, line, one_of, optional, real, record, whole

WIDTH = whole(1, 8192)  # of a layer: four times the widest public U-Net
DEPTHS = 2, 6  # of a U-Net, which has at least one change of size
FLAG = one_of(True, False)


@dataclass(frozen=True)
class AttentionSpec:
    """Attention at one place of a U-Net."""

    channels: int
    context_dim: int
    head_dim: int
    groups: int
    depth: int = 1  # transformer blocks one after another; "joint" has one
    text_only: bool = False  # in "cross": the picture's look at itself is a second look at the text


@dataclass(frozen=True)
class UNetSpec:
    """A 2D text-to-image U-Net of the ADM family (Dhariwal & Nichol 2021, and all that inherited its key names)."""

    channels: tuple[int, ...] = (64, 128, 128)  # one entry a level, finest first
    blocks: tuple[int, ...] = (2, 1, 1)  # ResBlocks a level in the encoder; the decoder has one more
    attention: tuple[int, ...] = (False, True, True)  # how deep attention after each ResBlock is; 0: none
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
    head_dim: int = 32  # half of ADM's 64: levels with attention are 128 wide, which makes four heads of it
    groups: int = 8  # of every GroupNorm; ADM's 32 would be two channels each at the finest level
    residual: bool = (
        False  # adds the low-resolution clip, enlarged bicubically: the network makes what that lacks
    )
    noise_level: bool = False  # embeds the noise added to the low-resolution clip
    # What the public families have otherwise; families.py reads it off their files.
    res_kind: str = "film"  # a row of layers.RES_BLOCK
    heads: int = 0  # of every attention; 0: as many as head_dim makes
    middle: int = -1  # how deep attention in the middle is; -1: as at the coarsest level
    text_only: tuple[
        bool, ...
    ] = ()  # AttentionSpec.text_only of each level, never of the middle; (): nowhere
    pooled_text: bool = True  # the text joins the time's embedding
    label_kind: str = ""  # a row of layers.LABEL, which joins it, too; "": none
    label_size: int = 0  # classes, or the width of a vector
    time_scale: float = 1000.0  # of t in [0, 1]; 1: the network is told the number of a step, 0 to 999

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

    def attention_at(self, level: int) -> AttentionSpec:
        """Attention after the ResBlocks of a level; a depth of 0 is none."""
        text_only = bool(self.text_only) and self.text_only[level]
        return self._attention(level, self.attention[level], text_only)

    @property
    def attention_in_the_middle(self) -> AttentionSpec:
        return self._attention(-1, self.attention[-1] if self.middle < 0 else self.middle, False)

    def _attention(self, level: int, depth: int, text_only: bool) -> AttentionSpec:
        c = self.channels[level]
        head_dim = c // self.heads if self.heads else self.head_dim
        return AttentionSpec(c, self.context_dim, head_dim, self.groups, depth, text_only)


UNET = record(
    UNetSpec,
    channels=each(WIDTH, *DEPTHS),
    blocks=each(whole(1, 8), *DEPTHS),
    attention=each(FLAG, *DEPTHS),
    attention_kind=one_of("joint"),
    resize_kind=one_of("conv"),
    in_channels=one_of(3),  # clips are pixels
    out_channels=one_of(3),
    low_res_channels=one_of(0, 3),
    patch=whole(1, 16),
    embed_width=whole(0, 8192),
    context_dim=WIDTH,
    word_dim=whole(0, 8192),
    timed_width=whole(0, 8192),
    field_rank=whole(0, 8192),
    head_dim=WIDTH,
    groups=WIDTH,
    residual=FLAG,
    noise_level=FLAG,
    res_kind=one_of("film"),
    heads=one_of(0),
    middle=one_of(-1),
    text_only=each(FLAG, 0, 0),
    pooled_text=one_of(True),
    label_kind=one_of(""),
    label_size=one_of(0),
    time_scale=one_of(1000.0),
)


@dataclass(frozen=True)
class TemporalSpec:
    """What inflation adds to a `UNetSpec` (Lumiere, section 3.1)."""

    strides: tuple[int, ...] = (2, 2)  # temporal factor at each spatial resize, finest first
    kernel: int = 3  # frames: a neighbour on either side, as in (2+1)D convolutions (Tran et al. 1711.11248)
    head_dim: int = 32  # as the image model's
    condition_channels: int = 4  # <C, M>: three of the masked clip, one of the mask; 0: none
    attention_kind: str = "rotary"  # a row of temporal.ATTENTION_INFLATION
    positions: int = (
        0  # of "animatediff": frames that the coarsest level tells apart, N frames of the clip each
    )

    @property
    def time_factor(self) -> int:
        """N: the coarsest level holds one frame for N frames of the clip."""
        n = 1
        for stride in self.strides:
            n *= stride
        return n


TEMPORAL = record(
    TemporalSpec,
    strides=each(whole(1, 8), 1, DEPTHS[1] - 1),
    kernel=one_of(1, 3, 5, 7),
    head_dim=WIDTH,
    condition_channels=one_of(0, 4),
    attention_kind=one_of("rotary"),
    positions=one_of(0),
)


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


DIFFUSION = record(
    DiffusionSpec,
    prediction=one_of("v", "eps", "x0"),
    shift=real(0.01, 100),
    noise_share=real(0, 0.999),
    sigma_max=real(1, 1000),
    steps=whole(1, 1000),
    cfg_scale=real(0, 100),
    rescale=real(0, 1),
)


@dataclass(frozen=True)
class TextSpec:
    """The small text encoder of lumiere-mini: word level, always `rows` rows."""

    vocabulary: tuple[str, ...] = ()
    rows: int = 32
    width: int = 128
    depth: int = 2
    heads: int = 4
    raw_words: bool = False  # each row is followed by the word's own embedding, zero for padding


TEXT = record(
    TextSpec,
    vocabulary=each(line(1, 64), 0, 2**16),
    rows=whole(1, 512),
    width=WIDTH,
    depth=whole(1, 48),
    heads=WIDTH,
    raw_words=FLAG,
)


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


MODEL = record(
    ModelSpec,
    name=line(1, 100),
    kind=one_of("image", "base", "ssr"),
    unet=UNET,
    temporal=optional(TEMPORAL),
    diffusion=DIFFUSION,
    text=TEXT,
    num_frames=whole(1, 4096),
    fps=whole(1, 240),
    size=whole(1, 4096),
    scale=whole(1, 16),
    window=whole(1, 4096),
    label=line(0, 100),
)


def misfits(spec: ModelSpec) -> Iterator[str]:
    """What does not go together in a spec whose fields keep their rules: a sentence each, none for a good one."""
    u, t, text = spec.unet, spec.temporal, spec.text
    levels, ssr = len(u.channels), spec.kind == "ssr"
    attends = [c for c, attention in zip(u.channels, u.attention, strict=False) if attention]
    if not levels == len(u.blocks) == len(u.attention):
        yield f"unet has {levels} channels, {len(u.blocks)} blocks and {len(u.attention)} attention: one each a level."
    if u.channels[0] % 2:
        yield f"unet.channels begins with {u.channels[0]}, but it has to be even: half are sines, half cosines."
    if any(c % u.groups or c == u.groups for c in u.channels):  # a group of one value has no spread
        yield f"unet.groups is {u.groups}, but each of unet.channels {u.channels} has to be two or more times that."
    if any(c % u.head_dim for c in attends):
        yield f"unet.head_dim is {u.head_dim}, but the levels with attention {attends} have to be multiples of it."
    if u.embed_dim % 4:  # the heads of layers.TextPool
        yield f"the embedding is {u.embed_dim} wide, but it has to be a multiple of 4."
    if text.width != u.context_dim:
        yield f"text.width is {text.width}, but unet.context_dim {u.context_dim}: they have to be the same."
    if u.word_dim != (text.width if text.raw_words else 0):
        yield f"unet.word_dim is {u.word_dim}, but it has to be text.width {text.width} with raw_words, else 0."
    if (u.timed_width and not u.word_dim) or (u.field_rank and not u.timed_width):
        yield "unet.field_rank needs a timed_width, and timed_width a word_dim."
    if text.width % text.heads:
        yield f"text.heads is {text.heads}, but text.width {text.width} has to be a multiple of it."
    if (t is None) != (spec.kind == "image"):
        yield f"the kind is {spec.kind}, but image models alone have no temporal part, and all of them have none."
    if t and len(t.strides) != levels - 1:
        yield f"temporal.strides has {len(t.strides)}, but there are {levels - 1} changes of size in space."
    if t and (t.head_dim % 2 or u.channels[-1] % t.head_dim):
        yield f"temporal.head_dim is {t.head_dim}, but it has to be even and a divisor of {u.channels[-1]}."
    if t and t.time_factor > spec.num_frames:
        yield f"temporal.strides make one frame of {t.time_factor}, but a clip has {spec.num_frames}."
    if not ssr == u.noise_level == (u.low_res_channels > 0) or (u.residual and not ssr):
        yield (
            f"the kind is {spec.kind}, but low_res_channels, noise_level and residual are for super-resolution, "
            "which needs the first two."
        )
    if spec.scale != (u.patch if ssr else 1):
        yield f"scale is {spec.scale}, but it has to be {u.patch if ssr else 1}: unet.patch for ssr, else 1."
    if spec.size % u.size_multiple:
        yield f"size is {spec.size}, but it has to be a multiple of {u.size_multiple}."


def replace(spec: Any, **changes: Any) -> Any:
    """`dataclasses.replace`, here so that callers import one module."""
    return dataclasses.replace(spec, **changes)


def to_dict(spec: ModelSpec) -> dict[str, Any]:
    """Plain lists, numbers and strings: what goes into a file's metadata as JSON."""
    return dataclasses.asdict(spec)


def from_dict(data: Any) -> ModelSpec:
    """The inverse of `to_dict`, from a file that may say anything.

    Raises ValueError with a sentence for fields that are missing, unknown or break their rule, and for sizes that do
    not go together. A spec that comes back can be built.
    """
    spec = MODEL("spec", data)
    for fault in misfits(spec):
        raise ValueError(f"in its spec {fault}")
    return spec


MINI_LABEL = "Lumiere mini (drawn world)"
_SSR_DIFFUSION = DiffusionSpec(
    prediction="x0", shift=8.0, noise_share=0.999, steps=2, cfg_scale=1.0, rescale=0.0
)
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
        DiffusionSpec("x0", shift=4.0, noise_share=0.999, steps=10, cfg_scale=2.0),
        TextSpec(raw_words=True),
        label=MINI_LABEL,
    ),
    # What half an hour of a large GPU can train: a 32x32 grid.
    "mini-gpu": ModelSpec(
        "lumiere-mini-base",
        "base",
        _GPU_UNET,
        TemporalSpec(),
        DiffusionSpec("x0", shift=4.0, noise_share=0.999, steps=10, cfg_scale=2.0),
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
