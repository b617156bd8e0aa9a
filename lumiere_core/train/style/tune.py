"""Tunes a style: a LoRA on the image model's weights, learnt from a few pictures (Lumiere, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from ...config import ModelSpec, replace
from ...limits import check
from ...model.checkpoint import Lumiere
from ...model.style import LowRank, is_spatial
from ...progress import Progress
from ..data import Batch
from ..stages import Phase, Stage, picture_loss

RANK = 16  # 1.7 MiB for lumiere-mini
# What a style may change: the layers that work on pixels. What tells them the prompt and the second stays as it is, so
# that sixteen pictures cannot unlearn a word.
TUNED_LAYERS = ("input_blocks.", "middle_block.", "output_blocks.", "out.")

# The loss is the image model's own. Shift 5: what a style does to a whole picture is decided where noise is large. With
# 3, and with half of this rate, a sticker's ground did not become flat (docs/recipe.md).
STYLE = Stage("style", 2, 4e-3, (Phase(1.0, 1, 8, 0, 0, 0, shift=5.0),), picture_loss, "", no_second=0.3)


@dataclass(frozen=True)
class Examples:
    """What a style is tuned on.

    pictures  `(n, 3, H, W)` in [-1, 1], all of the model's size
    captions  n of them, in words the model knows; what is not named is taken for a part of the style
    seconds   `(n,)`, where in a 5 s clip each picture lies, in [0, 1]; -1: not told
    """

    pictures: Tensor
    captions: Sequence[str]
    seconds: Tensor | None = None


@dataclass(frozen=True)
class Tuned:
    """A model with other weights, as a loss of `stages` calls one. Its text encoder learns nothing."""

    spec: ModelSpec
    inner: Lumiere
    weights: Mapping[str, Tensor]

    def text(self, ids: Tensor) -> Tensor:
        with torch.no_grad():
            return self.inner.text(ids)

    def network(self, *args: Any, **kwargs: Any) -> Tensor:
        return functional_call(self.inner.network, self.weights, args, kwargs)


def image_model(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> Lumiere:
    """The image model inside a video model: its spatial weights and its text encoder, frozen.

    tensors: of a weights file, `network.*` and `text.*`. Raises ValueError for super-resolution.
    """
    if spec.kind == "ssr":
        raise ValueError(
            f"{spec.name} is a super-resolution model, but a style is tuned on the model that makes the clip. Choose "
            "the base model."
        )
    model = Lumiere(replace(spec, kind="image", temporal=None, num_frames=1))
    model.load_state_dict({name: t.float() for name, t in tensors.items() if is_spatial(name)})
    return model.eval().requires_grad_(False)


def fresh(weights: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, LowRank]:
    """A LoRA that changes nothing yet: `up` is zero."""
    changes = {}
    for name, w in weights.items():
        if name.startswith(TUNED_LAYERS) and w.ndim > 1:
            rank = min(RANK, w.shape[0], w[0].numel())
            shape = (rank, *w.shape[1:])
            down = torch.randn(shape, generator=generator, device=w.device) / w[0].numel() ** 0.5
            up = torch.zeros(w.shape[0], rank, *[1] * (w.ndim - 2), device=w.device)
            changes[name] = LowRank(up.requires_grad_(), down.requires_grad_())
    return changes


def check_examples(count: int, captions: int) -> None:
    """Raises ValueError for too few or too many pictures, and where captions are for others."""
    check("pictures", count)
    if captions not in (0, count):
        raise ValueError(
            f"{count} pictures have {captions} captions. Give one line for each picture, or leave the captions out."
        )


def tune(
    model: Lumiere,
    examples: Examples,
    steps: int = 250,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, LowRank]:
    """Tune a style on a few pictures; what is learnt are changes of weights, by their names in the network.

    model: an image model (`image_model`) on any device, which stays as it is. The same seed gives the same style on
    the same machine. Raises ValueError for other than 1 to 20 pictures; what `progress` raises ends the work.
    """
    check("style.steps", steps)
    check_examples(len(examples.pictures), len(examples.captions))
    with torch.inference_mode(False), torch.enable_grad():  # ComfyUI runs its nodes in inference mode
        return tuned(model, examples, steps, seed, progress)


def tuned(
    model: Lumiere, examples: Examples, steps: int, seed: int, progress: Progress | None
) -> dict[str, LowRank]:
    """The loop of `tune`: a short warm-up, a plateau, and a straight way down over the second half."""
    (phase,) = STYLE.phases
    weights = dict(model.network.state_dict())
    device = model.network.out[2].weight.device
    generator = torch.Generator(device).manual_seed(seed)
    changes = fresh(weights, generator)
    learnt = [matrix for change in changes.values() for matrix in (change.up, change.down)]
    optimizer = torch.optim.AdamW(learnt, lr=STYLE.lr, betas=(0.9, 0.99), weight_decay=0.0)
    count = len(examples.pictures)
    pictures = examples.pictures.detach().clone().to(device)
    ids = model.text.tokenizer.batch(examples.captions or [""] * count, device)
    seconds = torch.full((count,), -1.0) if examples.seconds is None else examples.seconds
    seconds = seconds.detach().clone().to(device)[:, None]
    for step in range(steps):
        which = torch.randint(count, (phase.batch,), generator=generator, device=device)
        batch = Batch(pictures[which, :, None], ids[which], seconds[which])
        mixed = {name: weights[name] + change.change(weights[name].shape) for name, change in changes.items()}
        for group in optimizer.param_groups:
            group["lr"] = STYLE.lr * min(1.0, (step + 1) / 20, 0.05 + 2 * (steps - step) / steps)
        with torch.autocast(device.type, torch.bfloat16):
            loss = STYLE.loss(STYLE, phase, Tuned(model.spec, model, mixed), batch, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        if progress:
            progress(step + 1, steps, "style")
    return {name: LowRank(change.up.detach(), change.down.detach()) for name, change in changes.items()}
