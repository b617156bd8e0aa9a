"""The recipe: what is drawn, what is trained, and that a stopped run goes on."""

from __future__ import annotations

import json
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lumiere_core.cli.train import export
from lumiere_core.model.checkpoint import Lumiere, read
from lumiere_core.model.text import Tokenizer
from lumiere_core.train import trainer as trainer_room
from lumiere_core.train.data import Batch, Drawn, Pool, draw_pairs, draw_windows
from lumiere_core.train.stages import GPU_STAGES, STAGES, Phase, dropped, freeze, left_by, stage_for
from lumiere_core.train.state import load_state
from lumiere_core.train.trainer import Trainer
from lumiere_core.train.world.scenes import (
    LICENSE,
    TRAINED_ON,
    WORLDS,
    Scene,
    held_out,
    held_out_list,
    render,
    subject_path,
    vocabulary,
)

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


def test_no_held_out_combination_is_ever_drawn():
    exclude = held_out_list("small")
    asked = []

    def draw(scenes, rng):
        asked.extend(scenes)
        return Drawn(torch.zeros(len(scenes), 3, 1, 4, 4), torch.zeros(len(scenes)))

    pool = Pool(SMALL, draw, Tokenizer(vocabulary(SMALL)), 400, 8, exclude)
    pool.fill()
    assert len(asked) == 400 and not {s.combination for s in asked} & set(exclude)


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
    monkeypatch.setattr(trainer_room, "SAVE_EVERY", 0.0)
    few_steps(Trainer(tiny_stage("t2i"), tmp_path, "tiny", "small", 5), 2)
    return tmp_path


def test_the_image_stage_trains_everything(runs):
    trainer = Trainer(tiny_stage("t2i"), runs, "tiny", "small", 5)
    assert len(trainer.trained) == len(list(trainer.model.parameters()))


def test_the_temporal_stage_trains_the_temporal_part_and_nothing_else(runs):
    trainer = Trainer(tiny_stage("temporal"), runs, "tiny", "small", 5)
    assert set(trainer.names) == {
        n for n, _ in trainer.model.named_parameters() if n.startswith("network.temporal.")
    }
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


def test_another_preset_does_not_go_on_in_the_same_folder(runs):
    with pytest.raises(ValueError, match="another preset or world"):
        Trainer(tiny_stage("temporal"), runs, "mini-cpu", "small", 5)


def test_a_network_that_says_something_else_is_not_gone_on_with(runs):
    """Trained as v and read as x0 it would be noise, and the temporal stage could not mend its frozen last layer."""
    stage = tiny_stage("temporal")
    tiny = stage.spec("tiny")
    other = replace(tiny, diffusion=replace(tiny.diffusion, prediction="x0"))
    with pytest.raises(ValueError, match=r"t2i says v, but this preset's says x0"):
        Trainer(replace(stage, spec=lambda preset: other), runs, "tiny", "small", 5)
    with pytest.raises(ValueError, match="says v, but"):
        Trainer(
            replace(tiny_stage("t2i"), spec=lambda preset: replace(other, kind="image", temporal=None)),
            runs,
            "tiny",
            "small",
            5,
        )


def test_a_stage_starts_from_a_weights_file(runs, tmp_path):
    few_steps(Trainer(tiny_stage("temporal"), runs, "tiny", "small", 5), 2)
    (path,) = export(runs, tmp_path / "weights")
    tensors = read(path).tensors
    temporal = Trainer(tiny_stage("temporal"), tmp_path / "new", "tiny", "small", 5, source=path)
    assert all(torch.equal(p, tensors[name].float()) for name, p in temporal.model.named_parameters())
    image = Trainer(tiny_stage("t2i"), tmp_path / "new", "tiny", "small", 5, source=path)
    assert all(torch.equal(p, tensors[name].float()) for name, p in image.model.named_parameters())
    with pytest.raises(ValueError, match=r"(unet|text) differs \(channels \(16, 24, 32\) at patch 2"):
        Trainer(tiny_stage("temporal"), tmp_path / "other", "mini-cpu", "small", 5, source=path)


def test_super_resolution_learns_beside_the_base_model(runs, tmp_path, ssr_spec):
    few_steps(Trainer(tiny_stage("temporal"), runs, "tiny", "small", 5), 2)
    shutil.copytree(runs / "t2i", tmp_path / "image" / "temporal")
    stage = replace(tiny_stage("ssr"), spec=lambda preset: ssr_spec, gauged=16)
    trainer = Trainer(stage, runs, "tiny", "small", 5)
    few_steps(trainer, 2)
    assert trainer.pool.small.shape[-1] * 4 == trainer.pool.clips.shape[-1]
    assert not any(p.requires_grad for p in trainer.before.parameters())
    trainer.log()
    entry = json.loads((runs / "ssr" / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert set(entry["gain"]) == set(entry["boiling"]) == {"exact", "spoilt"}
    with pytest.raises(ValueError, match="kind image, but super-resolution learns beside a base model"):
        Trainer(stage, tmp_path / "image", "tiny", "small", 5)


def test_export_writes_a_file_that_loads(runs, tmp_path):
    few_steps(Trainer(tiny_stage("temporal"), runs, "tiny", "small", 5), 2)
    (path,) = export(runs, tmp_path / "weights")
    weights = read(path)
    assert weights.spec.kind == "base" and weights.spec.temporal is not None
    assert (weights.license, weights.trained_on) == (LICENSE, TRAINED_ON)
    assert (
        json.loads((runs / "temporal" / "resume.json").read_text(encoding="utf-8"))["spec"]["name"] == "tiny"
    )
    with pytest.raises(ValueError, match="nothing to export"):
        export(tmp_path / "empty", tmp_path / "weights")


def test_windows_of_training_have_the_right_size():
    clips, start, small = draw_windows(4, 16)([BALLOON, replace(BALLOON, seed=2)], random.Random(0))
    assert clips.shape == (2, 3, 4, 16, 16) and start.shape == (2,) and small is None
    assert clips.min() >= 0 and clips.max() <= 1


def test_every_second_small_clip_is_spoilt_and_lies_where_its_crop_does():
    scenes, rng = [replace(BALLOON, seed=i) for i in range(4)], random.Random(0)
    whole = {}

    def spoil(clips, which, start, rng):
        assert clips.shape == (2, 3, 3, 16, 16) and which == scenes[1::2]
        whole.update(zip((1, 3), clips, strict=True))
        return 1 - clips

    clips, _, small = draw_pairs(3, 64, 4, 0.5, spoil)(scenes, rng)
    assert clips.shape == (4, 3, 3, 32, 32) and small.shape == (4, 3, 3, 8, 8)
    exact = F.avg_pool3d(clips, (1, 4, 4))
    for i in range(4):
        mirrored = 1 - small[i] if i % 2 else small[i]
        away = [(mirrored.roll(by, -1) - exact[i]).abs().mean().item() for by in (0, 1, -1)]
        assert away[0] < 0.03 and away[0] < min(away[1:]), (i, away)
    assert torch.equal(small[0], exact[0])
    assert not torch.equal(small[1], 1 - exact[1])  # cut from the whole small clip, not shrunk from the crop


def test_a_pair_stays_a_pair():
    def draw(scenes, rng):
        clips = torch.rand(len(scenes), 3, 1, 8, 8)
        return Drawn(clips, torch.zeros(len(scenes)), F.avg_pool3d(clips, (1, 4, 4)))

    pool = Pool(SMALL, draw, Tokenizer(vocabulary(SMALL)), 64, 8)
    pool.fill()
    batch = pool.sample(64)
    assert (F.avg_pool3d(batch.clips, (1, 4, 4)) - batch.small).abs().max() < 0.01


def test_what_a_model_leaves_is_its_answer_at_a_late_step(tiny_spec):
    """A network that says v = 0 gives back alpha^2 of what it was shown: duller, and with the noise in it."""
    model = Lumiere(tiny_spec)
    grey = torch.full((2, 3, 4, 32, 32), 0.75)
    left = left_by(model, 16.0)(grey, [BALLOON, BALLOON], torch.zeros(2), random.Random(0))
    assert left.shape == grey.shape and 0 <= left.min() and left.max() <= 1
    for clip in left:  # sigma 0.15 to 2: alpha^2 from 0.98 to 0.2
        assert 0.5 + 0.2 * 0.24 < clip.mean() < 0.5 + 0.99 * 0.26
        assert clip.std() > 0.03


def test_every_device_has_every_stage():
    assert stage_for("ssr", "cuda") is GPU_STAGES["ssr"] and stage_for("ssr", "cpu") is STAGES["ssr"]
    for rows in (STAGES, GPU_STAGES):
        assert all(sum(phase.share for phase in stage.phases) == pytest.approx(1) for stage in rows.values())


def test_a_clip_keeps_its_words():
    """Clips that are white on the side they go to: a windmill turns one way, so none may be mirrored."""
    words = vocabulary(SMALL)

    def draw(scenes, rng):
        clips = torch.zeros(len(scenes), 3, 1, 4, 4)
        for clip, scene in zip(clips, scenes, strict=True):
            if scene.direction[0]:
                clip[..., slice(0, 2) if scene.direction[0] < 0 else slice(2, 4)] = 1
        return Drawn(clips, torch.zeros(len(scenes)))

    pool = Pool(SMALL, draw, Tokenizer(words), 400, 8)
    pool.fill()
    batch = pool.sample(2000)
    sides = {"left": 0, "right": 0}
    for clip, row in zip(batch.clips, batch.ids.tolist(), strict=True):
        for word in {words[i - 2] for i in row if i} & set(sides):
            sides[word] += 1
            white, black = (clip[..., :2], clip[..., 2:])[:: 1 if word == "left" else -1]
            assert white.min() == 1 and black.max() == -1
    assert min(sides.values()) > 100


def test_each_frame_knows_its_second():
    draw = draw_windows(20, 8, fps=4.0)
    pool = Pool(SMALL, draw, Tokenizer(["a"]), 4, 4, fps=4.0)
    pool.fill()
    when = pool.sample(3).when
    torch.testing.assert_close(when, (torch.arange(20) / 20).expand(3, -1))  # all 5 s, so all begin at 0


def test_captions_and_seconds_are_left_out_as_often_as_the_row_says():
    row = replace(STAGES["t2i"], empty_caption=0.25, no_second=0.5)
    batch = Batch(torch.zeros(4000, 3, 1, 1, 1), torch.ones(4000, 32, dtype=torch.long), torch.rand(4000, 2))
    ids, when = dropped(row, batch, torch.Generator().manual_seed(0))
    assert (ids == 0).all(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (when < 0).all(dim=1).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(when[when >= 0], batch.when[when >= 0])


def test_old_clips_make_room_for_new_ones():
    count = iter(range(100))

    def draw(scenes, rng):
        return Drawn(torch.full((4, 3, 1, 2, 2), next(count) / 255), torch.zeros(4))

    pool = Pool(SMALL, draw, Tokenizer(["a"]), 8, 4)
    pool.fill()
    pool.refresh()
    assert pool.filled == 8 and pool.clips[:, 0, 0, 0, 0].tolist() == [2] * 4 + [1] * 4


@pytest.mark.parametrize("name", WORLDS)
def test_every_subject_can_be_drawn_wherever_it_lives(name):
    world, rng = WORLDS[name], random.Random(0)
    for subject, habits in world.subjects.items():
        for place in habits.places:
            scene = world.scene(rng, subject=subject, place=place)
            clip = render([scene], 2, 16, 16)
            assert clip.isfinite().all() and 0 <= clip.min() and clip.max() <= 1
            assert clip.std() > 0.01, scene


def test_a_subject_has_its_colour_where_it_is_said_to_be():
    for colour, channel in (("red", 0), ("blue", 2)):
        scene = Scene("balloon", colour, "standing still", "meadow", "by day", seed=4)
        x, y = (round(float(v) * 63) for v in subject_path([scene], 1)[0, 0])
        patch = render([scene], 1)[0, :, 0, y - 3 : y + 4, x - 3 : x + 4].mean((1, 2))
        assert patch.argmax() == channel, (colour, patch)


def test_subjects_go_where_their_words_say():
    rng = random.Random(1)
    for _ in range(60):
        scene = WORLDS["full"].scene(rng)
        step = subject_path([scene])[0].diff(dim=0).sum(0)
        for axis, way in enumerate(scene.direction):
            assert way == 0 or step[axis] * way > 0.1, scene


def one_loss(stage: str, model) -> float:
    """One step's gradients, at the stage's own loss."""
    row = STAGES[stage]
    for p in freeze(row, model):
        p.grad = None
    frames = 1 if stage == "t2i" else 4
    clips = torch.rand(2, 3, frames, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    small = F.avg_pool3d(clips, (1, model.spec.scale, model.spec.scale))
    batch = Batch(clips, torch.full((2, 32), 2), torch.rand(2, frames), small)
    loss = row.loss(row, row.phases[0], model, batch, torch.Generator().manual_seed(0))
    loss.backward()
    return loss.item()


@pytest.mark.parametrize("stage", STAGES)
def test_one_step_reaches_just_what_its_stage_trains(stage, tiny_spec, ssr_spec, randomise):
    spec = {"t2i": replace(tiny_spec, temporal=None, kind="image"), "temporal": tiny_spec, "ssr": ssr_spec}[
        stage
    ]
    model = randomise(Lumiere(spec))
    assert one_loss(stage, model) > 0
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    meant = {"t2i": "", "temporal": "network.temporal.", "ssr": "network."}[stage]
    wanted = {name for name, _ in model.named_parameters() if name.startswith(meant)}
    resting = {f"network.temporal.condition.{part}" for part in ("weight", "bias")}
    # Keys' biases move no softmax; rows that no caption named stay as they are.
    assert reached <= wanted
    assert {name for name in wanted - reached if "bias" not in name} <= resting


def test_a_model_that_knows_nothing_loses_what_there_is_to_know(tiny_spec):
    """A fresh network says zero; v has the variance of clip and noise, whatever the time."""
    fresh = Lumiere(replace(tiny_spec, temporal=None, kind="image"))
    row, generator = STAGES["t2i"], torch.Generator().manual_seed(1)
    clips = torch.randn(64, 3, 1, 16, 16, generator=generator)
    batch = Batch(clips, torch.zeros(64, 32, dtype=torch.long), torch.zeros(64, 1))
    assert row.loss(row, row.phases[0], fresh, batch, generator).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shift", [None, 2.0])
def test_training_draws_lie_where_the_shift_puts_them(tiny_spec, shift):
    """At shift 4 half of the draws are above sigma 4; a phase may have a shift of its own."""
    told = []

    class Network(torch.nn.Module):
        def forward(self, noisy, t, context, condition, when):
            told.append(t)
            return noisy

    spec = replace(tiny_spec, diffusion=replace(tiny_spec.diffusion, shift=4.0))
    model = Lumiere(spec)
    model.network = Network()
    row = STAGES["temporal"]
    batch = Batch(
        torch.zeros(4000, 3, 2, 1, 1), torch.zeros(4000, 32, dtype=torch.long), torch.zeros(4000, 2)
    )
    phase = replace(row.phases[0], shift=shift)
    row.loss(row, phase, model, batch, torch.Generator().manual_seed(0))
    sigma = torch.tan(torch.pi / 2 * told[0])
    assert sigma.median().item() == pytest.approx(shift or 4, rel=0.1)
    assert sigma.max() < 955.5  # sampling starts there


def test_a_run_that_is_told_to_end_saves_first(runs):
    trainer = Trainer(tiny_stage("t2i"), runs, "tiny", "small", 5)
    handler = signal.getsignal(signal.SIGTERM)
    for _, step, _ in trainer.run():
        trainer_room.SAVE_EVERY = 1e9  # the fixture's patch is undone after the test
        if step == 4:
            signal.raise_signal(signal.SIGTERM)
        assert step <= 4
    assert load_state(runs / "t2i")[1]["step"] == 4
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_stage_goes_from_short_clips_to_long_ones(runs):
    stage = replace(STAGES["temporal"], phases=(Phase(0.5, 2, 1, 4, 2, 9), Phase(0.5, 6, 1, 4, 2, 9)))
    trainer = Trainer(stage, runs, "tiny", "small", 1)
    for seconds, frames in ((0, 2), (29, 2), (31, 6), (60, 6)):
        trainer.seconds = float(seconds)
        trainer.enter_phase()
        assert trainer.pool.clips.shape[2] == frames


def test_the_step_grows_then_rests_then_falls_to_nothing(runs):
    trainer = Trainer(tiny_stage("t2i"), runs, "tiny", "small", 1)
    rates = []
    for step, share in ((0, 0.0), (100, 0.1), (1000, 0.5), (2000, 0.75), (3000, 1.0)):
        trainer.step, trainer.seconds = step, 60 * share
        rates.append(trainer.learning_rate() / trainer.stage.lr)
    assert rates == pytest.approx([1 / 200, 101 / 200, 1, 0.02 + 0.49, 0.02], abs=1e-6)


def test_a_stage_without_the_one_it_needs_says_so(tmp_path):
    with pytest.raises(ValueError, match="Run that stage first"):
        Trainer(tiny_stage("temporal"), tmp_path, "tiny", "small", 1)
