"""The 2D text-to-image U-Net that Lumiere inflates. Key names are those of the published ADM-family checkpoints."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from ..config import AttentionSpec, UNetSpec
from ..limits import check
from .functional import depth_to_space, normalise, per_frame, space_to_depth, timestep_embedding
from .layers import (
    ATTENTION,
    DOWNSAMPLE,
    LABEL,
    RES_BLOCK,
    UPSAMPLE,
    CoordinateField,
    Operations,
    TextPool,
    TimedText,
    UNetBlock,
    initialise,
    zero,
)


def check_size(name: str, value: int, multiple: int) -> None:
    """Raises ValueError with the two sizes next to one that does not fit."""
    check("size", value, name)
    if value < multiple or value % multiple:
        below, above = max(multiple, value // multiple * multiple), (value // multiple + 1) * multiple
        near = f"{below} or {above}" if value > multiple else f"{multiple}"
        raise ValueError(f"{name} is {value}, but this model takes multiples of {multiple}. Try {near}.")


class UNet(nn.Module):
    """Predicts from noisy pictures, the diffusion time and text rows.

    x        `(B*T, C, H, W)`: B prompts with T pictures each (T = 1 in plain image use), H and W multiples of
             `spec.size_multiple`
    t        `(B,)` in [0, 1]: the true time, 1 is pure noise; the number of a step where `spec.time_scale` is 1
    context  `(B, L, D)` text rows, and after them the raw word embeddings where `spec.word_dim` says so
    when     `(B, T)`, where in its 5 s clip each picture lies, in [0, 1]; negative or None: not told
    low_res  `(B*T, 3, H/patch, W/patch)` for super-resolution, with `noise_level (B,)` in [0, 1]
    label    `(B,)` or `(B, W)`, for networks with `spec.label_kind`
    t, context and label may have a row for each picture, too: B is then B*T
    """

    def __init__(
        self, spec: UNetSpec, operations: Any = nn, dtype: torch.dtype | None = None, device: Any = None
    ) -> None:
        super().__init__()
        self.spec = spec
        ops = Operations(operations, dtype, device)
        widths, e = spec.channels, spec.embed_dim
        grid_in = spec.in_channels * spec.patch**2 + spec.low_res_channels
        grid_out = spec.out_channels * spec.patch**2

        def res(c_in: int, c_out: int) -> nn.Module:
            return RES_BLOCK[spec.res_kind](c_in, c_out, e, spec.groups, ops)

        def attention(where: AttentionSpec) -> list[nn.Module]:
            return [ATTENTION[spec.attention_kind](where, ops)] if where.depth else []

        def blocks(c_in: int, level: int) -> list[nn.Module]:
            return [res(c_in, widths[level]), *attention(spec.attention_at(level))]

        self.time_embed = nn.Sequential(ops.Linear(widths[0], e), nn.SiLU(), ops.Linear(e, e))
        if spec.pooled_text:
            self.text_pool = TextPool(spec.context_dim, e, 4, ops)
        if spec.label_kind:
            self.label_emb = LABEL[spec.label_kind](spec.label_size, e, ops)
        if spec.timed_width:
            self.timed_text = TimedText(spec.word_dim, spec.timed_width, ops)
            self.timed_embed = ops.Linear(spec.timed_width, e)
        if spec.field_rank:
            self.field_time = ops.Linear(e, spec.timed_width)
            self.field = CoordinateField(widths[0], spec.timed_width, spec.field_rank, ops)
        if spec.noise_level:
            self.noise_embed = nn.Sequential(ops.Linear(widths[0], e), nn.SiLU(), ops.Linear(e, e))

        self.input_blocks = nn.ModuleList([UNetBlock(ops.Conv2d(grid_in, widths[0], 3, padding=1))])
        self.input_levels, c, skips = [0], widths[0], [widths[0]]
        for level, count in enumerate(spec.blocks):
            if level:
                self.input_blocks.append(UNetBlock(DOWNSAMPLE[spec.resize_kind](c, ops)))
                self.input_levels.append(level)
                skips.append(c)
            for _ in range(count):
                self.input_blocks.append(UNetBlock(*blocks(c, level)))
                self.input_levels.append(level)
                c = widths[level]
                skips.append(c)

        self.middle_block = nn.ModuleList([res(c, c), *attention(spec.attention_in_the_middle), res(c, c)])

        self.output_blocks, self.output_levels = nn.ModuleList(), []
        for level in reversed(range(len(widths))):
            for i in range(spec.blocks[level] + 1):
                layers = blocks(c + skips.pop(), level)
                c = widths[level]
                if level and i == spec.blocks[level]:
                    layers.append(UPSAMPLE[spec.resize_kind](c, ops))
                self.output_blocks.append(UNetBlock(*layers))
                self.output_levels.append(level)

        self.out = nn.Sequential(
            ops.GroupNorm(spec.groups, c), nn.SiLU(), ops.Conv2d(c, grid_out, 3, padding=1)
        )
        initialise(self)

    def start(self) -> None:
        zero(self.out[2])
        if self.spec.field_rank:
            zero(self.field_time)

    @property
    def dtype(self) -> torch.dtype:
        return self.out[2].weight.dtype

    def embed(
        self,
        t: Tensor,
        context: Tensor,
        words: Tensor,
        when: Tensor | None,
        noise_level: Tensor | None,
        label: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """What all blocks are told, one row a clip or, with seconds, one a picture: time, text, noise level, label.

        Returns `emb (B, E)` or `(B*T, E)`, and the vector that draws the coordinate field, where there is one.
        """
        width = self.spec.channels[0]
        time = self.time_embed(timestep_embedding(t, width, self.spec.time_scale).to(context.dtype))
        emb = time + self.text_pool(context) if self.spec.pooled_text else time
        if self.spec.label_kind:
            emb = emb + self.label_emb(label).to(emb.dtype)
        if noise_level is not None:
            emb = emb + self.noise_embed(timestep_embedding(noise_level, width).to(context.dtype))
        if not self.spec.timed_width:
            return emb, None
        timed = self.timed_text(words, when)
        emb = per_frame(emb, timed) + self.timed_embed(timed)
        if not self.spec.field_rank:
            return emb, None
        return emb, timed + per_frame(self.field_time(F.silu(time)), timed)

    def first(self, x: Tensor, low_res: Tensor | None, vector: Tensor | None) -> Tensor:
        """The first convolution, and what the coordinates add. `-> (B*T, C, H/patch, W/patch)`"""
        h = self.input_blocks[0][0](self.to_grid(x, low_res))
        return h if vector is None else h + per_frame(self.field(vector, *h.shape[-2:]), h)

    def to_grid(self, x: Tensor, low_res: Tensor | None = None) -> Tensor:
        """Pixels to what the first convolution reads. `-> (B*T, C*patch^2 [+ 3], H/patch, W/patch)`"""
        x = space_to_depth(x, self.spec.patch)
        return (
            x if low_res is None else torch.cat([x, low_res.contiguous(memory_format=torch.channels_last)], 1)
        )

    def to_pixels(self, h: Tensor, low_res: Tensor | None = None) -> Tensor:
        """The last layers, back to pixels. `-> (B*T, C, H, W)`"""
        norm, act, conv = self.out
        y = depth_to_space(conv(act(normalise(norm, h))), self.spec.patch)
        if self.spec.residual:
            y = y + F.interpolate(low_res, scale_factor=float(self.spec.patch), mode="bicubic")
        return y

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        low_res: Tensor | None = None,
        noise_level: Tensor | None = None,
        when: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        context, words = context.tensor_split([self.spec.context_dim], dim=-1)
        emb, vector = self.embed(t, context, words, when, noise_level, label)
        h = self.first(x, low_res, vector)
        skips = [h]

        for block in self.input_blocks[1:]:
            h = block.body(h, emb, context)
            h = block.resize(h) if block.resize else h
            skips.append(h)

        for layer in self.middle_block:
            h = layer(h, emb, context)

        for block in self.output_blocks:
            h = block.body(torch.cat([h, skips.pop()], 1), emb, context)
            h = block.resize(h, skips[-1].shape[-2:]) if block.resize else h

        return self.to_pixels(h, low_res)
