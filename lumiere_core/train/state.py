"""What a run keeps in its folder: the last two states, and a lock that lets one trainer in at a time.

`resume.json` names the shards (safetensors, at most 15 MiB each) of the last state with their SHA-256;
`resume.before.json` does so for the state before it. Shards come first and are on the disk before an index names them,
so a save that is interrupted leaves the state before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..config import ModelSpec, from_dict
from ..outputs import LOCK, take, write_whole
from ..rules import real, whole

SHARD_BYTES = 15 * 2**20
LAST, BEFORE = "resume.json", "resume.before.json"
SHARD = re.compile(r"state-[0-9-]{1,40}\.safetensors")  # beside its index, never in another folder


def save_state(folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors as shards, then the index that names them. The state before stays; older ones are removed."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if size + tensor.nbytes > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
    # A step that is saved again gets new names: the state that has them stays whole until the new one is.
    stems = (f"state-{facts['step']:07d}-{n}" for n in itertools.count())
    stem = next(s for s in stems if not list(folder.glob(f"{s}-*")))
    sums = {}
    for i, shard in enumerate(shards):
        data = to_bytes(shard)
        sums[f"{stem}-{i}.safetensors"] = hashlib.sha256(data).hexdigest()
        write_whole(folder / f"{stem}-{i}.safetensors", data)
    kept = set(sums)
    with contextlib.suppress(ValueError):  # a damaged index is no state to keep
        if previous := read_index(folder / LAST):
            write_whole(folder / BEFORE, (folder / LAST).read_bytes())
            kept |= set(previous["shards"])
    write_whole(folder / LAST, json.dumps({"shards": sums, **facts}, indent=1).encode("utf-8"))
    for old in folder.glob("state-*.safetensors"):
        if old.name not in kept:
            old.unlink()


def read_index(path: Path) -> dict[str, Any] | None:
    """What an index says; None where there is no such file. Raises ValueError where it is damaged."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        whole(0, 10**12)("step", facts["step"])
        real(0, 1e12)("seconds", facts.get("seconds", 0))
        if not all(SHARD.fullmatch(name) for name in facts["shards"]):
            raise ValueError("files of others are no shards")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not what was written") from error
    return facts


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The state that an index names; None where there is no such file. Raises ValueError saying what is damaged."""
    facts = read_index(path)
    if facts is None:
        return None
    tensors: dict[str, Tensor] = {}
    shards = facts["shards"]  # runs of earlier versions list them without sums
    for name, digest in (shards if isinstance(shards, dict) else dict.fromkeys(shards)).items():
        try:
            data = (path.parent / name).read_bytes()
            if digest and hashlib.sha256(data).hexdigest() != digest:
                raise ValueError("other bytes than were written")
            tensors.update(from_bytes(data))
        except Exception as error:  # safetensors raises its own kinds
            what = "is missing" if isinstance(error, FileNotFoundError) else "is not what was written"
            raise ValueError(f"{name} {what}") from error
    return tensors, facts


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The last state of a run, or None. Raises ValueError where it is damaged, naming the state before it."""
    try:
        return read_state(folder / LAST)
    except ValueError as error:
        remedy = "There is no whole state before it: remove the folder to start anew."
        with contextlib.suppress(ValueError):
            if before := read_state(folder / BEFORE):
                step = before[1]["step"]
                remedy = f"The state before it, of step {step}, is whole: add --before to go on from there."
        raise ValueError(f"the training state in {folder} is damaged: {error}. {remedy}") from error


def step_back(folder: Path) -> int:
    """Make the state before the last one the last, and return its step. Raises ValueError where there is none."""
    try:
        state = read_state(folder / BEFORE)
    except ValueError as error:
        raise ValueError(f"the state before the last one in {folder} is damaged too: {error}.") from error
    if state is None:
        raise ValueError(f"there is no state before the last one in {folder}. Leave --before out.")
    write_whole(folder / LAST, (folder / BEFORE).read_bytes())
    return state[1]["step"]


def averaged(folder: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """The averaged weights of a run. Raises ValueError where there is none."""
    state = load_state(folder)
    if state is None:
        raise ValueError(f"no training state in {folder}. Run that stage first.")
    tensors, facts = state
    weights = {k.removeprefix("ema."): v for k, v in tensors.items() if k.startswith("ema.")}
    return from_dict(facts.get("spec")), weights


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made where it is missing. Raises ValueError while another trainer holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+b")
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be written: {error.strerror or error}. Choose another folder."
        ) from error
    with file:
        try:
            take(file)
        except OSError as error:
            file.seek(0)
            process = file.read(20).decode("ascii", "replace").strip() or "unknown"
            raise ValueError(
                f"{folder} is in use by another trainer (process {process}). Wait until it ends, stop it, or name "
                "another folder with --runs."
            ) from error
        file.truncate(0)
        file.write(b"%d" % os.getpid())  # at the end, which is now the beginning
        file.flush()
        yield
