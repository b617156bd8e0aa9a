"""Attention, embeddings and temporal convolution as plain functions over views.

Inside the networks a clip is `(B*T, C, H, W)` in channels-last memory, which is the memory of `(B, T, H, W, C)`:
everything below reshapes views of it and copies nothing but where a comment says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def timestep_embedding(t: Tensor, dim: int, scale: float = 1000.0, max_period: float = 10000.0) -> Tensor:
    """Sinusoids of `t` in [0, 1], scaled to the customary 0..1000. `(B,) -> (B, dim)`, float32."""
    half = dim // 2
    freqs = torch.exp(-math.log(max_period) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = scale * t.float()[:, None] * freqs[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)  # (B, dim)


def half_waves(x: Tensor, count: int) -> Tensor:
    """A number in [0, 1] as a line and `count` half waves of each phase. `(...) -> (..., 2 * count + 1)`, float32."""
    angles = math.pi * x.float()[..., None] * torch.arange(1, count + 1, device=x.device)
    return torch.cat([2 * x.float()[..., None] - 1, angles.cos(), angles.sin()], dim=-1)


def rms_normalised(x: Tensor) -> Tensor:
    """Each row of `(..., C)` at a root mean square of 1; a row of zeros stays zero."""
    return x * (x.float().square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt().to(x.dtype)


def thinned(x: Tensor, clips: int, frames: int) -> Tensor:
    """What a level is told that holds `frames` of each clip's T: `(B*T, ...) -> (B*frames, ...)`; one a clip stays."""
    x = x.unflatten(0, (clips, -1))  # (B, T, ...)
    return (x if x.shape[1] == 1 else x[:, :: x.shape[1] // frames]).flatten(0, 1)


def attention(q: Tensor, k: Tensor, v: Tensor, head_dim: int) -> Tensor:
    """Softmax attention. q `(N, Lq, C)`, k and v `(N, Lk, C)` -> `(N, Lq, C)`."""

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)  # (N, heads, L, head_dim)

    return F.scaled_dot_product_attention(heads(q), heads(k), heads(v)).transpose(1, 2).flatten(2)


def rotary(x: Tensor, positions: Tensor, head_dim: int, max_period: float = 100.0) -> Tensor:
    """Turn each head of `x` by its frame position, so that attention sees distances in time (RoPE, 2104.09864).

    x `(N, T, C)`, positions `(T,)`. Distances, not places, are what the layer learns: any number of frames runs.
    """
    half = head_dim // 2
    freqs = max_period ** (-torch.arange(half, dtype=torch.float32, device=x.device) / half)
    angles = positions.float()[:, None, None] * freqs  # (T, 1, half)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.unflatten(-1, (-1, head_dim)).chunk(2, dim=-1)  # (N, T, heads, half)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)  # (N, T, C)


def per_frame(x: Tensor, frames_of: Tensor) -> Tensor:
    """Repeat rows of `x` (B, ...) for the frames of a clip tensor `(B*T, ...)`."""
    return x.repeat_interleave(frames_of.shape[0] // x.shape[0], dim=0)


def repeat_frames(x: Tensor, times: int) -> Tensor:
    """Each picture of `(N, C, H, W)` so many times in a row, channels staying last in memory."""
    return x.permute(0, 2, 3, 1).repeat_interleave(times, dim=0).permute(0, 3, 1, 2)


def normalise(norm: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a GroupNorm to each picture of `(N, C, H, W)`; channels stay last in memory.

    PyTorch's bf16 kernel for small channels-last pictures on the CPU crawls where a group has fewer than 16 channels:
    the contiguous one is three times faster, with a copy before and after.
    """
    small = x.is_cpu and x.dtype == torch.bfloat16 and x.shape[2] * x.shape[3] < 1024
    if small and x.shape[1] < 16 * norm.num_groups:
        return norm(x.contiguous()).contiguous(memory_format=torch.channels_last)
    return norm(x)


def over_channels(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a linear layer to the channels of `(N, C, H, W)`; in channels-last memory both turns are views."""
    return layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def over_time(conv: Callable[[Tensor], Tensor], x: Tensor, frames: int) -> Tensor:
    """Apply a convolution with a (k, 1) kernel along time. `(B*T, C, H, W) -> (B*T', C', H, W)`.

    conv2d on a (time, space) view keeps channels last: up to twenty times faster than rearrange + conv1d.
    """
    h = x.shape[2]
    x = conv(rearrange(x, "(b t) c h w -> b c t (h w)", t=frames))  # (B, C', T', H*W)
    return rearrange(x, "b c t (h w) -> (b t) c h w", h=h)  # (B*T', C', H, W)


def frames_as_batch(x: Tensor) -> Tensor:
    """`(B, C, T, H, W) -> (B*T, C, H, W)`, channels last. Copies once, at the border of the network."""
    return rearrange(x, "b c t h w -> (b t) h w c").permute(0, 3, 1, 2)


def frames_as_time(x: Tensor, frames: int) -> Tensor:
    """The inverse of `frames_as_batch`, as a view: `(B*T, C, H, W) -> (B, C, T, H, W)`."""
    return rearrange(x, "(b t) c h w -> b c t h w", t=frames)


def pad_frames(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last frame until T is a multiple. `(B, C, T, H, W)`."""
    missing = -x.shape[2] % multiple
    return torch.cat([x, x[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2) if missing else x


def pad_rows(x: Tensor, clips: int, multiple: int) -> Tensor:
    """The same for what is told of each frame: `(B*T, ...) -> (B*T', ...)`; one row a clip stays."""
    rows = x.unflatten(0, (clips, -1))  # (B, T, ...)
    missing = -rows.shape[1] % multiple if rows.shape[1] > 1 else 0
    return torch.cat([rows, *[rows[:, -1:]] * missing], dim=1).flatten(0, 1) if missing else x


def space_to_depth(x: Tensor, patch: int) -> Tensor:
    """`(N, C, H, W) -> (N, C*patch*patch, H/patch, W/patch)`, channels last."""
    return x if patch == 1 else F.pixel_unshuffle(x, patch).contiguous(memory_format=torch.channels_last)


def depth_to_space(x: Tensor, patch: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    return x if patch == 1 else F.pixel_shuffle(x, patch)
