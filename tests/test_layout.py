"""The house keeps its rules: who may import whom, what importing the pack costs, and what lies in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Each room and the rooms it may import, which stand above it here. A new folder or a new file at the top gets a row.
ROOMS = {
    "lumiere_core": "",
    "rules": "",
    "config": "rules",
    "progress": "",
    "limits": "",
    "outputs": "",
    "hosts": "",
    "model": "config limits outputs rules",
    "diffusion": "config limits",
    "media": "outputs progress limits",
    "photo": "media progress limits rules",
    "generate": "model diffusion config progress limits",
    "train.world": "",
    "train": "train.world generate model diffusion media config outputs hosts progress limits rules",
    "cli": "train train.world generate photo model diffusion media config outputs progress limits",
    "__main__": "cli",
    "nodes.tensors": "media",
    "nodes.host": "nodes.tensors train train.world media photo model diffusion config limits",
    "nodes": "nodes.host nodes.tensors train train.world photo model diffusion media config limits",
}
# Nodes for photos and finished clips: they start without a model, so nothing they import may bring the U-Net.
MODEL_FREE = (
    "nodes.photo.brush",
    "nodes.photo.camera",
    "nodes.photo.overlay",
    "nodes.photo.region",
    "nodes.finish",
)
MOST_MODULES = 12  # in one folder, beside its __init__

# Public names that stand for one idea in more than one place: every command's file has its own `register`.
SAME_IDEA = {"register"}

# Third-party packages: those of requirements.txt, torch, and numpy, which torch's users have.
PACKAGES = {"torch", "numpy", "einops", "safetensors", "cv2", "av", "PIL"}
PACKAGES_OF = dict.fromkeys(("rules", "config", "progress", "limits", "outputs", "hosts"), set()) | {
    "diffusion": {"torch"}
}

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


def room_of(path: tuple[str, ...]) -> str:
    """("lumiere_core", "train", "world", "scenes") is in the room train.world, ("nodes", "photo") in nodes."""
    parts = path[1:] if path[0] == "lumiere_core" else path
    for length in (2, 1):
        if len(parts) >= length and ".".join(parts[:length]) in ROOMS:
            return ".".join(parts[:length])
    return parts[0] if parts and is_module(path[:2]) else "lumiere_core"


def is_module(path: tuple[str, ...]) -> bool:
    return (ROOT / Path(*path)).is_dir() or Path(*path).as_posix() + ".py" in SOURCES


def module_of(name: str) -> tuple[str, ...]:
    """ "nodes/host/model.py" -> ("nodes", "host", "model"); a folder's `__init__.py` is the folder."""
    parts = tuple(name.removesuffix(".py").split("/"))
    return parts[:-1] if parts[-1] == "__init__" else parts


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
            for alias in node.names:  # `from . import a` brings the module a, `from .a import b` a name of it
                deeper = (*base, alias.name)
                yield (
                    node.lineno,
                    deeper if node.level and is_module(deeper) else tuple(base),
                    bool(node.level),
                )


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """(call, what it is called on, name) for every `name(...)` and `what.name(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node, "", node.func.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, getattr(node.func.value, "id", "?"), node.func.attr


def test_every_room_imports_only_what_its_row_allows():
    faults = []
    for name, tree in {**ENGINE, **NODES}.items():
        here = room_of(module_of(name))
        if here not in ROOMS:
            faults.append(f"{name}: the room {here} has no row in ROOMS")
            continue
        allowed = {"lumiere_core", here, *ROOMS[here].split()}
        for line, path, relative in imports(name, tree):
            if relative and path[0] != "lumiere_core" and name in ENGINE:
                faults.append(f"{name}:{line} reaches outside lumiere_core: {'.'.join(path)}")
            elif relative and room_of(path) not in allowed:
                faults.append(
                    f"{name}:{line} imports {'.'.join(path)}, but {here} may import {sorted(allowed)}"
                )
    assert not faults, "\n".join(faults)


def test_no_row_allows_an_arrow_up():
    rooms = list(ROOMS)
    assert not [
        (room, other)
        for room, allowed in ROOMS.items()
        for other in allowed.split()
        if rooms.index(other) >= rooms.index(room)
    ]


def drawing() -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """Which module imports which, also inside functions."""
    modules = {module_of(name) for name in (*ENGINE, *NODES)}
    return {
        module_of(name): {path for _, path, relative in imports(name, tree) if relative and path in modules}
        for name, tree in {**ENGINE, **NODES}.items()
    }


def reached(start: tuple[str, ...], arrows: dict) -> set[tuple[str, ...]]:
    """All that importing a module brings, without the folders' own `__init__` files, which import nothing here."""
    seen, todo = set(), [start]
    while todo:
        for module in arrows[todo.pop()] - seen:
            seen.add(module)
            todo.append(module)
    return seen


def test_the_drawing_of_imports_has_no_circle():
    arrows = drawing()
    assert len(arrows) > 50  # there is something to draw
    assert not [".".join(module) for module in arrows if module in reached(module, arrows)]


def test_the_nodes_that_need_no_model_never_reach_the_network():
    arrows = drawing()
    for node in MODEL_FREE:
        far = {".".join(module) for module in reached(tuple(node.split(".")), arrows)}
        assert any(module.startswith("lumiere_core.photo.") for module in far)
        assert not {m for m in far if m.startswith(("lumiere_core.model", "lumiere_core.diffusion"))}


def test_importing_the_nodes_that_need_no_model_loads_no_network():
    # Stand-ins for the host, and a `nodes` package without its list of all nodes.
    script = """
import importlib, sys, types
from unittest.mock import MagicMock
for name in ("comfy", "comfy.model_management", "comfy.utils", "comfy_api", "comfy_api.latest"):
    sys.modules[name] = MagicMock()
sys.modules["comfy_api.latest"].io.ComfyNode = object
for name, folder in (("pack", ""), ("pack.nodes", "/nodes")):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [sys.argv[1] + folder]
for name in sys.argv[2:]:
    importlib.import_module("pack." + name)
print(*(name.removeprefix("pack.") for name in sys.modules if name.startswith("pack.")))
"""
    line = [sys.executable, "-c", script, str(ROOT), *MODEL_FREE]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert "lumiere_core.photo.region" in loaded and "nodes.host.notify" in loaded
    assert not [name for name in loaded if name.startswith(("lumiere_core.model", "lumiere_core.diffusion"))]


def test_no_folder_holds_more_modules_than_one_can_survey():
    folders: dict[str, int] = {}
    for name in (*ENGINE, *NODES):
        folder, _, file = name.rpartition("/")
        folders[folder] = folders.get(folder, 0) + (file != "__init__.py")
    assert not {folder: n for folder, n in folders.items() if n > MOST_MODULES}


def public_names(tree: ast.Module) -> Iterator[str]:
    """What a module defines at its top: functions, classes and constants, without what it imports."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (leaf.id for leaf in ast.walk(target) if isinstance(leaf, ast.Name))


def test_one_name_stands_for_one_thing():
    places: dict[str, list[str]] = {}
    for name, tree in {**ENGINE, **NODES}.items():
        for defined in {n for n in public_names(tree) if not n.startswith("_")}:
            places.setdefault(defined, []).append(name)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert not {name: found for name, found in twice.items() if name not in SAME_IDEA}
    assert set(twice) == SAME_IDEA  # the list holds nothing that is gone


def test_the_engine_knows_no_host_and_only_declared_packages():
    faults = []
    for name, tree in ENGINE.items():
        packages = PACKAGES_OF.get(room_of(module_of(name)), PACKAGES)
        faults += [
            f"{name}:{line} imports {'.'.join(path)}"
            for line, path, relative in imports(name, tree)
            if not relative and path[0] not in packages and path[0] not in sys.stdlib_module_names
        ]
    assert not faults, "\n".join(faults)


def test_nodes_reach_the_engine_by_relative_imports():
    faults = []
    for name, tree in NODES.items():
        for line, path, relative in imports(name, tree):
            if not relative and path[0] == "lumiere_core":
                faults.append(
                    f"{name}:{line} imports lumiere_core by its absolute name, which ComfyUI does not have"
                )
            if relative and path[0] not in ("nodes", "lumiere_core"):
                faults.append(f"{name}:{line} reaches {'.'.join(path)}")
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
    assert max(path.stat().st_size for path in FILES) <= 17 * 2**20  # the base model
