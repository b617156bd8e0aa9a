"""What clips take of the machine's memory: known before the work, and refused where there is not that much."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them
OWN_PAGES = 1_000_000  # bytes of an array that gets pages of its own


def gigabytes(frames: int, height: int, width: int) -> float:
    """Memory that a whole clip of this size takes as an IMAGE (float32), in 10^9 bytes."""
    return frames * height * width * 3 * 4 / 1e9


def free_memory() -> float | None:
    """Memory that programs can still get, in 10^9 bytes; on macOS all that the machine has. None where unknown."""
    if sys.platform == "win32":
        # MEMORYSTATUSEX: its size and the load in the first 64 bits, then all the machine has, then what is free.
        state = (ctypes.c_ulonglong * 8)(64)
        return state[2] / 1e9 if vars(ctypes)["windll"].kernel32.GlobalMemoryStatusEx(state) else None
    if MEMINFO.exists():
        lines = MEMINFO.read_text(encoding="utf-8").splitlines()
        found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        return int(found[0]) * 1024 / 1e9 if found else None
    if sys.platform != "win32":
        with contextlib.suppress(ValueError, OSError):
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return None


def check_memory(what: str, needed: float, remedy: str) -> None:
    """Raises ValueError where `what` needs more memory (10^9 bytes) than the machine has to give now."""
    free = free_memory()
    if free is not None and needed > free:
        raise ValueError(f"{what} take {needed:.1f} GB of memory, but only {free:.1f} GB are free. {remedy}")


def free_at_once() -> None:
    """From now on large arrays go back to the system as soon as they are freed. On Linux with glibc; else nothing.

    Once such an array has been freed, glibc takes later ones of up to 32 MiB from its heap, and one channel of a 4K
    picture has 31.6. The holes between them were half of the 2.6 GB that a cinemagraph took. Each array costs new pages
    then: nothing beside work on pictures, but something beside a network.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # another C library
            set_option = ctypes.CDLL(None).mallopt
            set_option(MMAP_THRESHOLD, OWN_PAGES)
            set_option(TRIM_THRESHOLD, OWN_PAGES)
