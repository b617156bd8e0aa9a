"""Finds the ComfyUI that host tests run in; without one they skip, and say so once, loudly.

`COMFYUI_PATH` may name several checkouts, parted as in PATH: every host test then runs in each of them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import dev

PACK = Path(__file__).resolve().parents[2]
Host = tuple[Path, Path]  # a checkout and its interpreter


def find_hosts() -> list[Host]:
    """Those of COMFYUI_PATH, or else an enclosing one, or else ~/comfy/ComfyUI: as `dev.py comfyui` looks for them."""
    asked = [path for path in os.environ.get("COMFYUI_PATH", "").split(os.pathsep) if path]
    found = []
    for path in asked or [""]:
        try:
            comfy = dev.find_comfyui({"COMFYUI_PATH": path}, PACK, Path.home())
        except dev.NoHost as reason:
            raise pytest.UsageError(str(reason)) from reason
        python = dev.python_of(comfy, os.environ) if comfy else None
        if python and python.exists():
            found.append((comfy, python))
        elif asked:
            raise pytest.UsageError(f"there is no interpreter for {comfy}. Name it with COMFYUI_PYTHON.")
    return found


@pytest.fixture(
    scope="session", params=find_hosts() or [None], ids=lambda host: host[0].name if host else "no host"
)
def host(request: pytest.FixtureRequest) -> Host:
    if request.param is None:
        pytest.skip(
            "NO COMFYUI FOUND: the nodes were not tested in a real host. Set COMFYUI_PATH and COMFYUI_PYTHON."
        )
    return request.param


@pytest.fixture(scope="session")
def ask(host: Host) -> Callable[[str], dict]:
    """`ask("inside.py")` runs that file in the host's interpreter and gives what it reports."""
    path, python = host

    def run(script: str) -> dict:
        done = subprocess.run(
            [str(python), str(Path(__file__).parent / script)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "COMFYUI_PATH": str(path)},
            timeout=1200,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
        assert lines, done.stdout[-2000:] + done.stderr[-4000:]
        return json.loads(lines[-1].removeprefix("REPORT "))

    return run


@pytest.fixture(scope="session")
def report(ask: Callable[[str], dict]) -> dict:
    """What `inside.py` measured in that host."""
    return ask("inside.py")
