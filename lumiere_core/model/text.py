"""Words to rows: the word-level tokenizer and the small text encoder of lumiere-mini.

A large frozen encoder (T5, CLIP) has no place here: its embeddings enter the U-Net as tensors of the same shape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from ..config import TextSpec
from .functional import attention
from .layers import Operations, initialise

PAD, UNKNOWN = 0, 1  # UNKNOWN has a row in the weights, but no prompt uses it
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


@dataclass(frozen=True)
class Tokens:
    """One prompt as the model reads it, and what it could not read."""

    ids: tuple[int, ...]  # exactly `rows` of them
    unknown: tuple[str, ...]  # words outside the vocabulary, in order, each once
    dropped: int  # words beyond the last row

    @property
    def remark(self) -> str:
        """A sentence for the artist, or an empty string."""
        parts = []
        if self.unknown:
            parts.append("does not know: " + ", ".join(self.unknown))
        if self.dropped:
            parts.append(f"reads {len(self.ids)} words, so the last {self.dropped} were left out")
        return "The model " + "; it ".join(parts) + "." if parts else ""


class Tokenizer:
    """Lower-case words by a fixed vocabulary. Empty prompts are allowed: all rows are padding.

    Words outside the vocabulary are left out, and named: no training caption ever held one, so a row for them would
    be noise, and would move the words after it to places they never had.
    """

    def __init__(self, vocabulary: Sequence[str], rows: int = 32) -> None:
        self.vocabulary, self.rows = tuple(vocabulary), rows
        self.ids = {word: i + 2 for i, word in enumerate(self.vocabulary)}

    def __call__(self, text: str) -> Tokens:
        words = _WORD.findall(text.lower())
        ids = [self.ids[word] for word in words if word in self.ids]
        unknown = tuple(dict.fromkeys(word for word in words if word not in self.ids))
        kept = ids[: self.rows]
        return Tokens(tuple(kept + [PAD] * (self.rows - len(kept))), unknown, len(ids) - len(kept))

    def batch(self, texts: Sequence[str], device: Any = None) -> Tensor:
        """`(B, rows)` int64."""
        return torch.tensor([self(text).ids for text in texts], dtype=torch.long, device=device)


class TextBlock(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, width: int, heads: int, ops: Operations) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.norm1, self.norm2 = ops.LayerNorm(width), ops.LayerNorm(width)
        self.qkv, self.proj = ops.Linear(width, 3 * width), ops.Linear(width, width)
        self.mlp = nn.Sequential(ops.Linear(width, 4 * width), nn.GELU(), ops.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.proj(attention(*self.qkv(self.norm1(x)).chunk(3, dim=-1), self.head_dim))
        return x + self.mlp(self.norm2(x))


class TextEncoder(nn.Module):
    """Word ids `(B, rows)` -> text rows `(B, rows, width)`. Padding is a learned word; there is no mask.

    With `raw_words` the rows are twice as wide: the encoded row, then the word's own embedding, zero for padding. The
    encoded rows of "left" and "right" differ little where the encoder learnt from still frames; the words themselves
    are well apart.
    """

    def __init__(
        self, spec: TextSpec, operations: Any = nn, dtype: torch.dtype | None = None, device: Any = None
    ) -> None:
        super().__init__()
        self.spec = spec
        ops = Operations(operations, dtype, device)
        self.tokenizer = Tokenizer(spec.vocabulary, spec.rows)
        self.words = ops.Embedding(len(spec.vocabulary) + 2, spec.width)
        self.places = ops.Embedding(spec.rows, spec.width)
        self.blocks = nn.ModuleList(TextBlock(spec.width, spec.heads, ops) for _ in range(spec.depth))
        self.norm = ops.LayerNorm(spec.width)
        initialise(self)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))  # (B, rows, width)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if self.spec.raw_words:
            x = torch.cat([x, self.words(ids) * (ids != PAD)[..., None]], dim=-1)  # (B, rows, 2 * width)
        return x

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Prompts to rows: `(B, rows, width)`."""
        return self(self.tokenizer.batch(texts, self.places.weight.device))
