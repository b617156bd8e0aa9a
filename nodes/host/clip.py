"""Our text encoder as the host's own kind of CLIP."""

from __future__ import annotations

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import comfy.ops
import comfy.sd
import torch
from torch import Tensor

from ...lumiere_core.config import TextSpec
from ...lumiere_core.model.checkpoint import Weights
from ...lumiere_core.model.text import TextEncoder, Tokenizer


class HostTokenizer:
    """Our tokenizer as ComfyUI calls it. `(word:1.2)` is read as a plain word: this encoder has no word weights."""

    def __init__(self, spec: TextSpec, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        self.lumiere = Tokenizer(spec.vocabulary, spec.rows)

    @staticmethod
    def plain(text: str) -> str:
        return re.sub(r":\s*[\d.]+\s*\)", ")", text)

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **_: Any) -> dict[str, list]:
        ids = self.lumiere(self.plain(text)).ids
        return {"lumiere": [[(i, 1.0, n) if return_word_ids else (i, 1.0) for n, i in enumerate(ids)]]}

    def untokenize(self, pairs: list) -> list:
        words = ("", "?", *self.lumiere.vocabulary)
        return [(pair, words[pair[0]]) for pair in pairs]

    def state_dict(self) -> dict:
        return {}


class HostTextEncoder(torch.nn.Module):
    """Our text encoder as the host calls it."""

    def __init__(
        self, spec: TextSpec, device: Any = None, dtype: Any = None, model_options: Any = None
    ) -> None:
        super().__init__()
        self.encoder = TextEncoder(spec, comfy.ops.manual_cast, dtype, device)
        self.dtypes = {dtype}

    def set_clip_options(self, options: dict) -> None:
        pass  # there is one layer to take rows from

    def reset_clip_options(self) -> None:
        pass

    def encode_token_weights(self, tokens: dict[str, list]) -> tuple[Tensor, Tensor]:
        device = self.encoder.places.weight.device
        ids = torch.tensor([[pair[0] for pair in row] for row in tokens["lumiere"]], device=device)
        rows = self.encoder(ids).float()
        return rows, rows.mean(dim=1)

    def load_sd(self, tensors: dict[str, Tensor]) -> Any:
        return self.encoder.load_state_dict(tensors)


def make_clip(weights: Weights) -> Any:
    """A CLIP from the same weights file. It runs on the CPU: for 32 rows, moving them to a device would take longer."""
    spec, cpu = weights.spec.text, torch.device("cpu")
    tensors = {name: tensor.float() for name, tensor in weights.part("text").items()}
    target = SimpleNamespace(
        params={"spec": spec}, clip=HostTextEncoder, tokenizer=partial(HostTokenizer, spec)
    )
    clip = comfy.sd.CLIP(
        target,
        parameters=sum(t.numel() for t in tensors.values()),
        model_options={"dtype": torch.float32, "load_device": cpu, "offload_device": cpu},
    )
    clip.load_sd(tensors)
    return clip


def empty_prompt(model: Any) -> list:
    """CONDITIONING of an empty prompt, for one of our MODELs."""
    clip = make_clip(model.model.text)
    return clip.encode_from_tokens_scheduled(clip.tokenize(""))


def remark_on(clip: Any, text: str) -> str | None:
    """A sentence about words our text encoder could not read, perhaps empty; None for another CLIP."""
    tokenizer = getattr(clip, "tokenizer", None)
    return tokenizer.lumiere(tokenizer.plain(text)).remark if isinstance(tokenizer, HostTokenizer) else None
