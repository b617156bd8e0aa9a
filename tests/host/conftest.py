"""Finds the ComfyUI that host tests run in; without one they skip, and say so once, loudly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]


def find_host() -> tuple[Path, Path] | None:
    """A ComfyUI checkout and its interpreter: COMFYUI_PATH, an enclosing one, or ~/comfy/ComfyUI."""
    enclosing = PACK.parent.parent if PACK.parent.name == "custom_nodes" else None
    for path in (os.environ.get("COMFYUI_PATH"), enclosing, Path.home() / "comfy" / "ComfyUI"):
        if path and (Path(path) / "comfy_execution").is_dir():
            path = Path(path)
            names = [
                path / folder / tail
                for folder in (".venv", "venv")
                for tail in ("bin/python", "Scripts/python.exe")
            ]
            names.append(path.parent / "python_embeded" / "python.exe")
            chosen = os.environ.get("COMFYUI_PYTHON")
            for python in [Path(chosen)] if chosen else names:
                if python.exists():
                    return path, python
    return None


@pytest.fixture(scope="session")
def host() -> tuple[Path, Path]:
    found = find_host()
    if found is None:
        pytest.skip(
            "NO COMFYUI FOUND: the nodes were not tested in a real host. Set COMFYUI_PATH and COMFYUI_PYTHON."
        )
    return found
