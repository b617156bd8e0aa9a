"""A real browser beside the real ComfyUI of `tests/host`; without either they skip, and say so once, loudly.

`CHROMIUM` may name the browser. `LUMIERE_SCREENSHOTS` may name a folder in which the pictures stay.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HOST_TESTS = Path(__file__).resolve().parents[1] / "host"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def load(name: str, folder: Path = HOST_TESTS) -> Any:
    """A file of the tests: they are no package."""
    spec = importlib.util.spec_from_file_location(f"{folder.name}_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


host = load("conftest").host
Server = load("server").Server
Frontend = load("frontend", Path(__file__).parent).Frontend


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if importlib.util.find_spec("playwright") is None or found is None:
        pytest.skip(
            "NO BROWSER FOUND: nothing was tested in a real frontend. pip install playwright, and set CHROMIUM."
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def server(browser: Any, host: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = Server(*host, tmp_path_factory.mktemp("comfy"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def to_prompt() -> Any:
    return load("workflow").to_prompt


@pytest.fixture(scope="session")
def shots(host: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = (
        Path(os.environ.get("LUMIERE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots")) / host[0].name
    )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module", params=("classic", "vue"))
def open_graph(
    browser: Any, server: Any, shots: Path, request: pytest.FixtureRequest
) -> Callable[[dict, str], Iterator[Any]]:
    """`yield from open_graph(workflow, name)`: a page with it in one of the renderers, closed at the end."""

    def opened(workflow: dict, name: str) -> Iterator[Any]:
        frontend = Frontend(browser, server, request.param, workflow, shots, name)
        yield frontend
        frontend.page.close()

    return opened
