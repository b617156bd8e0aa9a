"""The documents name files, functions and nodes that exist, and every help page describes the node it belongs to."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "weights/MODEL_CARD.md", "benchmarks/README.md"]
MADE_BY_RUNNING = ("output/", "runs/", "models/", "ComfyUI/", "main.py", "resume.json")
FOLDERS = (
    "",
    "lumiere_core",
    "lumiere_core/model",
    "lumiere_core/train",
    "nodes",
    "weights",
)  # paths start in one
SOURCES = [path for room in ("lumiere_core", "nodes") for path in sorted((ROOT / room).rglob("*.py"))]
SECTION = "## Where does it go?"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_in(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


def defined_names() -> set[str]:
    """Functions, classes, constants, fields and parameters of the engine and the nodes."""
    names = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_names_files_that_exist(name: str) -> None:
    text = text_of(name)
    paths = [
        c for c in code_in(text) if re.fullmatch(r"[\w./-]+(/|\.(py|md|json|toml|svg|txt|safetensors))", c)
    ]
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    paths = [path for path in paths if not path.startswith(MADE_BY_RUNNING)]
    gone = [path for path in paths if not any((ROOT / folder / path).exists() for folder in FOLDERS)]
    gone += [link for link in links if not (ROOT / name).parent.joinpath(link).exists()]
    assert not gone
    assert paths or links  # there was something to look for


def test_where_things_go_names_functions_that_exist() -> None:
    section = text_of("CONTRIBUTING.md").split(SECTION)[1].split("\n## ")[0]
    names = {code.removesuffix("()") for code in code_in(section)}
    names = {name for name in names if re.fullmatch(r"[A-Za-z]\w{3,}", name)} - {"paint", "execute", "comfy"}
    assert len(names) > 25
    assert not names - defined_names()


def test_the_worked_cases_are_there() -> None:
    section = text_of("CONTRIBUTING.md").split(SECTION)[1].split("\n## ")[0]
    cases = re.findall(r"^### (.*)$", section, re.M)
    assert [case.split(":")[0] for case in cases] == [
        "A condition",
        "A style",
        "A backbone of another family",
        "A tool for photos",
        "A brush preset",
        "A loop",
    ]


@pytest.mark.parametrize("page", sorted((ROOT / "js/docs").glob("*.md")), ids=lambda path: path.stem)
def test_a_help_page_has_its_node_s_title_and_names_no_widget_it_lacks(page: Path) -> None:
    words = json.loads(text_of("locales/en/nodeDefs.json"))
    text = page.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# " + words[page.stem]["display_name"]
    known = {part["name"] for kind in ("inputs", "outputs") for part in words[page.stem][kind].values()}
    named = {word for bold in re.findall(r"^- \*\*([a-z_, ]+)\*\*", text, re.M) for word in bold.split(", ")}
    assert not named - known


def test_the_help_pictures_show_today_s_nodes_and_no_others() -> None:
    spec = importlib.util.spec_from_file_location("help_pictures", ROOT / "tests/help_pictures.py")
    drawn = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawn)
    made = {path.name: picture for path, picture in drawn.pictures().items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "js/docs").glob("*.svg")}
    assert made == there, "run tests/help_pictures.py --write"
    for page in (ROOT / "js/docs").glob("*.md"):
        assert f"({page.stem}.svg)" in page.read_text(encoding="utf-8")
