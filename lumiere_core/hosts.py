"""Where a ComfyUI lies, and the Python that runs it: the standard library only, as `dev.py` asks before all else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"  # in a virtual environment


class NoHost(ValueError):
    """There is no ComfyUI where one was named."""


def find_comfyui(env: Mapping[str, str], root: Path, home: Path) -> Path | None:
    """COMFYUI_PATH (a checkout, or the portable folder around one), the ComfyUI around us, or the usual place."""
    named = Path(env.get("COMFYUI_PATH") or ".").expanduser().absolute()
    places = (
        [named, named / "ComfyUI"]
        if env.get("COMFYUI_PATH")
        else [root.parent.parent, home / "comfy" / "ComfyUI"]
    )
    found = next(
        (place for place in places if (place / "main.py").is_file() and (place / "comfy").is_dir()), None
    )
    if env.get("COMFYUI_PATH") and not found:
        raise NoHost(
            f"COMFYUI_PATH is {named}, but there is no ComfyUI in it (main.py beside a folder comfy)."
        )
    return found


def python_of(comfy: Path, env: Mapping[str, str]) -> Path | None:
    """COMFYUI_PYTHON, or the interpreter in a ComfyUI's folder or, for the portable one, beside it."""
    if env.get("COMFYUI_PYTHON"):
        return Path(shutil.which(env["COMFYUI_PYTHON"]) or env["COMFYUI_PYTHON"]).expanduser().absolute()
    places = comfy / ".venv" / PYTHON, comfy / "venv" / PYTHON, comfy.parent / "python_embeded" / "python.exe"
    return next((place for place in places if place.exists()), None)
