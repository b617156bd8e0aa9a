"""The spatial building blocks, on `(B*T, C, H, W)`. Text and time enter once a clip: `emb (B, E)`, `context (B, L, D)`.

Every block takes an `ops` namespace (`Operations`), so that a host can pass layers that cast and offload.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from ..config import AttentionSpec
from .functional import attention, half_waves, normalise, over_channels, per_frame, rms_normalised


class Operations:
    """`torch.nn` (or a host's stand-in for it) with device and dtype filled in: `ops.Conv2d(3, 8, 3)`."""

    def __init__(self, namespace: Any = nn, dtype: torch.dtype | None = None, device: Any = None) -> None:
        self._namespace, self._options = namespace, {"dtype": dtype, "device": device}

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self._namespace, name), **self._options)


def initialise(model: nn.Module) -> None:
    """Give every parameter its first value: the customary ones, then what a block asks for itself (`start`).

    Hosts build layers without any initialisation, so nothing here relies on a constructor having done it; some even
    leave out the weights until they are loaded, and those layers are passed over.
    """
    for m in model.modules():
        if getattr(m, "weight", None) is None:
            continue
        if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_uniform_(m.weight, a=5**0.5)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, (nn.GroupNorm, nn.LayerNorm)):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Embedding):
            nn.init.normal_(m.weight, std=0.5)
    for m in model.modules():
        if hasattr(m, "start"):
            m.start()


def zero(layer: nn.Module) -> None:
    """A layer that starts by adding nothing."""
    for p in (layer.weight, layer.bias):
        if p is not None:
            nn.init.zeros_(p)


def film(x: Tensor, scale_shift: Tensor) -> Tensor:
    """FiLM: scale and shift channels, one row a clip. x `(B*T, C, H, W)`, scale_shift `(B, 2C)`."""
    scale, shift = per_frame(scale_shift, x)[:, :, None, None].chunk(2, dim=1)
    return torch.addcmul(shift, x, 1 + scale)


class ResBlock(nn.Module):
    """Two convolutions with the embedding as FiLM in between (ADM, "scale-shift norm")."""

    told = 2  # numbers that the embedding has for each channel

    def __init__(self, c_in: int, c_out: int, emb_dim: int, groups: int, ops: Operations) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            ops.GroupNorm(groups, c_in), nn.SiLU(), ops.Conv2d(c_in, c_out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), ops.Linear(emb_dim, self.told * c_out))
        self.out_layers = nn.Sequential(
            ops.GroupNorm(groups, c_out), nn.SiLU(), nn.Identity(), ops.Conv2d(c_out, c_out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if c_in == c_out else ops.Conv2d(c_in, c_out, 1)

    def start(self) -> None:
        zero(self.out_layers[3])

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        norm, act, conv = self.in_layers
        h = conv(act(normalise(norm, x)))
        norm, act, _, conv = self.out_layers
        h = conv(act(self.tell(norm, h, self.emb_layers(emb))))
        return self.skip_connection(x) + h

    def tell(self, norm: nn.Module, h: Tensor, row: Tensor) -> Tensor:
        return film(normalise(norm, h), row)


class AddingResBlock(ResBlock):
    """Two convolutions with the embedding added in between (Ho et al. 2006.11239; Stable Diffusion)."""

    told = 1

    def tell(self, norm: nn.Module, h: Tensor, row: Tensor) -> Tensor:
        return normalise(norm, h + per_frame(row, h)[:, :, None, None])


class JointTextAttention(nn.Module):
    """One softmax over the text rows and the pixels themselves (Imagen, appendix B; ADM's `encoder_kv`)."""

    def __init__(self, spec: AttentionSpec, ops: Operations) -> None:
        super().__init__()
        self.head_dim = spec.head_dim
        self.norm = ops.GroupNorm(spec.groups, spec.channels)
        self.qkv = ops.Linear(spec.channels, 3 * spec.channels)
        self.encoder_kv = ops.Linear(spec.context_dim, 2 * spec.channels)
        self.proj_out = ops.Linear(spec.channels, spec.channels)

    def start(self) -> None:
        zero(self.proj_out)

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows = normalise(self.norm, x).permute(0, 2, 3, 1).reshape(n, h * w, c)  # (B*T, H*W, C)
        q, k, v = self.qkv(rows).chunk(3, dim=-1)
        text_k, text_v = per_frame(self.encoder_kv(context), x).chunk(2, dim=-1)  # (B*T, L, C)
        rows = attention(q, torch.cat([text_k, k], 1), torch.cat([text_v, v], 1), self.head_dim)
        return x + self.proj_out(rows).reshape(n, h, w, c).permute(0, 3, 1, 2)


class RowAttention(nn.Module):
    """Rows that look at other rows. `(N, L, C), (N, M, D) -> (N, L, C)`"""

    def __init__(self, channels: int, seen_dim: int, head_dim: int, ops: Operations) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.to_q = ops.Linear(channels, channels, bias=False)
        self.to_k, self.to_v = (ops.Linear(seen_dim, channels, bias=False) for _ in range(2))
        self.to_out = nn.Sequential(ops.Linear(channels, channels))

    def forward(self, rows: Tensor, seen: Tensor) -> Tensor:
        return self.to_out(attention(self.to_q(rows), self.to_k(seen), self.to_v(seen), self.head_dim))


class GatedLinear(nn.Module):
    """A linear layer, half of which gates the other (GEGLU, Shazeer 2002.05202)."""

    def __init__(self, channels: int, width: int, ops: Operations) -> None:
        super().__init__()
        self.proj = ops.Linear(channels, 2 * width)

    def forward(self, rows: Tensor) -> Tensor:
        value, gate = self.proj(rows).chunk(2, dim=-1)
        return value * F.gelu(gate)


def feed_forward(channels: int, ops: Operations) -> nn.ModuleDict:
    """The layer after attention, in `net`, where the published files have it."""
    net = [GatedLinear(channels, 4 * channels, ops), nn.Identity(), ops.Linear(4 * channels, channels)]
    return nn.ModuleDict({"net": nn.Sequential(*net)})


class TransformerBlock(nn.Module):
    """Pixels look at each other, then at the text, then each goes through a feed-forward layer; all are residuals."""

    def __init__(self, spec: AttentionSpec, ops: Operations) -> None:
        super().__init__()
        c, self.text_only = spec.channels, spec.text_only
        self.attn1 = RowAttention(c, spec.context_dim if spec.text_only else c, spec.head_dim, ops)
        self.attn2 = RowAttention(c, spec.context_dim, spec.head_dim, ops)
        self.ff = feed_forward(c, ops)
        self.norm1, self.norm2, self.norm3 = (ops.LayerNorm(c) for _ in range(3))

    def forward(self, rows: Tensor, text: Tensor) -> Tensor:
        normed = self.norm1(rows)
        rows = rows + self.attn1(normed, text if self.text_only else normed)
        rows = rows + self.attn2(self.norm2(rows), text)
        return rows + self.ff["net"](self.norm3(rows))


class SpatialTransformer(nn.Module):
    """Self-attention and cross-attention to the text in turn (Rombach et al. 2112.10752), between 1x1 convolutions."""

    def __init__(self, spec: AttentionSpec, ops: Operations) -> None:
        super().__init__()
        self.norm = ops.GroupNorm(spec.groups, spec.channels, eps=1e-6)
        self.proj_in, self.proj_out = (self.projection(spec.channels, ops) for _ in range(2))
        self.transformer_blocks = nn.ModuleList(TransformerBlock(spec, ops) for _ in range(spec.depth))

    def start(self) -> None:
        zero(self.proj_out)

    @staticmethod
    def projection(channels: int, ops: Operations) -> nn.Module:
        return ops.Conv2d(channels, channels, 1)

    @staticmethod
    def project(layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x)

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows = self.project(self.proj_in, normalise(self.norm, x))
        rows = rows.permute(0, 2, 3, 1).reshape(n, h * w, c)  # (B*T, H*W, C)
        text = per_frame(context, x)  # (B*T, L, D)
        for block in self.transformer_blocks:
            rows = block(rows, text)
        return x + self.project(self.proj_out, rows.reshape(n, h, w, c).permute(0, 3, 1, 2))


class LinearSpatialTransformer(SpatialTransformer):
    """The same between linear layers, as from Stable Diffusion 2 on."""

    project = staticmethod(over_channels)

    @staticmethod
    def projection(channels: int, ops: Operations) -> nn.Module:
        return ops.Linear(channels, channels)


class Downsample(nn.Module):
    """Half the size by a strided convolution."""

    def __init__(self, channels: int, ops: Operations) -> None:
        super().__init__()
        self.op = ops.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Twice the size: repeat pixels, then convolve. `size` is that of the level, which may be odd."""

    def __init__(self, channels: int, ops: Operations) -> None:
        super().__init__()
        self.conv = ops.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")[..., : size[0], : size[1]])


def class_label(classes: int, emb_dim: int, ops: Operations) -> nn.Module:
    """An embedding for each of so many classes. `(B,) -> (B, E)`"""
    return ops.Embedding(classes, emb_dim)


def vector_label(width: int, emb_dim: int, ops: Operations) -> nn.Module:
    """A vector through two layers, as SDXL has sizes and pooled text. `(B, W) -> (B, E)`"""
    return nn.Sequential(nn.Sequential(ops.Linear(width, emb_dim), nn.SiLU(), ops.Linear(emb_dim, emb_dim)))


RES_BLOCK = {"film": ResBlock, "add": AddingResBlock}
ATTENTION = {
    "joint": JointTextAttention,
    "cross": SpatialTransformer,
    "cross linear": LinearSpatialTransformer,
}
DOWNSAMPLE = {"conv": Downsample}
UPSAMPLE = {"conv": Upsample}
LABEL = {"class": class_label, "vector": vector_label}


class TextPool(nn.Module):
    """One vector for a whole prompt: each head picks the rows it cares for. `(B, L, D) -> (B, E)`."""

    def __init__(self, context_dim: int, emb_dim: int, heads: int, ops: Operations) -> None:
        super().__init__()
        self.score = ops.Linear(context_dim, heads)
        self.value = ops.Linear(context_dim, emb_dim)
        self.out = ops.Linear(emb_dim, emb_dim)

    def forward(self, context: Tensor) -> Tensor:
        weights = self.score(context).softmax(dim=1)  # (B, L, heads)
        value = self.value(context).unflatten(-1, (weights.shape[-1], -1))  # (B, L, heads, E / heads)
        return self.out(F.silu((weights[..., None] * value).sum(1).flatten(1)))  # (B, E)


class TimedText(nn.Module):
    """One vector for "this prompt at this second" (an addition to the paper). `(B, L, D), (B, T) -> (B*T, W)`

    words  raw word embeddings, zero for padding
    when   where in its 5 s clip each frame lies, in [0, 1]; negative or None: not told

    "Rising" says nothing of where a balloon is, and second 4 says nothing either: only both together do. Added, they
    face an exclusive-or, for which there is no gradient to begin with; so their product enters, each factor at unit
    size. Words are summed, not averaged with the padding, in which a single one of 32 would drown.
    """

    WAVES = 20  # the finest wave has a period of half a second

    def __init__(self, word_dim: int, width: int, ops: Operations) -> None:
        super().__init__()
        self.words = ops.Linear(word_dim, width, bias=False)
        self.second = nn.Sequential(
            ops.Linear(2 * self.WAVES + 1, width), nn.SiLU(), ops.Linear(width, width)
        )
        self.product = ops.Linear(width, width)

    def forward(self, words: Tensor, when: Tensor | None = None) -> Tensor:
        text = rms_normalised(self.words(words).sum(dim=1))  # (B, W)
        if when is None:
            return text
        second = rms_normalised(self.second(half_waves(when, self.WAVES).to(text.dtype)))  # (B, T, W)
        both = self.product(text[:, None] * second) * (when >= 0)[..., None]
        return (text[:, None] + both).flatten(0, 1)  # (B*T, W)


class CoordinateField(nn.Module):
    """A picture drawn from coordinates: features at each grid point from (x, y) and a vector, which modulates a small
    network over waves of x and y (CPPN, Stanley 2007; CoordConv, Liu et al. 1807.03247). `(N, W) -> (N, C, H, W)`

    Convolutions know a place by the padding's edge only, and FiLM is the same at every pixel: without this a network
    that is given pure noise cannot put "at the right" anywhere.
    """

    WAVES = 8  # the finest wave has a period of a quarter of the picture

    def __init__(self, channels: int, width: int, rank: int, ops: Operations) -> None:
        super().__init__()
        self.places = ops.Linear(2 * (2 * self.WAVES + 1), rank)
        self.middle = ops.Linear(rank, rank)
        self.first, self.second = ops.Linear(width, 2 * rank), ops.Linear(width, 2 * rank)
        self.proj_out = ops.Linear(rank, channels)

    def start(self) -> None:
        if self.proj_out.weight is not None:  # a host that fetches weights late has none yet
            nn.init.normal_(self.proj_out.weight, std=0.02)  # at 0 the layers before would have no gradient

    def forward(self, vector: Tensor, height: int, width: int) -> Tensor:
        y, x = (
            half_waves((torch.arange(n, device=vector.device) + 0.5) / n, self.WAVES) for n in (height, width)
        )
        grid = torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], dim=-1)
        h = self.places(grid.to(vector.dtype)).flatten(0, 1)  # (H*W, rank)
        vector = F.silu(vector)
        for film_of, then in ((self.first, self.middle), (self.second, self.proj_out)):
            scale, shift = film_of(vector)[:, None].chunk(2, dim=-1)
            h = then(F.silu(h * (1 + scale) + shift))  # (N, H*W, rank), then (N, H*W, C)
        return h.unflatten(1, (height, width)).permute(0, 3, 1, 2)  # (N, C, H, W), channels last


class UNetBlock(nn.Sequential):
    """One entry of `input_blocks` or `output_blocks`: layers, and perhaps a change of size as the last of them."""

    @property
    def resize(self) -> nn.Module | None:
        last = self[-1]
        return last if isinstance(last, (*DOWNSAMPLE.values(), *UPSAMPLE.values())) else None

    def body(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        for layer in self:
            if isinstance(layer, (ResBlock, *ATTENTION.values())):
                x = layer(x, emb, context)
            elif layer is not self.resize:
                x = layer(x)
        return x
