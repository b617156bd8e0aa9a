"""The instruments that judge generated clips are judged here."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lumiere_core.model.checkpoint import bundled
from lumiere_core.model.text import Tokenizer
from lumiere_core.train.data import Pool
from lumiere_core.train.evaluate import (
    Report,
    can_travel,
    changes,
    evaluate,
    flip_pairs,
    flips,
    held_out_scenes,
    read_clips,
)
from lumiere_core.train.probe import (
    ATTRIBUTES,
    BUNDLED_PROBE,
    Probe,
    ProbeSpec,
    batch_of,
    direction,
    draw_lesson,
    load_probe,
    save_probe,
    train_probe,
    velocity,
)
from lumiere_core.train.world.scenes import WORLDS, Scene, held_out_list, render, subject_path, vocabulary

SMALL = WORLDS["small"]
needs_probe = pytest.mark.skipif(not BUNDLED_PROBE.exists(), reason="the bundled probe is not there")


@pytest.fixture(scope="module")
def untrained() -> Probe:
    torch.manual_seed(0)
    return Probe(ProbeSpec.of(SMALL)).eval().requires_grad_(False)


def walk(x: float, y: float, num_frames: int = 80) -> Tensor:
    """Centres (1, T, 2) of a subject that crosses the middle at x, y frame widths a second."""
    seconds = torch.arange(num_frames) / 16 - num_frames / 32
    return 0.5 + torch.stack([x * seconds, y * seconds], dim=1)[None]


def painter(scenes: list[Scene], num_frames: int):
    """A model that draws the scene whose caption it reads."""
    known = {scene.caption: scene for scene in scenes}

    def make_clips(captions: list[str], seeds: list[int]) -> Tensor:
        return torch.cat([render([known[caption]], num_frames) for caption in captions]) * 2 - 1

    return make_clips


def score(make_clips, probe: Probe, **settings) -> Report:
    return evaluate(make_clips, probe=probe, show=lambda line: None, **settings)


# --- The tracker ---


@pytest.mark.parametrize("num_frames", [16, 80])
def test_a_straight_walk_has_its_own_speed(num_frames):
    torch.testing.assert_close(velocity(walk(0.12, -0.03, num_frames)), torch.tensor([[0.12, -0.03]]))


def test_the_tracker_survives_a_tenth_of_misread_frames_and_jitter():
    generator = torch.Generator().manual_seed(0)
    centres = walk(-0.12, 0) + 0.01 * torch.randn(1, 80, 2, generator=generator)
    centres[0, torch.randperm(80, generator=generator)[:8]] = torch.rand(8, 2, generator=generator)
    assert (velocity(centres) - torch.tensor([[-0.12, 0.0]])).abs().max() < 0.02


@pytest.mark.parametrize(
    "travel, way",
    [
        ((-0.11, 0.0), (-1, 0)),
        ((0.11, 0.01), (1, 0)),
        ((0.02, -0.10), (0, -1)),
        ((0.0, 0.10), (0, 1)),
        ((0.0, 0.0), (0, 0)),
        ((0.01, -0.02), (0, 0)),
    ],
)
def test_a_track_has_the_direction_of_its_longer_axis(travel, way):
    assert direction(velocity(walk(*travel))) == [way]


def test_the_true_path_of_every_held_out_scene_has_its_captions_direction():
    for scene in held_out_scenes("small"):
        assert direction(velocity(subject_path([scene]))) == [scene.direction], scene.caption


def test_a_pair_flips_only_when_both_captions_are_obeyed(untrained):
    left = Scene("boat", "red", "sailing left", "sea", "by day")
    record = read_clips(untrained, [left], [0], torch.zeros(1, 3, 2, 64, 64))[0][0]
    goes_left, goes_right = (replace(record, velocity=(x, 0.0)) for x in (-0.1, 0.1))
    obeys = replace(goes_right, scene=left.flipped())
    assert flips([goes_left], [obeys]) == 1
    assert flips([goes_right], [obeys]) == 0
    assert flips([goes_right], [replace(goes_left, scene=left.flipped())]) == 0


# --- Boiling and dynamic degree ---


def test_the_travel_of_a_rigid_subject_is_not_boiling():
    pixels = (torch.arange(64) + 0.5) / 64
    centres = walk(0.12, 0.0)
    distance = ((pixels - centres[0, :, :1])[:, None] ** 2 + (pixels - 0.5)[:, None] ** 2).sqrt()
    rigid = torch.sigmoid((0.15 - distance) * 60)[None, None].expand(1, 3, -1, -1, -1) * 2 - 1
    size = 0.15 + 0.01 * torch.tensor([1.0, -1.0]).repeat(40)[:, None, None]
    wobbling = torch.sigmoid((size - distance) * 60)[None, None].expand(1, 3, -1, -1, -1) * 2 - 1
    change, boiling = changes(rigid, centres)
    assert boiling < 0.2 * change
    change, boiling = changes(wobbling, centres)
    assert boiling > 0.6 * change


def test_a_frozen_clip_does_not_change():
    clip = torch.rand(2, 3, 1, 64, 64).expand(-1, -1, 16, -1, -1)
    for difference in changes(clip, walk(0.1, 0.0, 16).expand(2, -1, -1)):
        assert difference.tolist() == [0, 0]


def test_a_render_boils_like_itself(untrained):
    report = score(painter(held_out_scenes("small", 6), 16), untrained, prompts=6, pairs=0, num_frames=16)
    assert report.boiling == pytest.approx(1) and report.dynamic_degree == pytest.approx(1)
    assert all(figure.value == figure.real for figure in report.figures)


def test_frozen_clips_are_called_dead_and_noise_restless(untrained):
    settings = {"prompts": 4, "pairs": 2, "num_frames": 16}
    dead = score(lambda captions, _: torch.zeros(len(captions), 3, 16, 64, 64), untrained, **settings)
    assert dead.dynamic_degree == 0 and dead.boiling == 0 and "dead" in dead.verdict
    assert "dead" in dead.table()
    noise = score(lambda captions, _: torch.randn(len(captions), 3, 16, 64, 64), untrained, **settings)
    assert noise.dynamic_degree > 2 and "restless" in noise.verdict


def test_an_untrained_probe_is_not_trusted_and_all_is_written_down(untrained, tmp_path):
    settings = {"prompts": 9, "pairs": 3, "num_frames": 16}
    report = score(lambda captions, _: torch.zeros(len(captions), 3, 16, 96, 96), untrained, **settings)
    assert not report["colour"].trusted and "not to be trusted" in report.table()
    report.write(tmp_path / "scores.json")
    facts = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert {figure["name"] for figure in facts["figures"]} == {
        *ATTRIBUTES,
        "direction",
        "standing still",
        "caption flip",
    }
    assert [clip["seed"] for clip in facts["clips"]] == list(range(9))


@pytest.mark.parametrize(
    "clips, complaint",
    [
        (torch.zeros(1, 3, 16, 64, 64), "captions make"),
        (torch.zeros(2, 3, 64, 64), "captions make"),
        (torch.zeros(2, 3, 8, 64, 64), "8 frames"),
        (torch.full((2, 3, 16, 64, 64), torch.nan), "not numbers"),
    ],
)
def test_clips_of_another_kind_are_refused(untrained, clips, complaint):
    with pytest.raises(ValueError, match=complaint):
        score(lambda *_: clips, untrained, prompts=2, pairs=0, num_frames=16)


def test_a_probe_of_another_world_is_refused():
    with pytest.raises(ValueError, match="other words"):
        evaluate(lambda *_: torch.zeros(1), world="small", probe=Probe(ProbeSpec.of(WORLDS["full"])))


# --- What is asked ---


@pytest.mark.parametrize("said", ["", "{", "[1]", '[["ship", "red", "rising"]]', '[["fish"]]', "[" * 100_000])
def test_a_damaged_list_of_what_is_held_out_is_refused(monkeypatch, said):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: said)
    with pytest.raises(
        ValueError, match=r"held_out_small\.json does not list combinations of the small world"
    ):
        held_out_list("small")


def test_there_are_two_hundred_held_out_prompts():
    scenes = held_out_scenes("small")
    assert len({scene.caption for scene in scenes}) == len(scenes) >= 200
    assert {scene.combination for scene in scenes} == set(held_out_list("small"))
    assert len({scene.seed for scene in scenes}) == len(scenes)
    assert {scene.subject for scene in scenes if not can_travel(SMALL, scene)} == {"windmill", "campfire"}
    assert len(set(flip_pairs(scenes, 20))) == 20
    with pytest.raises(ValueError, match="held-out prompts"):
        held_out_scenes("small", 10_000)


def test_training_never_draws_a_held_out_combination_nor_mirrors_one_in():
    tokenizer = Tokenizer(vocabulary(SMALL))
    forbidden = {tokenizer(scene.caption).ids for scene in held_out_scenes("small")}

    def blank(scenes: list[Scene], rng: random.Random) -> Tensor:
        return torch.zeros(len(scenes), 3, 1, 1, 1)

    def seen(exclude) -> set[tuple[int, ...]]:
        """Captions that a pool can hand out."""
        pool = Pool(SMALL, blank, tokenizer, 4000, 8, exclude)
        pool.fill()
        return set(map(tuple, pool.ids.tolist())) | set(map(tuple, pool.mirrored[pool.may_mirror].tolist()))

    assert not seen(held_out_list("small")) & forbidden
    assert len(seen(()) & forbidden) > 100  # without the list they would come


# --- The probe ---


def test_the_probe_looks_where_the_frame_is(untrained):
    reading = untrained.read(torch.rand(2, 3, 3, 128, 96) * 2 - 1)
    assert reading.centre.shape == (2, 3, 2) and 0 < reading.centre.min() and reading.centre.max() < 1
    assert {name: rows.shape for name, rows in reading.logits.items()} == {
        "subject": (2, 5),
        "colour": (2, 6),
        "place": (2, 4),
        "time": (2, 3),
    }


def test_a_probe_comes_back_from_its_file(untrained, tmp_path):
    path = tmp_path / "probe.safetensors"
    save_probe(path, untrained)
    again = load_probe(path)
    assert again.spec == untrained.spec and path.stat().st_size < 2**20
    frames = torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(again(frames).centre, untrained(frames).centre, atol=2e-3, rtol=0)
    path.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_probe(path)
    with pytest.raises(ValueError, match="another kind, not a probe"):
        load_probe(bundled("base"))


@pytest.mark.parametrize("world", ["small", "full"])
def test_a_mirrored_lesson_mirrors_its_centres_and_keeps_its_words(world):
    spec, rng = ProbeSpec.of(WORLDS[world]), random.Random(0)
    lesson = draw_lesson(WORLDS[world], spec, rng, count=2, each=2)
    batch = batch_of([lesson], 32, torch.Generator().manual_seed(0))
    found = {True: 0, False: 0}
    for frame, labels, centre in zip(batch.frames, batch.labels, batch.centres, strict=True):
        for mirrored, frames in ((False, lesson.frames), (True, lesson.frames.flip(-1))):
            for i in (frames == frame).all(dim=(1, 2, 3)).nonzero().flatten().tolist():
                x, y = lesson.centres[i].tolist()
                assert centre.tolist() == pytest.approx([1 - x if mirrored else x, y])
                assert labels.tolist() == lesson.labels[i].tolist()
                found[mirrored] += 1
    assert min(found.values()) > 4


def test_training_a_probe_goes_somewhere():
    losses = []
    probe = train_probe(SMALL, steps=12, batch=32, progress=lambda done, total, loss: losses.append(loss))
    assert sum(losses[-3:]) < sum(losses[:3])
    assert all(p.isfinite().all() for p in probe.parameters()) and not probe.training


@needs_probe
def test_the_bundled_probe_reads_sixty_fresh_renders():
    probe, rng = load_probe(), random.Random(20_000)
    right, errors = {name: 0 for name in ATTRIBUTES}, []
    for _ in range(60):
        scene = SMALL.scene(rng)
        reading = probe.read(render([scene], 4, fps=0.8) * 2 - 1)
        for name, word in probe.words(reading)[0].items():
            right[name] += word == getattr(scene, name)
        errors.append((reading.centre - subject_path([scene], 4, fps=0.8)).norm(dim=-1).mean())
    assert min(right.values()) >= 57, right
    assert torch.stack(errors).mean() < 0.03


@needs_probe
def test_a_painter_passes_and_shuffled_captions_fail():
    report = score(painter(held_out_scenes("small", 16), 80), load_probe(), prompts=16, pairs=0)
    for name in (*ATTRIBUTES, "direction", "standing still"):
        assert report[name].trusted and report[name].value >= 0.95, report.table()
    for name in (*ATTRIBUTES, "direction"):
        assert report[name].shuffled < 0.7, report.table()
    assert not report.verdict
