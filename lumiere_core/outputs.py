"""Where results go: a name is checked before the work, and a file gets it only when it is whole.

No output costs an input or another run's work: what is there stays, unless the caller says overwrite. Clips, pictures,
weights and training states are all written through this module.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

LONGEST_NAME = 240  # bytes; systems take 255, and a number may be added
PART, LOCK = (
    ".part-",
    "lock",
)  # a folder for what is being written, and the file in it that a living process holds
LOCKED_BYTE = 2**20  # far behind what is written into a lock, which others have to be able to read on Windows
# Locks of some network drives hold on one machine only: a part is taken for left behind after a day at the earliest.
LEFT_AFTER = 24 * 3600.0  # seconds


def check_output(
    path: Path, endings: Collection[str], *inputs: str | Path | None, overwrite: bool = False
) -> None:
    """Raises ValueError where a result could not go to `path`, or would replace one of `inputs`, also by a link.

    endings: those it may have, such as ".png"; "" is a folder, which `overwrite` does not replace.
    """
    if not path.name or path.name == "..":
        raise ValueError(f"{path} is a folder. Name a file in it.")
    if path.suffix.lower() not in endings:
        known = ", ".join(ending for ending in endings if ending)
        folder = ", or into a folder of PNG pictures where the name has no ending" if "" in endings else ""
        raise ValueError(
            f"{path.name} ends in {path.suffix or 'nothing'}, but it is written as {known}{folder}."
        )
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise ValueError(
            f"the name {path.name[:20]}... has {len(os.fsencode(path.name))} bytes, but file systems take 255, and a "
            f"number may be added. Use at most {LONGEST_NAME}."
        )
    if os.name == "nt" and set(path.name) & set('<>:"|?*'):
        raise ValueError(f"{path.name} cannot be a file's name on Windows. Leave out <>:\"|?*.")
    check_folder(path.parent)
    for source in inputs:
        if source is not None and same_file(path, Path(source)):
            raise ValueError(
                f"{path} is read, or written, by the same command. Choose another name for the result."
            )
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} is no ordinary file. Choose another name for the result.")
    if path.suffix and path.is_dir():
        raise ValueError(f"{path} is a folder. Choose another name for the file.")
    if overwrite and not path.suffix and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"{path} is there already, and only single files are overwritten. Choose a new name."
        )


def same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, also through hard and symbolic links; it need not be there yet."""
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def check_folder(folder: Path) -> None:
    """Raises ValueError where nothing can be written into `folder`; one that is not there yet can be made."""
    for part in folder.parts:
        if len(os.fsencode(part)) > 255:
            raise ValueError(
                f"a folder's name {part[:20]}... has {len(os.fsencode(part))} bytes. Use at most 255."
            )
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"{folder} cannot be written to: {there} is no folder to write to. Choose another.")


def take(file: BinaryIO) -> None:
    """The system's own lock on an open file: it ends with the process, however that ends. Raises OSError if taken."""
    if os.name == "nt":
        import msvcrt

        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A name to write a file or a folder to, for `place`, in a new folder beside `path` that is removed in the end.

    Raises ValueError, in words, for what the system refuses inside.
    """
    folder = path.parent / f"{PART}{uuid.uuid4().hex}"
    try:
        remove_left(path.parent)
        folder.mkdir(parents=True)
        with (folder / LOCK).open("wb") as lock:
            with contextlib.suppress(OSError):  # a drive without locks: nobody else can take it either
                take(lock)
            yield folder / f"part{path.suffix}"
    except OSError as error:
        reason = (error.strerror or str(error)).strip().splitlines()
        raise ValueError(
            f"{path} cannot be written: {reason[-1] if reason else 'no reason given'}. Choose another folder, or make "
            "room on the disk."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(folder: Path) -> None:
    """Remove what runs that were killed have left in a folder: nobody holds its lock any more."""
    for lock in folder.glob(f"{PART}*/{LOCK}"):
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime > LEFT_AFTER:
                with lock.open("r+b") as file:
                    take(file)
                shutil.rmtree(lock.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one piece: a full disk, Ctrl-C or a power cut leaves the one before. Raises ValueError."""
    with unfinished(path) as part:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name is
        place(part, path, overwrite=True)


def place(part: Path, path: Path, overwrite: bool = False) -> Path:
    """Give a finished file or folder its name, which is returned: `path`, or where that is taken and `overwrite` is
    not said, `path` with the first free number, as ComfyUI's save nodes have it: clip_00001_.mp4.
    """
    if overwrite and part.is_file():
        os.replace(part, path)
        return path
    numbered = (path.with_name(f"{path.stem}_{i:05}_{path.suffix}") for i in itertools.count(1))
    for name in itertools.chain([path], numbered):
        try:
            if part.is_dir():
                with contextlib.suppress(OSError):
                    name.rmdir()  # an empty folder is as good as none
                os.rename(part, name)
            else:
                name.touch(exist_ok=False)  # the name is ours from here on
                os.replace(part, name)
        except OSError:
            if part.exists() and os.path.lexists(name):
                continue  # taken before, or by another run just now
            raise
        return name
    raise AssertionError("numbers do not end")
