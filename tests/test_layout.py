"""The house keeps its rules: who may import whom, what importing the pack costs, and what lies in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Each room of lumiere_core and the rooms it may import. A new room gets a row here.
BLOCKS = "config functional layers"
ROOMS = {
    "__init__": "",
    "config": "",
    "functional": "",
    "layers": "functional",
    "unet": BLOCKS,
    "temporal": BLOCKS,
    "stunet": BLOCKS + " temporal unet",
    "text": BLOCKS,
    "schedules": "config",
    "denoise": "config schedules",
    "guidance": "denoise",
    "samplers": "",
    "windows": "denoise",
    "prompts": "",
    "examples": "brush opencv",
    "conditioning": "",
    "checkpoint": "config stunet unet text",
    "video": "config functional opencv",
    "opencv": "",
    "measure": "config functional video",
    "region": "opencv",
    "steady": "opencv region",
    "loop": "opencv",
    "brush": "opencv region",
    "clip": "loop opencv region steady",
    "commands": "brush clip loop opencv steady video",
}
ROOMS["generate"] = " ".join(ROOMS)  # it assembles
ROOMS["selftest"] = " ".join(ROOMS)
ROOMS["train"] = " ".join(ROOMS) + " train"
ROOMS["__main__"] = " ".join(ROOMS)

# Third-party packages: those of requirements.txt, torch, and numpy, which torch's users have.
PACKAGES = {"torch", "numpy", "einops", "safetensors", "cv2", "imageio_ffmpeg"}
PACKAGES_OF = {"config": set(), "functional": {"torch", "einops"}, "samplers": {"torch"}}

NOT_OURS = {".git", ".venv", "venv", "runs", "output", "__pycache__", ".ruff_cache", ".pytest_cache"}
TEXT = {"", ".py", ".md", ".txt", ".toml", ".json", ".js", ".css", ".html", ".yml", ".yaml", ".cfg"}


def our_files() -> list[Path]:
    """Tracked files and new ones that git does not ignore; in a tree without git, all but the usual by-products."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    names = (
        listing.stdout.decode("utf-8").split("\0")
        if (ROOT / ".git").exists() and not listing.returncode
        else []
    )
    found = [ROOT / name for name in names if name] or [
        path for path in ROOT.rglob("*") if not NOT_OURS & set(path.relative_to(ROOT).parts)
    ]
    return sorted({path for path in found if path.is_file()})


FILES = our_files()
SOURCES = {path.relative_to(ROOT).as_posix(): path for path in FILES if path.suffix == ".py"}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), name) for name, path in SOURCES.items()}
ENGINE = {name: tree for name, tree in TREES.items() if name.startswith("lumiere_core/")}
NODES = {name: tree for name, tree in TREES.items() if name.startswith("nodes/")}


def room_of(parts: tuple[str, ...]) -> str:
    """("lumiere_core", "train", "loop") is in the room train; what is no module is a name of __init__."""
    if len(parts) > 1 and (
        (ROOT / "lumiere_core" / parts[1]).is_dir() or f"lumiere_core/{parts[1]}.py" in SOURCES
    ):
        return parts[1]
    return "__init__"


def imports(name: str, tree: ast.AST) -> Iterator[tuple[int, tuple[str, ...], bool]]:
    """(line, dotted path, was it relative) of every import, also those inside functions."""
    folder = ["<pack>", *name.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split(".")), False
        elif isinstance(node, ast.ImportFrom):
            base = folder[1 : len(folder) - node.level + 1] if node.level <= len(folder) else ["<outside>"]
            base = [*(base if node.level else []), *(node.module.split(".") if node.module else [])]
            if node.level and (not node.module or base == ["lumiere_core"]):  # from . import a, b
                for alias in node.names:
                    yield node.lineno, (*base, alias.name), True
            else:
                yield node.lineno, tuple(base), bool(node.level)


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """(call, what it is called on, name) for every `name(...)` and `what.name(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node, "", node.func.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, getattr(node.func.value, "id", "?"), node.func.attr


def test_every_room_imports_only_what_its_row_allows():
    faults = []
    for name, tree in ENGINE.items():
        here = room_of(tuple(name.removesuffix(".py").split("/")))
        if here not in ROOMS:
            faults.append(f"{name}: the room {here} has no row in ROOMS")
            continue
        allowed = {"__init__", *ROOMS[here].split()}
        for line, path, relative in imports(name, tree):
            if relative and path[0] != "lumiere_core":
                faults.append(f"{name}:{line} reaches outside lumiere_core: {'.'.join(path)}")
            elif relative and room_of(path) not in allowed:
                faults.append(
                    f"{name}:{line} imports {'.'.join(path)}, but {here} may import {sorted(allowed)}"
                )
    assert not faults, "\n".join(faults)


def test_the_engine_knows_no_host_and_only_declared_packages():
    faults = []
    for name, tree in ENGINE.items():
        packages = PACKAGES_OF.get(room_of(tuple(name.removesuffix(".py").split("/"))), PACKAGES)
        faults += [
            f"{name}:{line} imports {'.'.join(path)}"
            for line, path, relative in imports(name, tree)
            if not relative and path[0] not in packages and path[0] not in sys.stdlib_module_names
        ]
    assert not faults, "\n".join(faults)


def test_nodes_reach_the_engine_by_relative_imports_and_never_its_training():
    faults = []
    for name, tree in NODES.items():
        for line, path, relative in imports(name, tree):
            if not relative and path[0] == "lumiere_core":
                faults.append(
                    f"{name}:{line} imports lumiere_core by its absolute name, which ComfyUI does not have"
                )
            if relative and path[0] not in ("nodes", "lumiere_core"):
                faults.append(f"{name}:{line} reaches {'.'.join(path)}")
            if relative and path[:2] == ("lumiere_core", "train"):
                faults.append(f"{name}:{line} imports the training code")
    assert not faults, "\n".join(faults)


def test_importing_the_pack_pulls_in_nothing_heavy():
    # ComfyUI imports a pack under its path as the name.
    script = """
import importlib.util, inspect, sys
spec = importlib.util.spec_from_file_location("/somewhere/lumiere", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
pack = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
assert inspect.iscoroutinefunction(pack.comfy_entrypoint)
assert not hasattr(pack, "NODE_CLASS_MAPPINGS"), "with it, ComfyUI would ignore comfy_entrypoint"
assert pack.WEB_DIRECTORY == "./js"
heavy = {"torch", "numpy", "cv2", "comfy"} & set(sys.modules)
assert not heavy, heavy
assert not [name for name in sys.modules if "lumiere_core" in name or name.endswith(".nodes")]
"""
    done = subprocess.run([sys.executable, "-c", script, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_are_small_enough_to_read_at_once():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    assert not {name: n for name, n in lengths.items() if n >= 450 and (name in ENGINE or name in NODES)}


def test_text_files_are_utf8_with_unix_line_ends():
    for path in FILES:
        if path.suffix in TEXT:
            raw = path.read_bytes()
            assert b"\r" not in raw and raw.decode("utf-8") is not None, path


def test_text_is_opened_with_an_encoding():
    other_openers = {"Image", "os", "av", "tarfile", "webbrowser", "wave", "?"}
    faults = []
    for name, tree in TREES.items():
        for call, on, what in calls(tree):
            given = {keyword.arg for keyword in call.keywords}
            position = {"read_text": 0, "write_text": 1}.get(what)
            if what == "open" and on not in other_openers:
                modes = [
                    *call.args[1 if on == "" else 0 :][:1],
                    *(k.value for k in call.keywords if k.arg == "mode"),
                ]
                binary = any("b" in str(getattr(mode, "value", "")) for mode in modes)
                if not binary and "encoding" not in given:
                    faults.append(f"{name}:{call.lineno}")
            elif position is not None and "encoding" not in given and len(call.args) <= position:
                faults.append(f"{name}:{call.lineno}")
    assert not faults, faults


def test_nothing_is_unpickled_or_evaluated():
    faults = []
    for name, tree in TREES.items():
        faults += [
            f"{name}:{line} imports {path[0]}"
            for line, path, _ in imports(name, tree)
            if path[0] in ("pickle", "cPickle", "dill", "shelve", "joblib", "marshal")
        ]
        for call, on, what in calls(tree):
            if (on, what) in (("torch", "load"), ("", "eval"), ("", "exec")):
                faults.append(f"{name}:{call.lineno} calls {what}")
            if any(k.arg == "allow_pickle" and getattr(k.value, "value", 1) for k in call.keywords):
                faults.append(f"{name}:{call.lineno} allows pickles")
    assert not faults, faults


def test_no_file_names_a_folder_of_one_machine():
    machine = re.compile(
        r"(?<![\w.~])/(work|root|home|Users|mnt|opt)(?=[/\s\"'`)]|$)|\b[A-Za-z]:[\\/]+Users\b", re.M
    )
    faults = [
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in FILES
        if path.suffix in TEXT
        for hit in machine.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not faults, faults


def test_the_tree_stays_small_enough_to_clone():
    assert sum(path.stat().st_size for path in FILES) < 60 * 2**20
    assert max(path.stat().st_size for path in FILES) <= 16 * 2**20
