"""Free wording is compared with the plain grammar, and never praised where neither is obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lumiere_core.train.probe import ATTRIBUTES, BUNDLED_PROBE, Probe, ProbeSpec, load_probe
from lumiere_core.train.report import Record
from lumiere_core.train.wording import Comparison, compare_wording, load_paraphrases, rows_of
from lumiere_core.train.world.scenes import WORLDS, Scene, held_out_list, render

PARAPHRASES = Path(__file__).parents[1] / "model" / "paraphrases.json"
BOAT = Scene("boat", "red", "sailing left", "sea", "by day")


def record(scene: Scene, obeys: bool) -> Record:
    words = {name: getattr(scene, name) for name in ATTRIBUTES}
    way = scene.direction if obeys else (-scene.direction[0], scene.direction[1])
    return Record(scene, 0, words, (0.0, 0.0), way, 0.01, 0.01, 0.01)


def comparison(plain: int, free: int, verdict: str = "") -> Comparison:
    """Of twenty captions so many are obeyed."""
    groups = [tuple(record(BOAT, i < count) for i in range(20)) for count in (plain, free)]
    return Comparison(rows_of(*groups), verdict, ("a crimson dinghy",) * 20, *groups)


@pytest.mark.parametrize(
    "plain, free, verdict, says",
    [
        (20, 19, "", "loses 5.0 points of 100.0, within 5."),
        (20, 18, "", "loses 10.0 points of 100.0, not within 5."),
        (9, 9, "", "does not count: only 45% of the plain captions are obeyed"),
        (
            20,
            20,
            "with free wording, the clips are dead",
            "does not count: with free wording, the clips are dead.",
        ),
    ],
)
def test_the_conclusion_is_one_sentence_that_may_be_quoted(plain, free, verdict, says):
    found = comparison(plain, free, verdict)
    assert says in found.conclusion and found.table().endswith(found.conclusion)
    assert found.table().count("lost: a crimson dinghy") == max(0, plain - free)


def test_obeyed_means_all_of_a_caption_at_once():
    rows = {row.name: row for row in comparison(20, 5).rows}
    assert (rows["colour"].plain, rows["colour"].free) == (1, 1)
    assert (rows["direction"].plain, rows["direction"].free) == (1, 0.25)
    assert (rows["obeyed"].plain, rows["obeyed"].free) == (1, 0.25)


def test_the_committed_paraphrases_stand_for_held_out_captions():
    pairs = load_paraphrases(PARAPHRASES, "small")
    assert len(pairs) >= 44 and len({said for said, _ in pairs}) == len(pairs)
    assert {scene.combination for _, scene in pairs} == set(held_out_list("small"))


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("no such thing", "no list of paraphrases"),
        ('[{"says": "x"}]', "no list of paraphrases"),
        ("[]", "is empty"),
        ('[{"says": "x", "stands_for": "a red zebra"}]', "the small world has no caption 'a red zebra'"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, text, complaint):
    path = tmp_path / "said.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        load_paraphrases(path, "small")
    with pytest.raises(ValueError, match="no list of paraphrases"):
        load_paraphrases(tmp_path / "not there.json", "small")


@pytest.mark.skipif(not BUNDLED_PROBE.exists(), reason="the bundled probe is not there")
def test_a_painter_that_cannot_read_one_wording_loses_just_that(tmp_path):
    scenes = [Scene("boat", "blue", "sailing right", "sea", "by day", seed=3), BOAT]
    pairs = [("a navy dinghy", scenes[0]), ("a crimson dinghy", scenes[1])]
    known = {scene.caption: scene for scene in scenes} | {"a crimson dinghy": BOAT, "a navy dinghy": BOAT}
    asked: list[tuple[str, int]] = []

    def make_clips(captions: list[str], seeds: list[int]) -> Tensor:
        asked.extend(zip(captions, seeds, strict=True))
        return torch.cat([render([known[caption]], 16) for caption in captions]) * 2 - 1

    found = compare_wording(make_clips, pairs, probe=load_probe(), num_frames=16, show=lambda line: None)
    assert asked == [(scenes[0].caption, 0), (BOAT.caption, 1), ("a navy dinghy", 0), ("a crimson dinghy", 1)]
    assert {row.name: (row.plain, row.free) for row in found.rows} == {
        "subject": (1, 1),
        "colour": (1, 0.5),
        "place": (1, 1),
        "time": (1, 1),
        "direction": (1, 0.5),
        "obeyed": (1, 0.5),
    }
    assert found.conclusion == "Free wording loses 50.0 points of 100.0, not within 5."
    assert f"lost: a navy dinghy (for: {scenes[0].caption})" in found.table()
    found.write(tmp_path / "wording.json")
    facts = json.loads((tmp_path / "wording.json").read_text(encoding="utf-8"))
    assert facts["conclusion"] == found.conclusion and len(facts["clips"]) == 2


def test_a_probe_of_another_world_is_refused():
    with pytest.raises(ValueError, match="other words"):
        compare_wording(lambda *_: torch.zeros(1), [("x", BOAT)], probe=Probe(ProbeSpec.of(WORLDS["full"])))
