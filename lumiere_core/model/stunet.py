"""The Space-Time U-Net: a text-to-image U-Net inflated to make a whole clip in one pass (Lumiere, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from ..config import TemporalSpec, UNetSpec
from .animatediff.network import MotionModules
from .container import NoDraws
from .functional import frames_as_batch, frames_as_time, pad_frames, pad_rows, space_to_depth, thinned
from .layers import Operations, TextPool, TimedText, initialise, zero
from .temporal import ATTENTION_INFLATION, ConvInflation, TemporalDown, TemporalUp
from .unet import UNet


class SpaceTimeUNet(UNet):
    """A `UNet` plus `temporal.*`. The image model's keys and shapes stay as they are.

    x          `(B, C, T, H, W)`; any T runs: it is padded to a multiple of N and cropped at the end
    t          `(B,)`, context `(B, L, D)` and label: as `UNet` has them, a row for a clip or one for each of its frames
    when       `(B, T)` or `(B, 1, T, 1, 1)`: where in its 5 s each frame lies, in [0, 1]; negative or None: not told
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
            attention = ATTENTION_INFLATION[temporal.attention_kind]
            block = attention if level == coarsest else ConvInflation
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
        # The temporal blocks read the words by a head of their own: frozen spatial layers, and a text encoder that
        # learnt from still frames, need not tell "rising" from "sinking".
        if spec.timed_width:
            self.temporal["timed_text"] = TimedText(spec.word_dim, spec.embed_dim, ops)
        else:
            self.temporal["text"] = TextPool(spec.context_dim, spec.embed_dim, 4, ops)
        if temporal.condition_channels:
            # <C, M> by its own convolution: the arithmetic of widening 3 to 7 channels, while 2D weights keep fitting.
            # Without a bias, so that where nothing is known it adds nothing.
            self.temporal["condition"] = ops.Conv2d(
                temporal.condition_channels * spec.patch**2, spec.channels[0], 3, padding=1, bias=False
            )
        initialise(self)

    def start(self) -> None:
        super().start()
        if hasattr(self, "temporal") and "condition" in self.temporal:
            zero(self.temporal["condition"])

    def temporal_embed(self, emb: Tensor, context: Tensor, words: Tensor, when: Tensor | None) -> Tensor:
        """What the temporal blocks are told: what the spatial ones are, and the words. `(B, E)` or `(B*T, E)`"""
        if not self.spec.timed_width:
            return emb + self.temporal["text"](context)
        return emb + self.temporal["timed_text"](words, when)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        low_res: Tensor | None = None,
        noise_level: Tensor | None = None,
        when: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        clips, _, length = x.shape[:3]
        n = self.temporal_spec.time_factor
        t, context, label = (v if v is None else pad_rows(v, clips, n) for v in (t, context, label))
        x, condition, low_res = (v if v is None else pad_frames(v, n) for v in (x, condition, low_res))
        when = None if when is None else pad_frames(when.reshape(clips, 1, length, 1, 1), n).flatten(1)
        frames = x.shape[2]
        context, words = context.tensor_split([self.spec.context_dim], dim=-1)
        emb, vector = self.embed(t, context, words, when, noise_level, label)
        tau = self.temporal_embed(emb, context, words, when)
        told = emb, tau, context

        low_res = None if low_res is None else frames_as_batch(low_res)
        h = self.first(frames_as_batch(x), low_res, vector)
        if condition is not None:
            h = h + self.temporal["condition"](space_to_depth(frames_as_batch(condition), self.spec.patch))
        skips = [h]

        for block, extra in zip(self.input_blocks[1:], self.temporal["input_blocks"][1:], strict=True):
            h = block.body(h, emb, context)
            if "inflate" in extra:
                h = extra["inflate"](h, tau, frames)
            if block.resize:
                h = extra["resize"](block.resize(h), frames)  # space, then time
                frames //= extra["resize"].stride
                emb, tau, context = (thinned(v, clips, frames) for v in told)
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
                h = extra["resize"](block.resize(h, skips[-1].shape[-2:]), frames)
                frames *= extra["resize"].stride
                emb, tau, context = (thinned(v, clips, frames) for v in told)

        return frames_as_time(self.to_pixels(h, low_res), frames)[:, :, :length]  # (B, C, T, H, W)


def inflate(unet: UNet, temporal: TemporalSpec) -> SpaceTimeUNet:
    """A video model over the weights of an image model; the temporal part is new and changes nothing yet."""
    model = SpaceTimeUNet(unet.spec, temporal, dtype=unet.dtype, device=unet.out[2].weight.device)
    missing, unexpected = model.load_state_dict(unet.state_dict(), strict=False)
    assert not unexpected and all(k.startswith("temporal.") for k in missing)
    return model


def seed(video: SpaceTimeUNet, motion: MotionModules) -> None:
    """Put AnimateDiff's modules of the coarsest level where this network has temporal attention ("animatediff").

    The level holds every N-th frame, so of their position encoding they keep every N-th row. Where the motion file has
    no module (the middle, in most), ours goes on adding nothing.
    """
    coarsest, n = len(video.spec.channels) - 1, video.temporal_spec.time_factor
    levels = {"input": video.input_levels, "output": video.output_levels}
    for side, number in motion.spec.places:
        if side == "middle":
            ours = video.temporal["middle_block"][0]  # after attention, as theirs
        elif levels[side][number] == coarsest:
            ours = video.temporal[f"{side}_blocks"][number]["inflate"]
        else:
            continue
        tensors = motion.module((side, number)).state_dict()
        ours.module.load_state_dict(
            {name: t[:, ::n] if name.endswith(".pe") else t for name, t in tensors.items()}
        )


def new_temporal(
    spec: UNetSpec,
    temporal: TemporalSpec,
    motion: MotionModules | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """First values of all that inflation adds, `{"temporal.input_blocks...": tensor}`; they change nothing yet.

    No weight of the image model, which may be large, is allocated. motion: for `seed`.
    """
    with torch.device("meta"), NoDraws():
        video = SpaceTimeUNet(spec, temporal, dtype=dtype)
    video.temporal.to_empty(device="cpu")
    initialise(video.temporal)
    if motion is not None:
        seed(video, motion)
    return {f"temporal.{name}": tensor for name, tensor in video.temporal.state_dict().items()}
