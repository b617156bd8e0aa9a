"""Weights files: safetensors that describe themselves. Foreign key layouts would be translated here, at the door."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from ..config import ModelSpec, from_dict, to_dict
from ..outputs import write_whole
from .container import Contents, Kind, read_contents, to_contents
from .stunet import SpaceTimeUNet
from .text import TextEncoder
from .unet import UNet

WEIGHTS_FOLDER = Path(__file__).resolve().parents[2] / "weights"
BUNDLED = {"base": "lumiere-mini-base.safetensors", "ssr": "lumiere-mini-ssr.safetensors"}


class Lumiere(nn.Module):
    """A network and its text encoder: what a weights file holds, under the names `network.*` and `text.*`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec, self.hash = spec, ""
        self.network = UNet(spec.unet) if spec.temporal is None else SpaceTimeUNet(spec.unet, spec.temporal)
        self.text = TextEncoder(spec.text)


MODEL_FILE = Kind(
    format="lumiere",
    version=2,
    what="a Lumiere model",
    remedy="Use a file made by `python -m lumiere_core train export`.",
    parse=from_dict,
    build=Lumiere,
    least=lambda spec: 10 * sum(spec.unet.blocks) + 12 * spec.text.depth,  # of ResBlocks and TextBlocks
)


@dataclass(frozen=True)
class Weights(Contents[ModelSpec]):
    """A weights file, read and checked, in the parts its tensors are named for."""

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of `network` or `text`, without that name in front."""
        return {k.removeprefix(f"{name}."): v for k, v in self.tensors.items() if k.startswith(f"{name}.")}


def bundled(kind: str) -> Path:
    """The weights that come with the pack: `base` or `ssr`."""
    return WEIGHTS_FOLDER / BUNDLED[kind]


def save(
    path: Path,
    spec: ModelSpec,
    tensors: dict[str, Tensor],
    *,
    license: str,
    trained_on: str,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a weights file.

    tensors: the state dict of a `Lumiere` of this spec. license, trained_on: a line each, which travels with the file.
    Raises ValueError for values that are not finite in this dtype, and where the file cannot be written.
    """
    kept = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    write_whole(path, to_contents(MODEL_FILE, to_dict(spec), kept, license, trained_on))


def read(path: str | Path) -> Weights:
    """Read and check a weights file. Raises ValueError naming what is wrong with it and what to do."""
    return Weights(**vars(read_contents(Path(path), MODEL_FILE)))


def load(path: str | Path, device: Any = "cpu", dtype: torch.dtype = torch.float32) -> Lumiere:
    """A model ready to run. Raises ValueError for any file that does not fit, see `read`."""
    weights = read(path)
    model = Lumiere(weights.spec)
    model.load_state_dict(weights.tensors)
    model.hash = weights.hash
    return model.to(device, dtype, memory_format=torch.channels_last).eval().requires_grad_(False)
