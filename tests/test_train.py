"""The recipe: what is drawn, what is trained, and that a stopped run goes on."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lumiere_core.checkpoint import read
from lumiere_core.text import Tokenizer
from lumiere_core.train import loop
from lumiere_core.train.commands import export
from lumiere_core.train.data import Pool, draw_windows
from lumiere_core.train.loop import Trainer, held_out_list, load_state, save_state
from lumiere_core.train.scenes import WORLDS, Scene, held_out, render, subject_path, vocabulary
from lumiere_core.train.stages import GPU_STAGES, STAGES, Phase, stage_for

SMALL = WORLDS["small"]
BALLOON = Scene("balloon", "red", "rising", "sea", "at sunset", seed=5)


def test_a_caption_reads_as_one_would_write_it():
    assert BALLOON.caption == "a red balloon rising over the sea at sunset"
    fish = Scene("fish", "orange", "swimming left", "underwater", "by day")
    assert fish.caption == "an orange fish swimming left underwater by day"
    assert fish.flipped().caption == "an orange fish swimming right underwater by day"
    assert fish.direction == (-1, 0) and BALLOON.direction == (0, -1)


def test_the_small_world_is_the_one_that_was_agreed():
    assert list(SMALL.subjects) == ["balloon", "boat", "fish", "windmill", "campfire"]
    assert SMALL.colours == ("red", "orange", "yellow", "green", "blue", "purple")
    assert set(SMALL.places) == {"sea", "meadow", "desert", "underwater"}
    assert len(vocabulary(SMALL)) == 40
    assert set(vocabulary(SMALL)) < set(vocabulary(WORLDS["full"]))


@pytest.mark.parametrize("world", ["small", "full"])
def test_the_committed_list_is_the_seeded_draw_and_leaves_every_pair(world):
    chosen = held_out_list(world)
    assert chosen == held_out(WORLDS[world])
    left = set(WORLDS[world].combinations()) - set(chosen)
    for subject, colour, motion in WORLDS[world].combinations():
        assert any(c[:2] == (subject, colour) for c in left)
        assert any((c[0], c[2]) == (subject, motion) for c in left)


def test_no_held_out_combination_is_ever_drawn_nor_mirrored_into_being():
    exclude = held_out_list("small")
    asked = []

    def draw(scenes, rng):
        asked.extend(scenes)
        return torch.zeros(len(scenes), 3, 1, 4, 4)

    pool = Pool(SMALL, draw, Tokenizer(vocabulary(SMALL)), 400, 8, exclude)
    pool.fill()
    assert len(asked) == 400 and not {s.combination for s in asked} & set(exclude)
    forbidden = {s.flipped().combination for s in asked} & set(exclude)
    assert forbidden  # some mirrors would be held out, and just those may not be mirrored
    for scene, may in zip(asked, pool.may_mirror.tolist(), strict=True):
        assert may == (scene.flipped().combination not in exclude)


def test_a_scene_is_the_same_picture_at_any_size_window_crop_and_company():
    whole = render([BALLOON], 80, 64, 64)
    torch.testing.assert_close(render([BALLOON], 16, 64, 64, start=2.0), whole[:, :, 32:48])
    other = replace(BALLOON, seed=9, colour="blue")
    torch.testing.assert_close(render([other, BALLOON], 4)[1:], whole[:, :, :4], atol=1e-5, rtol=0)
    large = render([BALLOON], 1, 256, 256)
    corner = render([BALLOON], 1, 128, 128, crop=torch.tensor([[0.5, 0.0, 1.0, 0.5]]))
    torch.testing.assert_close(corner, large[..., :128, 128:], atol=1e-5, rtol=0)
    assert (torch.nn.functional.avg_pool3d(large, (1, 4, 4)) - whole[:, :, :1]).abs().mean() < 0.01


def test_a_rising_balloon_rises():
    path = subject_path([BALLOON])
    assert path.shape == (1, 80, 2)
    assert path[0, 0, 1] - path[0, -1, 1] > 0.4 and (path[0, :, 0] - path[0, 0, 0]).abs().max() < 0.1


def tiny_stage(name: str) -> object:
    frames = 1 if name == "t2i" else 4
    return replace(STAGES[name], phases=(Phase(1.0, frames, 2, 8, 4, 2),))


def few_steps(trainer: Trainer, count: int) -> None:
    for _, (_, step, loss) in zip(range(count), trainer.run(), strict=False):
        assert loss == loss and step > 0


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """A folder with a few steps of the image stage in it."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    few_steps(Trainer(tiny_stage("t2i"), tmp_path, "tiny", "small", 5), 2)
    return tmp_path


def test_the_image_stage_trains_everything(runs):
    trainer = Trainer(tiny_stage("t2i"), runs, "tiny", "small", 5)
    assert len(trainer.trained) == len(list(trainer.model.parameters()))


def test_the_temporal_stage_trains_the_temporal_part_and_nothing_else(runs):
    trainer = Trainer(tiny_stage("temporal"), runs, "tiny", "small", 5)
    assert all(name.startswith("network.temporal.") for name in trainer.names)
    assert len(trainer.names) == sum("network.temporal." in n for n, _ in trainer.model.named_parameters())
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    few_steps(trainer, 3)
    changed = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    assert changed and changed <= set(trainer.names)


def test_a_stopped_run_goes_on_where_it_was(runs):
    tensors, facts = load_state(runs / "t2i")
    again = Trainer(tiny_stage("t2i"), runs, "tiny", "small", 5)
    assert again.step == facts["step"] >= 1
    assert again.seconds == facts["seconds"] > 0
    for name, p, ema in zip(again.names, again.trained, again.ema, strict=True):
        assert torch.equal(p, tensors[f"raw.{name}"]) and torch.equal(ema, tensors[f"ema.{name}"])
    few_steps(again, 2)
    assert load_state(runs / "t2i")[1]["step"] > facts["step"]


def test_states_are_written_in_pieces_that_travel_and_the_index_comes_last(tmp_path, monkeypatch):
    big = {str(i): torch.full((2**20,), float(i)) for i in range(9)}  # 36 MiB
    save_state(tmp_path, big, {"step": 1})
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    assert max(p.stat().st_size for p in tmp_path.iterdir()) <= 16 * 2**20

    real = loop.write_whole

    def dies_before_the_index(path, data):
        if path.name == "resume.json":
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(loop, "write_whole", dies_before_the_index)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path, {k: v + 1 for k, v in big.items()}, {"step": 2})
    tensors, facts = load_state(tmp_path)
    assert facts["step"] == 1 and torch.equal(tensors["3"], big["3"])


def test_another_preset_does_not_go_on_in_the_same_folder(runs):
    with pytest.raises(ValueError, match="another preset or world"):
        Trainer(tiny_stage("temporal"), runs, "mini-cpu", "small", 5)


def test_export_writes_a_file_that_loads(runs, tmp_path):
    few_steps(Trainer(tiny_stage("temporal"), runs, "tiny", "small", 5), 2)
    (path,) = export(runs, tmp_path / "weights")
    spec = read(path).spec
    assert spec.kind == "base" and spec.temporal is not None
    assert json.loads((runs / "temporal" / "resume.json").read_text(encoding="utf-8"))["spec"]["name"] == "tiny"
    with pytest.raises(ValueError, match="nothing to export"):
        export(tmp_path / "empty", tmp_path / "weights")


def test_windows_of_training_are_crops_of_the_right_size():
    clips = draw_windows(4, 64, crop=0.25)([BALLOON, replace(BALLOON, seed=2)], random.Random(0))
    assert clips.shape == (2, 3, 4, 16, 16)
    assert clips.min() >= 0 and clips.max() <= 1


def test_every_device_has_every_stage():
    assert stage_for("ssr", "cuda") is GPU_STAGES["ssr"] and stage_for("ssr", "cpu") is STAGES["ssr"]
    for rows in (STAGES, GPU_STAGES):
        assert all(sum(phase.share for phase in stage.phases) == pytest.approx(1) for stage in rows.values())
