"""Weights files: safetensors that describe themselves. Foreign key layouts would be translated here, at the door.

Files are read as bytes and not mapped: a mapped file cannot be replaced on Windows while ComfyUI runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..config import ModelSpec, from_dict, to_dict
from .stunet import SpaceTimeUNet
from .text import TextEncoder
from .unet import UNet

FORMAT = "lumiere"
FORMAT_VERSION = 1
WEIGHTS_FOLDER = Path(__file__).resolve().parents[2] / "weights"
BUNDLED = {"base": "lumiere-mini-base.safetensors", "ssr": "lumiere-mini-ssr.safetensors"}


class Lumiere(nn.Module):
    """A network and its text encoder: what a weights file holds, under the names `network.*` and `text.*`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec, self.hash = spec, ""
        self.network = UNet(spec.unet) if spec.temporal is None else SpaceTimeUNet(spec.unet, spec.temporal)
        self.text = TextEncoder(spec.text)


@dataclass(frozen=True)
class Weights:
    """One file, read and checked: its description, its tensors, its place and the first digits of its SHA-256."""

    spec: ModelSpec
    tensors: dict[str, Tensor]
    path: Path
    hash: str

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of `network` or `text`, without that name in front."""
        return {k.removeprefix(f"{name}."): v for k, v in self.tensors.items() if k.startswith(f"{name}.")}


def bundled(kind: str) -> Path:
    """The weights that come with the pack: `base` or `ssr`."""
    return WEIGHTS_FOLDER / BUNDLED[kind]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one piece: a full disk, Ctrl-C or a power cut leaves what was there before. Raises ValueError."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name is
        os.replace(part, path)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written: {error.strerror or error}. Choose another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def save(path: Path, spec: ModelSpec, tensors: dict[str, Tensor], dtype: torch.dtype = torch.float16) -> None:
    """Write a weights file. tensors: the state dict of a `Lumiere` of this spec."""
    kept = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "spec": json.dumps(to_dict(spec)),
        "license": "Apache-2.0",
        "trained_on": "pictures drawn by the code of this project, nothing else",
    }
    write_whole(path, to_bytes(kept, metadata))


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in a safetensors file's header, without reading the rest of a file that may be large."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > 100 * 2**20:
            raise ValueError("no safetensors header")
        return json.loads(file.read(length)).get("__metadata__", {})


def read(path: str | Path) -> Weights:
    """Read and check a weights file. Raises ValueError naming what is wrong with it and what to do."""
    path = Path(path)
    cut_off = f"{path.name} is not a whole safetensors file. It may be cut off: download or copy it again."
    try:
        metadata = read_metadata(path)
    except OSError as error:
        raise ValueError(f"the weights file {path} cannot be read: {error.strerror or error}.") from error
    except (struct.error, ValueError, AttributeError) as error:
        raise ValueError(cut_off) from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path.name} is a safetensors file of another kind, not a Lumiere model. Files for this "
            "loader are made by `python -m lumiere_core train`."
        )
    version = int(metadata.get("format_version", 0))
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path.name} has format {version}, but this version reads up to {FORMAT_VERSION}. "
            "Update the pack."
        )
    try:
        spec = from_dict(json.loads(metadata["spec"]))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path.name} does not say what model it holds. Use a file made by this version of the pack."
        ) from error
    data = path.read_bytes()
    try:
        tensors = from_bytes(data)
    except Exception as error:  # safetensors raises its own kinds: these bytes are no whole file
        raise ValueError(cut_off) from error
    weights = Weights(spec, tensors, path, hashlib.sha256(data).hexdigest()[:12])
    check_tensors(weights)
    return weights


def check_tensors(weights: Weights) -> None:
    """Raises ValueError with a list where tensors are missing, unexpected or of another size than the spec's."""
    with torch.device("meta"):
        wanted = {name: t.shape for name, t in Lumiere(weights.spec).state_dict().items()}
    found = {name: t.shape for name, t in weights.tensors.items()}
    sizes = {name for name in wanted.keys() & found.keys() if wanted[name] != found[name]}
    for what, names in (
        ("lacks", wanted.keys() - found.keys()),
        ("has unexpected", found.keys() - wanted.keys()),
        ("has other sizes in", sizes),
    ):
        if names:
            some = ", ".join(sorted(names)[:4])
            raise ValueError(
                f"{weights.path.name} {what} {len(names)} of its {len(wanted)} tensors ({some}"
                f"{', ...' if len(names) > 4 else ''}). Use a file made by this version of the pack."
            )


def load(path: str | Path, device: Any = "cpu", dtype: torch.dtype = torch.float32) -> Lumiere:
    """A model ready to run. Raises ValueError for any file that does not fit, see `read`."""
    weights = read(path)
    model = Lumiere(weights.spec)
    model.load_state_dict(weights.tensors)
    model.hash = weights.hash
    return model.to(device, dtype, memory_format=torch.channels_last).eval().requires_grad_(False)
