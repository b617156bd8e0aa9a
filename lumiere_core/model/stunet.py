"""The Space-Time U-Net: a text-to-image U-Net inflated to make a whole clip in one pass (Lumiere, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from ..config import TemporalSpec, UNetSpec
from .functional import frames_as_batch, frames_as_time, pad_frames, space_to_depth
from .layers import Operations, TextPool, initialise, zero
from .temporal import AttentionInflation, ConvInflation, TemporalDown, TemporalUp
from .unet import UNet


class SpaceTimeUNet(UNet):
    """A `UNet` plus `temporal.*`. The image model's keys and shapes stay as they are.

    x          `(B, C, T, H, W)`; any T runs: it is padded to a multiple of N and cropped at the end
    t          `(B,)` in [0, 1], the true time
    context    `(B, L, D)` text rows
    condition  `(B, 4, T, H, W)` or None: <C, M>, the clip with unknown pixels blanked and the mask of known ones
    low_res    `(B, 3, T, H/patch, W/patch)` for super-resolution, with `noise_level (B,)`
    Returns `(B, C, T, H, W)`.

    Two facts at initialisation: `stunet(x)[:, :, ::N] == unet(x[:, :, ::N])`, and so a clip of one frame equals the
    image model.
    """

    def __init__(
        self,
        spec: UNetSpec,
        temporal: TemporalSpec,
        operations: Any = nn,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> None:
        if len(temporal.strides) != len(spec.channels) - 1:
            raise ValueError(
                f"{len(temporal.strides)} temporal strides for {len(spec.channels)} levels: one is needed "
                "for each spatial resize."
            )
        super().__init__(spec, operations, dtype, device)
        self.temporal_spec = temporal
        ops = Operations(operations, dtype, device)
        coarsest = len(spec.channels) - 1

        def inflation(level: int) -> nn.Module:
            # Temporal attention sits at the coarsest level only.
            block = AttentionInflation if level == coarsest else ConvInflation
            return block(spec.channels[level], spec.embed_dim, spec.groups, temporal, ops)

        def step(block: nn.Module, level: int, encoder: bool) -> nn.ModuleDict:
            parts = nn.ModuleDict()
            if len(block) > 1 or block.resize is None:
                parts["inflate"] = inflation(level)
            if block.resize is not None:
                resize = TemporalDown if encoder else TemporalUp
                stride = temporal.strides[level - 1]
                width = spec.channels[level - 1] if encoder else spec.channels[level]
                parts["resize"] = resize(width, stride, temporal, ops)
            return parts

        self.temporal = nn.ModuleDict(
            {
                "text": TextPool(spec.context_dim, spec.embed_dim, 4, ops),
                "input_blocks": nn.ModuleList(
                    step(b, lv, True) if i else nn.ModuleDict()  # the first convolution stays alone
                    for i, (b, lv) in enumerate(zip(self.input_blocks, self.input_levels, strict=True))
                ),
                "middle_block": nn.ModuleList([inflation(coarsest), inflation(coarsest)]),
                "output_blocks": nn.ModuleList(
                    step(b, lv, False) for b, lv in zip(self.output_blocks, self.output_levels, strict=True)
                ),
            }
        )
        if temporal.condition_channels:
            # <C, M> by its own convolution: the arithmetic of widening 3 to 7 channels, while 2D weights keep fitting.
            self.temporal["condition"] = ops.Conv2d(
                temporal.condition_channels * spec.patch**2, spec.channels[0], 3, padding=1
            )
        initialise(self)

    def start(self) -> None:
        super().start()
        if hasattr(self, "temporal") and "condition" in self.temporal:
            zero(self.temporal["condition"])

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        low_res: Tensor | None = None,
        noise_level: Tensor | None = None,
    ) -> Tensor:
        length = x.shape[2]
        n = self.temporal_spec.time_factor
        x, condition, low_res = (v if v is None else pad_frames(v, n) for v in (x, condition, low_res))
        frames = x.shape[2]
        emb = self.embed(t, context, noise_level)
        tau = emb + self.temporal["text"](context)  # what the temporal blocks see

        low_res = None if low_res is None else frames_as_batch(low_res)
        h = self.to_grid(frames_as_batch(x), low_res)
        h, skips = self.input_blocks[0].body(h, emb, context), []
        if condition is not None:
            h = h + self.temporal["condition"](space_to_depth(frames_as_batch(condition), self.spec.patch))
        skips.append(h)

        for block, extra in zip(self.input_blocks[1:], self.temporal["input_blocks"][1:], strict=True):
            h = block.body(h, emb, context)
            if "inflate" in extra:
                h = extra["inflate"](h, tau, frames)
            if block.resize:
                h = extra["resize"](block.resize(h), frames)  # space, then time
                frames //= extra["resize"].stride
            skips.append(h)

        res, *attention, last = self.middle_block
        h = res(h, emb, context)
        for layer in attention:
            h = layer(h, emb, context)
        h = self.temporal["middle_block"][0](h, tau, frames)
        h = self.temporal["middle_block"][1](last(h, emb, context), tau, frames)

        for block, extra in zip(self.output_blocks, self.temporal["output_blocks"], strict=True):
            h = block.body(torch.cat([h, skips.pop()], 1), emb, context)
            h = extra["inflate"](h, tau, frames)
            if block.resize:
                h = extra["resize"](block.resize(h), frames)
                frames *= extra["resize"].stride

        return frames_as_time(self.to_pixels(h, low_res), frames)[:, :, :length]  # (B, C, T, H, W)


def inflate(unet: UNet, temporal: TemporalSpec) -> SpaceTimeUNet:
    """A video model over the weights of an image model; the temporal part is new and changes nothing yet."""
    model = SpaceTimeUNet(unet.spec, temporal, dtype=unet.dtype, device=unet.out[2].weight.device)
    missing, unexpected = model.load_state_dict(unet.state_dict(), strict=False)
    assert not unexpected and all(k.startswith("temporal.") for k in missing)
    return model
