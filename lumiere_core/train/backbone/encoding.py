"""Clips and captions as a checkpoint's own VAE and text encoder see them, made once and kept in the run's folder.

Both belong to the checkpoint, and ComfyUI reads them for every family: a program of this pack runs in its interpreter,
and the engine, which knows no ComfyUI, talks to it in lines (`nodes/host/image/encode.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...hosts import find_comfyui, python_of
from ...outputs import place, unfinished
from ...progress import Progress
from .clips import Clips, Stretch, held_apart

PACK = Path(__file__).resolve().parents[3]
PROGRAM = PACK / "nodes" / "host" / "image" / "encode.py"
MOST_UNSEEN = 8  # stretches that a run is measured on
ANSWER = "LUMIERE "  # how its answers begin


@dataclass(frozen=True)
class EncodedClip:
    """What a step learns from.

    latents  `(T, C, h, w)` as the network has them
    context  `(L, D)`, the caption's rows
    label    `(W,)` where the family has one
    small    `(T, 3, h, w)` in [-1, 1], what the x4 upscaler enlarges
    """

    latents: Tensor
    context: Tensor
    label: Tensor | None = None
    small: Tensor | None = None


@dataclass(frozen=True)
class Silence:
    """What the network is told without a caption, and what the checkpoint says of itself.

    sigmas      its table of noise levels, smallest first
    prediction  a row of process.PREDICTIONS
    """

    context: Tensor
    label: Tensor | None
    sigmas: Tensor
    prediction: str


# ------------------------------------------------------------------------------------------------------------- host
def host_of(named: str | None) -> list[str]:
    """ComfyUI's interpreter, the program it is to run, and its folder. Raises ValueError where there is none."""
    env = {**os.environ, **({"COMFYUI_PATH": named} if named else {})}
    comfy = find_comfyui(env, PACK, Path.home())
    if comfy is None:
        raise ValueError(
            "no ComfyUI was found, whose loaders read the checkpoint's VAE and text encoder. Name its folder with "
            "--comfyui."
        )
    python = python_of(comfy, env) or Path(sys.executable)
    return [str(python), str(PROGRAM), str(comfy)]


class Host:
    """The program, running. Raises ValueError, in a sentence, for what it or ComfyUI cannot do."""

    def __init__(self, command: Sequence[str], checkpoint: Path) -> None:
        self.name = checkpoint.name
        self.notes = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed below)
        try:
            self.process = subprocess.Popen(
                [*command, str(checkpoint.resolve())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.notes,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            self.notes.close()
            raise ValueError(
                f"ComfyUI's Python does not start ({command[0]}: {error.strerror}). Name it with COMFYUI_PYTHON."
            ) from error

    def ask(self, **request: object) -> None:
        """Have one result made."""
        with contextlib.suppress(BrokenPipeError):  # it has ended: its last words tell why
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                if error := json.loads(line.removeprefix(ANSWER))["error"]:
                    raise ValueError(f"ComfyUI cannot use {self.name}: {error[:400].rstrip('.')}.")
                return
        raise ValueError(
            f"ComfyUI's Python ended before it had read {self.name}: {self.last_words()}. Start that ComfyUI once, or "
            "name another with --comfyui or its Python with COMFYUI_PYTHON."
        )

    def last_words(self) -> str:
        self.notes.seek(0)
        lines = [line.strip() for line in self.notes if line.strip()]
        return lines[-1][:200] if lines else "it said nothing"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.notes):
            with contextlib.suppress(OSError):
                stream.close()


# ------------------------------------------------------------------------------------------------------------ cache
class Cache:
    """Results in a folder. Each is made once: one that is there is for the same checkpoint, clip, caption and shape."""

    def __init__(self, folder: Path, checkpoint: Path, checkpoint_hash: str, comfyui: str | None) -> None:
        self.folder, self.checkpoint, self.hash = folder, checkpoint, checkpoint_hash
        self.comfyui, self.host = comfyui, None

    def file_of(self, stretch: Stretch | None, size: int) -> Path:
        """Where a result is kept; None is no clip and no caption."""
        facts: list = [self.hash, size]
        if stretch:
            stat = stretch.path.stat()
            facts += [stretch.path.name, stat.st_size, stat.st_mtime_ns, stretch.caption, stretch.shown]
        return self.folder / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]}.safetensors"

    def make(self, stretch: Stretch | None, size: int) -> Path:
        """The file of a result, made by the host where it is missing. Raises ValueError."""
        path = self.file_of(stretch, size)
        if is_whole(path):
            return path
        with unfinished(path) as part:
            shown = part.with_name("pixels.safetensors") if stretch else None
            if stretch:
                save_file({"pixels": stretch.pixels()}, shown)
            self.host = self.host or Host(host_of(self.comfyui), self.checkpoint)
            caption = stretch.caption if stretch else ""
            self.host.ask(caption=caption, size=size, pixels=shown and str(shown), out=str(part))
            place(part, path, overwrite=True)
        return path

    def close(self) -> None:
        if self.host:
            self.host.close()
            self.host = None


def is_whole(path: Path) -> bool:
    """Whether a result is there and can be read."""
    try:
        with safe_open(path, "pt") as file:
            return "context" in file.keys()  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError):
        return False


def read_encoded(path: Path) -> EncodedClip:
    tensors = load_file(path)
    return EncodedClip(tensors["latents"], tensors["context"], tensors.get("label"), tensors.get("small"))


def read_silence(path: Path) -> Silence:
    with safe_open(path, "pt") as file:
        prediction = file.metadata()["prediction"]
    tensors = load_file(path)
    return Silence(tensors["context"], tensors.get("label"), tensors["sigmas"], prediction)


def endless(paths: Sequence[Path], seed: int) -> Iterator[EncodedClip]:
    """Samples for ever, each time through all of them in another order."""
    rng = random.Random(seed)
    while True:
        for path in rng.sample(paths, len(paths)):
            yield read_encoded(path)


@dataclass(frozen=True)
class Encoded:
    """A folder of clips as a run reads it: files to learn from, samples that are held out, and what silence is."""

    learnt: Sequence[Path]
    unseen: Sequence[EncodedClip]
    silence: Silence

    def clips(self, seed: int) -> Iterator[EncodedClip]:
        """What a run learns from, for ever, in an order of that seed's."""
        return endless(self.learnt, seed)

    @classmethod
    def of(cls, clips: Clips, cache: Cache, size: int, progress: Progress | None = None) -> Encoded:
        """All of them, encoded where they are not yet. Raises ValueError."""
        apart = held_apart(clips)
        learnt = [part for i, clip in enumerate(clips) if i not in apart for part in clip]
        unseen = [part for i in sorted(apart) for part in clips[i]][:MOST_UNSEEN]
        made: list[Path] = []
        try:
            for part in (*learnt, *unseen, None):
                made.append(cache.make(part, size))
                if progress:
                    progress(len(made), 1 + len(learnt) + len(unseen), "encoding")
        finally:
            cache.close()
        held = [read_encoded(path) for path in made[len(learnt) : -1]]
        return cls(made[: len(learnt)], held, read_silence(made[-1]))
