"""Tunes a style: a LoRA on the image model's weights, learnt from a few pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from ...config import ModelSpec
from ...model.checkpoint import Lumiere
from ...model.style import LowRank
from ...progress import Progress
from ..data import Batch
from ..stages import Phase, Stage, picture_loss

RANK = 16
# What a style may change: the layers that work on pixels. What tells them the prompt and the second stays as it is.
LAYERS = ("input_blocks.", "middle_block.", "output_blocks.", "out.")


@dataclass
class Tuned:
    """A model with changed weights, as a loss of `stages` calls one."""

    spec: ModelSpec
    inner: Lumiere
    weights: dict[str, Tensor]

    def text(self, ids: Tensor) -> Tensor:
        with torch.no_grad():
            return self.inner.text(ids)

    def network(self, *args: Any, **kwargs: Any) -> Tensor:
        return functional_call(self.inner.network, self.weights, args, kwargs)


def fresh(weights: dict[str, Tensor], rank: int, generator: torch.Generator) -> dict[str, LowRank]:
    """A LoRA that changes nothing yet."""
    made = {}
    for name, w in weights.items():
        if name.startswith(LAYERS) and w.ndim > 1:
            r = min(rank, w.shape[0], w[0].numel())
            down = torch.randn(r, *w.shape[1:], generator=generator) / w[0].numel() ** 0.5
            up = torch.zeros(w.shape[0], r, *[1] * (w.ndim - 2))
            made[name] = LowRank(up.to(w.device).requires_grad_(), down.to(w.device).requires_grad_())
    return made


def tune(
    model: Lumiere,
    pictures: Tensor,
    captions: Sequence[str],
    stage: Stage,
    steps: int,
    seed: int = 0,
    moments: Tensor | None = None,
    progress: Progress | None = None,
    log=None, rank=RANK,
) -> dict[str, LowRank]:
    phase, = stage.phases
    generator = torch.Generator().manual_seed(seed)
    weights = dict(model.network.state_dict())
    changes = fresh(weights, rank, generator)
    trained = [m for c in changes.values() for m in (c.up, c.down)]
    optimizer = torch.optim.AdamW(trained, lr=stage.lr, betas=(0.9, 0.99), weight_decay=0.0)
    ids = model.text.tokenizer.batch(captions)
    when = torch.full((len(pictures), 1), -1.0) if moments is None else moments.view(-1, 1)
    for step in range(steps):
        which = torch.randint(len(pictures), (phase.batch,), generator=generator)
        batch = Batch(pictures[which, :, None], ids[which], when[which])
        mixed = {name: weights[name] + c.change(weights[name].shape) for name, c in changes.items()}
        for group in optimizer.param_groups:
            group["lr"] = stage.lr * min(1.0, (step + 1) / 20, 0.05+(steps - step) / (steps / 2))
        with torch.autocast(pictures.device.type, torch.bfloat16):
            loss = stage.loss(stage, phase, Tuned(model.spec, model, mixed), batch, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if log: log(step, loss.item())
        if progress:
            progress(step + 1, steps, "style")
    return changes
