"""Without OpenCV everything loads: cv2 is imported where it is used, and nowhere else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOAD_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
sys.modules |= dict.fromkeys(("cv2", "av", "PIL"))  # importing them now raises ModuleNotFoundError
import lumiere_core
names = [m.name for m in pkgutil.walk_packages(lumiere_core.__path__, "lumiere_core.") if "__main__" not in m.name]
assert len(names) > 15, names
for name in names:
    importlib.import_module(name)
"""


def imported_at_once(tree: ast.AST) -> Iterator[str]:
    """What the module imports when it is loaded: nothing that stands inside a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imported_at_once(node)


def test_every_module_of_the_engine_loads_without_opencv_pyav_and_pillow():
    done = subprocess.run([sys.executable, "-c", LOAD_ALL, str(ROOT)], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_what_needs_opencv_says_which_release_to_install(monkeypatch):
    from lumiere_core.media.pictures import opencv

    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    line = re.search(r'^opencv = \["(.+)"\]', project, re.M)[1]
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match=f"pip install {re.escape(line)}$"):
        opencv()


def test_no_file_of_the_pack_imports_opencv_when_it_is_loaded():
    files = [ROOT / "__init__.py", *(ROOT / "nodes").rglob("*.py"), *(ROOT / "lumiere_core").rglob("*.py")]
    faults = [
        str(file.relative_to(ROOT))
        for file in files
        if "cv2" in imported_at_once(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert len(files) > 20 and not faults


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import cv2", True),
        ("try:\n import os, cv2.ximgproc\nexcept ImportError:\n cv2 = None", True),
        ("class A:\n from cv2 import resize", True),
        ("def f():\n import cv2", False),
        ("class A:\n async def f(self):\n  from cv2 import resize", False),
        ("from . import cv2", False),
    ],
)
def test_the_search_tells_at_once_from_where_it_is_used(source, found):
    assert ("cv2" in imported_at_once(ast.parse(source))) == found
