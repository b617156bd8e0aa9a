"""AnimateDiff's motion modules (Guo et al. 2307.04725): temporal attention after every block of an image U-Net.

Published key names are kept, so files load and motion LoRAs fit by name. `files.py` reads the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from ..functional import attention
from ..layers import Operations, feed_forward

Norm = Callable[[Tensor], Tensor]
Normalise = Callable[[Norm, Tensor, int], Tensor]  # (norm, x (B*T, C, H, W), frames) -> as x
MOST_ROWS = 2**15  # sequences in one call of attention: CUDA's kernels count them in 16 bits


@dataclass(frozen=True)
class MotionSpec:
    """What a motion file holds.

    channels  of each level of the image U-Net it was made for, finest first
    frames    rows of its position encoding: the longest clip, or window, that it reads
    window    frames of the clips it was trained on, which suit it best
    clip_norms  in training the image model's ResBlocks took their norms over all frames of a clip together
    """

    name: str  # "AnimateDiff v3"
    base: str  # "SD1.5"
    channels: tuple[int, ...]
    frames: int
    window: int = 16
    clip_norms: bool = False
    middle: bool = False  # a module in the U-Net's middle, too
    attentions: int = 2
    blocks: int = 2  # ResBlocks a level in the U-Net's encoder; the decoder has one more
    betas: str = "linear"  # a row of BETAS; none is the image model's own
    license: str = "Apache-2.0"
    heads: int = 8  # of every published file
    groups: int = 32

    @property
    def places(self) -> dict[tuple[str, int], str]:
        """Where each module goes, by the U-Net's own counting of blocks: `("input", 1): "down_blocks.0..."`."""
        found, levels, more = {}, range(len(self.channels)), self.blocks + 1
        for level in levels:
            for i in range(self.blocks):
                found["input", 1 + level * more + i] = f"down_blocks.{level}.motion_modules.{i}"
            for i in range(more):
                found["output", level * more + i] = f"up_blocks.{level}.motion_modules.{i}"
        if self.middle:
            found["middle", 0] = "mid_block.motion_modules.0"
        return found


# --------------------------------------------------------------------------------------------------- noise levels
def linear_betas(end: float = 0.012) -> Tensor:
    """What AnimateDiff was trained with on SD1.5; ComfyUI calls it "sqrt_linear". `(1000,)` float64"""
    return torch.linspace(0.00085, end, 1000, dtype=torch.float64)


def scaled_betas(end: float = 0.012, begin: float = 0.00085) -> Tensor:
    """Stable Diffusion's own: linear in the square root; ComfyUI calls it "linear". `(1000,)` float64"""
    return torch.linspace(begin**0.5, end**0.5, 1000, dtype=torch.float64) ** 2


BETAS: dict[str, Callable[[], Tensor]] = {
    "linear": linear_betas,
    "scaled linear": scaled_betas,
    "scaled linear to 0.02": lambda: scaled_betas(0.02),
    "scaled linear x4": lambda: scaled_betas(0.02, 0.0001),
}


def sigmas_of(betas: Tensor) -> Tensor:
    """Noise levels of a table of betas, smallest first. `(1000,)`"""
    kept = torch.cumprod(1 - betas, 0)
    return ((1 - kept) / kept).sqrt()


# -------------------------------------------------------------------------------------------------------- network
def frame_by_frame(norm: Norm, x: Tensor, frames: int) -> Tensor:
    """AnimateDiff's own: statistics of each frame by itself."""
    return norm(x)


def over_the_clip(norm: Norm, x: Tensor, frames: int) -> Tensor:
    """Statistics over all frames together. In motion modules diffusers has it so: there for comparisons only."""
    clip = x.unflatten(0, (-1, frames)).transpose(1, 2)  # (B, C, T, H, W)
    return norm(clip).transpose(1, 2).flatten(0, 1)


def sinusoids(places: Tensor, channels: int) -> Tensor:
    """What the published files hold for these frames (Vaswani et al. 1706.03762). `(T,) -> (T, C)`, float32"""
    freqs = 10000.0 ** (-torch.arange(0, channels, 2, dtype=torch.float32) / channels)
    angles = places.float()[:, None] * freqs
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # sine, cosine, sine, ...


class Positions(nn.Module):
    """The frame's number as a row, added before q, k and v are read. `(N, T, C) -> (N, T, C)`"""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.register_buffer("pe", torch.zeros(1, frames, channels))

    def forward(self, rows: Tensor) -> Tensor:
        return rows + self.pe[:, : rows.shape[1]].to(rows)


class FrameAttention(nn.Module):
    """Each pixel looks at itself in all frames. `(N, T, C) -> (N, T, C)`"""

    def __init__(self, channels: int, spec: MotionSpec, ops: Operations) -> None:
        super().__init__()
        self.head_dim = channels // spec.heads
        self.to_q, self.to_k, self.to_v = (ops.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([ops.Linear(channels, channels)])
        self.pos_encoder = Positions(channels, spec.frames)

    def forward(self, rows: Tensor) -> Tensor:
        rows = self.pos_encoder(rows)
        q, k, v = (layer(rows).split(MOST_ROWS) for layer in (self.to_q, self.to_k, self.to_v))
        seen = [attention(*part, self.head_dim) for part in zip(q, k, v, strict=True)]
        return self.to_out[0](torch.cat(seen))


class FrameTransformer(nn.Module):
    """Attention over frames, as often as the file has it, then a feed-forward layer; each a residual."""

    def __init__(self, channels: int, spec: MotionSpec, ops: Operations) -> None:
        super().__init__()
        times = range(spec.attentions)
        self.attention_blocks = nn.ModuleList(FrameAttention(channels, spec, ops) for _ in times)
        self.norms = nn.ModuleList(ops.LayerNorm(channels) for _ in times)
        self.ff = feed_forward(channels, ops)
        self.ff_norm = ops.LayerNorm(channels)

    def forward(self, rows: Tensor) -> Tensor:
        for norm, attend in zip(self.norms, self.attention_blocks, strict=True):
            rows = rows + attend(norm(rows))
        return rows + self.ff["net"](self.ff_norm(rows))


class MotionModule(nn.Module):
    """One motion module, a residual over a whole clip's features. `(B*T, C, H, W) -> (B*T, C, H, W)`"""

    normalise: Normalise = staticmethod(frame_by_frame)

    def __init__(self, channels: int, spec: MotionSpec, ops: Operations) -> None:
        super().__init__()
        self.norm = ops.GroupNorm(spec.groups, channels, eps=1e-6)
        self.proj_in = ops.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([FrameTransformer(channels, spec, ops)])
        self.proj_out = ops.Linear(channels, channels)

    def forward(self, x: Tensor, frames: int, strength: Tensor | float = 1.0) -> Tensor:
        """strength: a number, or `(B*T, 1, H, W)`. 0 leaves the frames as the image model has them, each by itself."""
        n, c, h, w = x.shape
        rows = self.normalise(self.norm, x, frames).permute(0, 2, 3, 1)
        rows = rows.reshape(-1, frames, h * w, c).transpose(1, 2).reshape(-1, frames, c)  # (B*H*W, T, C)
        rows = self.proj_in(rows)
        for block in self.transformer_blocks:
            rows = block(rows)
        rows = self.proj_out(rows).reshape(-1, h * w, frames, c).transpose(1, 2)  # (B, T, H*W, C)
        return x + strength * rows.reshape(n, h, w, c).permute(0, 3, 1, 2)


class MotionModules(nn.Module):
    """All modules of a motion file, under its own names. `module(place)` is the one for a place of `spec.places`."""

    def __init__(
        self, spec: MotionSpec, operations: Any = nn, dtype: torch.dtype | None = None, device: Any = None
    ) -> None:
        super().__init__()
        self.spec, ops = spec, Operations(operations, dtype, device)

        def level(channels: int, count: int) -> nn.ModuleDict:
            modules = (MotionModule(channels, spec, ops) for _ in range(count))
            inner = (nn.ModuleDict({"temporal_transformer": module}) for module in modules)
            return nn.ModuleDict({"motion_modules": nn.ModuleList(inner)})

        self.down_blocks = nn.ModuleList(level(c, spec.blocks) for c in spec.channels)
        self.up_blocks = nn.ModuleList(level(c, spec.blocks + 1) for c in reversed(spec.channels))
        if spec.middle:
            self.mid_block = level(spec.channels[-1], 1)

    def module(self, place: tuple[str, int]) -> MotionModule | None:
        name = self.spec.places.get(place)
        return None if name is None else self.get_submodule(name)["temporal_transformer"]

    def widths(self) -> Iterator[tuple[tuple[str, int], int]]:
        """Each place, and the channels that its module reads."""
        for place in self.spec.places:
            yield place, self.module(place).proj_in.in_features
