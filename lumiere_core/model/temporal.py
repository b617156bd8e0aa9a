"""What inflation adds between the layers of an image U-Net (Lumiere, figure 4), on `(B*T, C, H, W)`.

Every block starts by changing nothing: projections are zero, temporal resizing is nearest neighbour.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from ..config import TemporalSpec
from .animatediff.network import MotionModule, MotionSpec, Positions, sinusoids
from .functional import attention, normalise, over_channels, over_time, repeat_frames, rotary
from .layers import Operations, film, zero


def identity(conv: nn.Module) -> None:
    """A convolution that hands its middle tap through."""
    zero(conv)
    if conv.weight is not None:
        with torch.no_grad():
            conv.weight[:, :, conv.weight.shape[2] // 2, 0].fill_diagonal_(1)


class TemporalDown(nn.Module):
    """A 1D temporal convolution, then a stride: every `stride`-th frame stays."""

    def __init__(self, channels: int, stride: int, spec: TemporalSpec, ops: Operations) -> None:
        super().__init__()
        k = spec.kernel
        self.stride = stride
        self.conv = ops.Conv2d(channels, channels, (k, 1), stride=(stride, 1), padding=(k // 2, 0))

    def start(self) -> None:
        identity(self.conv)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        return over_time(self.conv, x, frames)  # (B*T/stride, C, H, W)


class TemporalUp(nn.Module):
    """Repeat frames, then a 1D temporal convolution."""

    def __init__(self, channels: int, stride: int, spec: TemporalSpec, ops: Operations) -> None:
        super().__init__()
        k = spec.kernel
        self.stride = stride
        self.conv = ops.Conv2d(channels, channels, (k, 1), padding=(k // 2, 0))

    def start(self) -> None:
        identity(self.conv)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        return over_time(
            self.conv, repeat_frames(x, self.stride), frames * self.stride
        )  # (B*T*stride, C, H, W)


class ConvInflation(nn.Module):
    """Factorised space-time convolution after the pretrained layers: every level but the coarsest.

    2D conv, norm + act, 1D temporal conv, norm + act, linear projection, residual. The second norm is modulated by
    time and text (an addition to the paper): frozen spatial layers cannot carry words like "rising".
    """

    def __init__(self, channels: int, emb_dim: int, groups: int, spec: TemporalSpec, ops: Operations) -> None:
        super().__init__()
        k = spec.kernel
        self.conv2d = ops.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = ops.GroupNorm(groups, channels)
        self.conv1d = ops.Conv2d(channels, channels, (k, 1), padding=(k // 2, 0))
        self.norm2 = ops.GroupNorm(groups, channels)
        self.emb_layers = nn.Sequential(nn.SiLU(), ops.Linear(emb_dim, 2 * channels))
        self.proj_out = ops.Linear(channels, channels)

    def start(self) -> None:
        zero(self.proj_out)

    def forward(self, x: Tensor, emb: Tensor, frames: int) -> Tensor:
        h = F.silu(normalise(self.norm1, self.conv2d(x)))
        h = over_time(self.conv1d, h, frames)
        h = F.silu(film(normalise(self.norm2, h), self.emb_layers(emb)))
        return x + over_channels(self.proj_out, h)


class AttentionInflation(nn.Module):
    """Temporal attention, linear projection, residual: the coarsest level only (Lumiere, section 3.1).

    Frames carry rotary positions, so the block sees distances in time and runs on any number of frames.
    """

    def __init__(self, channels: int, emb_dim: int, groups: int, spec: TemporalSpec, ops: Operations) -> None:
        super().__init__()
        self.head_dim = spec.head_dim
        self.norm = ops.GroupNorm(groups, channels)
        self.emb_layers = nn.Sequential(nn.SiLU(), ops.Linear(emb_dim, 2 * channels))
        self.qkv = ops.Linear(channels, 3 * channels)
        self.proj_out = ops.Linear(channels, channels)

    def start(self) -> None:
        zero(self.proj_out)

    def forward(self, x: Tensor, emb: Tensor, frames: int) -> Tensor:
        n, c, h, w = x.shape
        rows = film(normalise(self.norm, x), self.emb_layers(emb)).permute(0, 2, 3, 1)
        rows = rows.reshape(-1, frames, h * w, c).transpose(1, 2).reshape(-1, frames, c)
        rows = rows.contiguous()  # (B*H*W, T, C); given a view, linear would copy its weight for every pixel
        q, k, v = self.qkv(rows).chunk(3, dim=-1)
        places = torch.arange(frames, device=x.device)
        rows = attention(rotary(q, places, self.head_dim), rotary(k, places, self.head_dim), v, self.head_dim)
        rows = self.proj_out(rows).reshape(-1, h * w, frames, c).transpose(1, 2)  # (B, T, H*W, C)
        return x + rows.reshape(n, h, w, c).permute(0, 3, 1, 2)


class MotionInflation(nn.Module):
    """An AnimateDiff motion module as the temporal attention: it reads a position a frame, as many as it was given."""

    def __init__(self, channels: int, emb_dim: int, groups: int, spec: TemporalSpec, ops: Operations) -> None:
        super().__init__()
        self.step = spec.time_factor
        self.module = MotionModule(
            channels, MotionSpec("", "", (channels,), spec.positions, groups=groups), ops
        )

    def start(self) -> None:
        zero(self.module.proj_out)
        for layer in self.module.modules():
            if isinstance(layer, Positions):
                layer.pe.copy_(sinusoids(self.step * torch.arange(layer.pe.shape[1]), layer.pe.shape[2]))

    def forward(self, x: Tensor, emb: Tensor, frames: int) -> Tensor:
        return self.module(x, frames)


ATTENTION_INFLATION = {"rotary": AttentionInflation, "animatediff": MotionInflation}
