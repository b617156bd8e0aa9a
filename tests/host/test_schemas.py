"""What saved workflows rely on stays: ids, the order of inputs, types and defaults; and every node has its words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
MOST_WIDGETS = 6
SOUGHT = ("image to video", "i2v", "cinemagraph", "inpaint", "outpaint", "extend", "edit video", "keyframes")
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


def stored(path: str) -> dict:
    return json.loads((PACK / path).read_text(encoding="utf-8"))


def test_a_saved_workflow_finds_its_nodes_as_they_were(report: dict) -> None:
    for name, frozen in stored("tests/schemas.json").items():
        now = report["schemas"].get(name)
        assert now, f"{name} is gone: workflows that hold it would break"
        kept = len(frozen["inputs"])
        assert now["inputs"][:kept] == frozen["inputs"], (
            f"{name}: inputs are appended, never moved or changed"
        )
        assert now["outputs"][: len(frozen["outputs"])] == frozen["outputs"], name


def test_every_node_is_frozen_and_has_its_words_and_its_help_page(report: dict) -> None:
    assert set(report["schemas"]) == set(stored("tests/schemas.json"))
    assert report["words"] == stored("locales/en/nodeDefs.json"), "run tests/host/inside.py --write"
    for name, words in report["words"].items():
        assert (PACK / "js" / "docs" / f"{name}.md").is_file(), f"{name} has no help page"
        assert words["description"] and all(i["tooltip"] for i in words["inputs"].values()), name


def test_no_node_shows_more_widgets_than_a_glance_takes_in(report: dict) -> None:
    for name, schema in report["schemas"].items():
        in_sight = [i for i, kind, _, folded in schema["inputs"] if kind in WIDGETS and not folded]
        assert len(in_sight) <= MOST_WIDGETS, f"{name} shows {in_sight}"


def test_what_an_artist_searches_by_name_is_found(report: dict) -> None:
    if None in report["sought"].values():
        pytest.skip("this host searches titles alone")
    said = {name: " / ".join(words).lower() for name, words in report["sought"].items()}
    assert not [word for word in SOUGHT if not any(word in words for words in said.values())]
