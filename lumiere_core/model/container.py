"""safetensors files that describe themselves, read as data and not as a promise.

What a header says is held against the rules and the file's own size before anything is built or read, and the values
are looked at before anything runs on them. Files are read as bytes and not mapped: a mapped file cannot be replaced on
Windows while ComfyUI runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import torch.nn as nn
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..rules import line

Spec = TypeVar("Spec")

LARGEST_HEADER = 16 * 2**20  # bytes; a model of 400 tensors has 50 kB
BYTES = {"F16": 2, "BF16": 2, "F32": 4}  # the dtypes weights are kept in


@dataclass(frozen=True)
class Kind(Generic[Spec]):
    """One kind of file: what it calls itself, what its spec may say, and what that asks for."""

    format: str
    version: int  # the one that is read
    what: str  # "a Lumiere model"
    remedy: str  # where a good one comes from, a sentence
    parse: Callable[[Any], Spec]  # the spec from JSON; raises ValueError with a sentence
    build: Callable[[Spec], nn.Module]  # takes every spec that `parse` gives
    least: Callable[[Spec], int]  # tensors that such a module has at least


@dataclass(frozen=True)
class Contents(Generic[Spec]):
    """One file, read and checked: its spec and tensors, where they come from, its place, and how its SHA-256 begins."""

    spec: Spec
    tensors: dict[str, Tensor]
    license: str  # empty where the file does not say
    trained_on: str
    path: Path
    hash: str  # 12 digits


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself, and how many bytes follow."""

    metadata: dict[str, str]
    dtypes: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    data_bytes: int


class NoDraws(TorchFunctionMode):
    """Layers built under this get no random values: for modules on the meta device, which have none.

    There PyTorch draws by its compiler's rules, and the first draw imports the compiler, which takes seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("uniform_", "normal_", "kaiming_uniform_"):
            return None
        return func(*args, **(kwargs or {}))


def shapes_of(kind: Kind[Spec], spec: Spec) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a module's tensors; nothing is allocated."""
    with torch.device("meta"), NoDraws():
        return {name: tuple(t.shape) for name, t in kind.build(spec).state_dict().items()}


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            total.update(block)
    return total.hexdigest()


def read_header(path: Path) -> Header:
    """The header alone, of a file that may be large. Raises OSError, and ValueError where there is no such header."""
    if path.exists() and not path.is_file():
        raise OSError("it is a folder, or no ordinary file")
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        data_bytes = path.stat().st_size - 8 - length
        if length > LARGEST_HEADER or data_bytes < 0:
            raise ValueError("no header")
        text = file.read(length)
    try:
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", {})
        dtypes = {name: entry["dtype"] for name, entry in entries.items()}
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        words = [*metadata.values(), *dtypes.values()]
        sizes = [size for shape in shapes.values() for size in shape]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("no header") from error
    if not all(type(word) is str for word in words) or not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError("no header")
    return Header(metadata, dtypes, shapes, data_bytes)


def cut_off(name: str) -> ValueError:
    return ValueError(
        f"{name} is not a whole safetensors file. It may be cut off: download or copy it again."
    )


def open_header(path: Path) -> Header:
    """As `read_header`, for a file that a user named. Raises ValueError with a sentence."""
    try:
        return read_header(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise cut_off(path.name) from error


def check_size_of(header: Header, name: str) -> None:
    """Raises ValueError where the file is shorter or longer than its header says."""
    if header.data_bytes != sum(BYTES[header.dtypes[k]] * math.prod(s) for k, s in header.shapes.items()):
        raise cut_off(name)


def some(names: Collection[str]) -> str:
    """The first few names of many, without signs that a terminal would obey."""
    shown = [(name if name.isprintable() else ascii(name))[:120] for name in sorted(names)[:4]]
    return ", ".join([*shown, "..."] if len(names) > 4 else shown)


def check_tensors(header: Header, wanted: dict[str, tuple[int, ...]], name: str, remedy: str) -> None:
    """Raises ValueError with a list where tensors are missing, unexpected, or of another size or dtype."""
    sizes = {k for k in wanted.keys() & header.shapes.keys() if wanted[k] != header.shapes[k]}
    dtypes = {k for k, dtype in header.dtypes.items() if dtype not in BYTES}
    for what, names in (
        ("lacks", wanted.keys() - header.shapes.keys()),
        ("has unexpected", header.shapes.keys() - wanted.keys()),
        ("has other sizes in", sizes),
        (f"has dtypes other than {', '.join(BYTES)} in", dtypes),
    ):
        if names:
            raise ValueError(
                f"{name} {what} {len(names)} of its {len(wanted)} tensors ({some(names)}). {remedy}"
            )


def said_of(header: Header) -> dict[str, str]:
    """Licence and origin as a file says them, empty where it does not. Raises ValueError."""
    return {fact: line(0, 500)(fact, header.metadata.get(fact, "")) for fact in ("license", "trained_on")}


def read_tensors(path: Path, header: Header, remedy: str) -> tuple[dict[str, Tensor], str]:
    """All that a file holds, and how its SHA-256 begins. Raises ValueError where that is not what its header says, or
    not finite."""
    name = path.name
    check_size_of(header, name)
    data = path.read_bytes()
    try:
        tensors = from_bytes(data)
    except Exception as error:  # safetensors raises its own kinds: these bytes are no whole file
        raise cut_off(name) from error
    if {k: tuple(t.shape) for k, t in tensors.items()} != header.shapes:  # other bytes than a moment ago
        raise cut_off(name)
    if broken := not_finite(tensors):
        raise ValueError(
            f"{name} holds NaN or infinity in {len(broken)} of its tensors ({some(broken)}). {remedy}"
        )
    return tensors, hashlib.sha256(data).hexdigest()[:12]


def read_contents(path: Path, kind: Kind[Spec]) -> Contents[Spec]:
    """Read a file of one kind.

    What comes back can be built and loaded: names, shapes and dtypes are what the spec asks for, and every value is
    finite. Raises ValueError naming the file, what is wrong with it and what to do.
    """
    name, header = path.name, open_header(path)
    facts = header.metadata
    if facts.get("format") != kind.format:
        raise ValueError(f"{name} is a safetensors file of another kind, not {kind.what}. {kind.remedy}")
    version = facts.get("format_version", "")
    if not re.fullmatch("[0-9]{1,9}", version):
        raise ValueError(f"{name} does not say which format it has. {kind.remedy}")
    if int(version) != kind.version:
        remedy = "Update the pack." if int(version) > kind.version else kind.remedy
        raise ValueError(f"{name} has format {version}, but this version reads {kind.version}. {remedy}")
    try:
        said = json.loads(facts["spec"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} does not say what it holds. {kind.remedy}") from error
    try:
        spec, origin = kind.parse(said), said_of(header)
    except ValueError as error:
        raise ValueError(f"{name} does not describe {kind.what}: {error}") from error
    if (least := kind.least(spec)) > (count := len(header.shapes)):
        raise ValueError(f"{name} describes {least} tensors or more, but holds {count}. {kind.remedy}")
    check_tensors(header, shapes_of(kind, spec), name, kind.remedy)
    tensors, hashed = read_tensors(path, header, kind.remedy)
    return Contents(spec, tensors, **origin, path=path, hash=hashed)


def not_finite(tensors: dict[str, Tensor]) -> list[str]:
    """The names of tensors with NaN or infinity in them."""
    return [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]


def to_contents(
    kind: Kind, spec: dict[str, Any], tensors: dict[str, Tensor], license: str, trained_on: str
) -> bytes:
    """A file of one kind, which `read_contents` takes. Raises ValueError for values that are not finite."""
    if broken := not_finite(tensors):
        raise ValueError(
            f"{len(broken)} of {len(tensors)} tensors hold NaN or infinity ({some(broken)}), so nothing is written. "
            "Train again from an earlier state."
        )
    described = json.dumps(spec)
    kind.parse(json.loads(described))
    facts = {"format": kind.format, "format_version": str(kind.version), "spec": described}
    return to_bytes(tensors, facts | {"license": license, "trained_on": trained_on})
