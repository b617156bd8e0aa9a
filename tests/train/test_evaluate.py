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
from lumiere_core.train.data import Drawn, Pool
from lumiere_core.train.evaluate import changes, evaluate, flip_pairs, held_out_scenes, read_clips
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
from lumiere_core.train.report import Figure, Report, can_travel, flips, judged
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
    change, boiling, background = changes(rigid, centres)
    assert boiling < 0.2 * change and background < 0.01 * change
    change, boiling, _ = changes(wobbling, centres)
    assert boiling > 0.6 * change


def test_a_frozen_clip_does_not_change():
    clip = torch.rand(2, 3, 1, 64, 64).expand(-1, -1, 16, -1, -1)
    for difference in changes(clip, walk(0.1, 0.0, 16).expand(2, -1, -1)):
        assert difference.tolist() == [0, 0]


def test_the_background_is_what_lies_outside_the_subjects_box_and_a_screen_can_show():
    clip = torch.zeros(1, 3, 3, 64, 64)
    clip[:, :, 1, 24:40, 24:40] = 1  # in the box around the middle
    middle = torch.full((1, 3, 2), 0.5)
    assert changes(clip, middle)[2] == 0
    assert changes(clip, middle + 0.4)[2] == pytest.approx(256 * 253 / 255 / (64**2 - 22**2))  # box from 0.65
    clip[:, :, 1] = 1.9 / 255
    assert changes(clip, middle)[2] == 0 and changes(clip, middle)[0] > 0
    clip[:, :, 1] = 12 / 255
    assert changes(clip, middle)[2] == pytest.approx(10 / 255)


def test_a_render_boils_like_itself(untrained):
    report = score(painter(held_out_scenes("small", 6), 16), untrained, prompts=6, pairs=0, num_frames=16)
    assert report["boiling"].value == pytest.approx(1)
    assert report["dynamic degree"].value == pytest.approx(1)
    assert all(figure.value == pytest.approx(figure.real) for figure in report.figures if figure.count)


def test_an_untrained_probe_is_not_trusted_and_all_is_written_down(untrained, tmp_path):
    settings = {"prompts": 9, "pairs": 3, "num_frames": 16}
    report = score(lambda captions, _: torch.zeros(len(captions), 3, 16, 96, 96), untrained, **settings)
    assert not report["colour"].counts and "renders right" in report["colour"].note
    assert f"does not count: the instrument gets only {report['colour'].real:.3f}" in report.table()
    report.write(tmp_path / "scores.json")
    facts = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert {figure["name"] for figure in facts["figures"]} == {
        *ATTRIBUTES,
        "direction",
        "standing still",
        "caption flip",
        "dynamic degree",
        "background",
        "boiling",
    }
    assert "subject, colour and motion together" in facts["held_out"] and facts["held_out"] in report.table()
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


def test_training_never_draws_a_held_out_combination():
    tokenizer = Tokenizer(vocabulary(SMALL))
    forbidden = {tokenizer(scene.caption).ids for scene in held_out_scenes("small")}

    def blank(scenes: list[Scene], rng: random.Random) -> Drawn:
        return Drawn(torch.zeros(len(scenes), 3, 1, 1, 1), torch.zeros(len(scenes)))

    def seen(exclude) -> set[tuple[int, ...]]:
        """Captions that a pool can hand out."""
        pool = Pool(SMALL, blank, tokenizer, 4000, 8, exclude)
        pool.fill()
        return set(map(tuple, pool.ids.tolist()))

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
        assert report[name].real >= 0.97 and report[name].value >= 0.95, report.table()
    for name in (*ATTRIBUTES, "direction"):
        assert report[name].shuffled < 0.7, report.table()
    for name in (*ATTRIBUTES, "dynamic degree", "background", "boiling"):
        assert report[name].counts and not report[name].note, report.table()
    assert not report.verdict


# --- Rows that may be believed ---

ROW = Figure("colour", 0.9, 1.0, 0.2, 40)


@pytest.mark.parametrize(
    "row, verdict, alive, error, value, counts, note",
    [
        (ROW, "", True, 0.01, 0.9, True, ""),
        (replace(ROW, count=0), "", True, 0.01, None, False, "no prompt asks"),
        (replace(ROW, count=9), "", True, 0.01, 0.9, False, "only 9"),
        (replace(ROW, real=0.96), "", True, 0.01, 0.9, False, "0.960 of the renders"),
        (replace(ROW, value=0.2), "", True, 0.01, 0.2, True, "shuffled"),
        (ROW, "dead", False, 0.01, 0.9, True, "of single pictures: dead"),
        (ROW, "the background moves", True, 0.01, 0.9, True, ""),
        (replace(ROW, name="direction"), "the background moves", True, 0.01, 0.9, False, "moves"),
        (replace(ROW, name="direction"), "dead", False, 0.01, 0.9, False, "dead"),
        (replace(ROW, name="standing still"), "dead", False, 0.01, None, False, "dead"),
        (replace(ROW, name="boiling"), "dead", False, 0.01, 0.9, False, "dead"),
        (replace(ROW, name="boiling", shuffled=None), "", True, 0.04, 0.9, False, "tracker is off by 0.040"),
        (replace(ROW, name="background", value=0.5), "", True, 0.01, 0.5, True, "stiller"),
        (replace(ROW, name="background", value=1.6), "it moves", True, 0.01, 1.6, True, "it moves"),
        (replace(ROW, name="dynamic degree"), "dead", False, 0.01, 0.9, True, "dead"),
    ],
)
def test_a_row_says_why_it_does_not_count(row, verdict, alive, error, value, counts, note):
    found = judged(row, verdict, alive, error)
    assert (found.value, found.counts) == (value, counts)
    assert note in found.note and bool(found.note) == bool(note)


# --- Fakes ---

PAINT = {
    "red": (1, -1, -1),
    "orange": (1, 0.2, -1),
    "yellow": (1, 1, -1),
    "green": (-1, 0.6, -1),
    "blue": (-1, -1, 1),
    "purple": (0.2, -0.8, 0.4),
}
FRAMES = 16


class Forger:
    """Makes clips that only look as if they obeyed, out of renders of what was asked."""

    def __init__(self, scenes: list[Scene]) -> None:
        self.scenes = {scene.caption: scene for scene in (*(s.flipped() for s in scenes), *scenes)}
        self.generator = torch.Generator().manual_seed(0)
        self.drawn: dict[str, Tensor] = {}

    def noise(self, scene: Scene) -> Tensor:
        return torch.randn(1, 3, FRAMES, 64, 64, generator=self.generator)

    def real(self, scene: Scene) -> Tensor:
        if scene.caption not in self.drawn:
            self.drawn[scene.caption] = render([scene], FRAMES) * 2 - 1
        return self.drawn[scene.caption]

    def rolled(self, scene: Scene) -> Tensor:
        """One still picture that travels with its background at the speed of a subject, 0.12 widths a second."""
        still = render([scene], 1, start=2.5)[0, :, 0] * 2 - 1
        x, y = scene.direction
        steps = [0.12 * 64 * (i - FRAMES / 2) / 16 for i in range(FRAMES)]
        return torch.stack([still.roll((round(y * by), round(x * by)), (1, 2)) for by in steps], dim=1)[None]

    def grey(self, scene: Scene) -> Tensor:
        return torch.zeros(1, 3, FRAMES, 64, 64)

    def frozen(self, scene: Scene) -> Tensor:
        return self.real(scene)[:, :, :1].expand(-1, -1, FRAMES, -1, -1)

    def shuffled(self, scene: Scene) -> Tensor:
        return self.real(scene)[:, :, torch.randperm(FRAMES, generator=self.generator)]

    def reversed(self, scene: Scene) -> Tensor:
        return self.real(scene).flip(2)

    def another(self, scene: Scene) -> Tensor:
        """Another prompt's clip."""
        scenes = list(self.scenes.values())
        return self.real(scenes[(scenes.index(scene) + 5) % len(scenes)])

    def patch(self, scene: Scene) -> Tensor:
        """A patch of the right colour on the right path, over nothing."""
        x, y = subject_path([scene], FRAMES)[0].T[:, :, None]
        pixels = (torch.arange(64) + 0.5) / 64
        near = ((pixels - x)[:, None] ** 2 + (pixels - y)[:, :, None] ** 2).sqrt() < 0.15  # (T, H, W)
        return torch.where(near, torch.tensor(PAINT[scene.colour])[:, None, None, None], 0.0)[None]

    def noisy(self, scene: Scene) -> Tensor:
        return self.real(scene) + 0.04 * self.noise(scene)


@pytest.fixture(scope="module")
def forge():
    """The report on a fake: 24 prompts, a second long, 11 of them with a direction."""
    forger, probe = Forger(held_out_scenes("small", 24)), load_probe()

    def report(kind: str) -> Report:
        def make_clips(captions: list[str], seeds: list[int]) -> Tensor:
            return torch.cat([getattr(forger, kind)(forger.scenes[caption]) for caption in captions])

        return score(make_clips, probe, prompts=24, pairs=0, num_frames=FRAMES)

    return report


PICTURES = {"subject", "colour", "place", "time"}
ALL = PICTURES | {"direction", "dynamic degree", "background", "boiling"}


@needs_probe
@pytest.mark.parametrize(
    "kind, verdict, praised, direction_is",
    [
        ("real", "", ALL, 1),
        ("rolled", "does not stay", PICTURES, 1),
        ("grey", "dead", set(), 0),
        ("frozen", "dead", set(), 0),
        ("shuffled", "restless", set(), 0),
        ("reversed", "", ALL - {"direction"}, 0),
        ("noise", "restless", set(), None),
        ("another", "", {"dynamic degree", "background", "boiling"}, None),
        ("patch", "dead", set(), 1),
        ("noisy", "restless", set(), 1),
    ],
)
def test_no_fake_is_praised(forge, kind, verdict, praised, direction_is):
    """Praised: a row that counts, has no note and is at 0.8 or above."""
    report = forge(kind)
    table = report.table()
    assert (verdict in report.verdict) and bool(report.verdict) == bool(verdict), table
    assert {f.name for f in report.figures if f.counts and not f.note and f.value >= 0.8} == praised, table
    if direction_is is not None:
        assert report["direction"].value == pytest.approx(direction_is, abs=0.2), table
    assert report["direction"].counts == (not verdict), table
    assert (report["standing still"].value is None) == (verdict in ("dead", "restless")), table
    assert report["caption flip"].value is None and "no prompt asks" in report["caption flip"].note


@needs_probe
def test_a_rolled_picture_has_the_right_figures_and_none_that_counts(forge):
    report = forge("rolled")
    assert report["direction"].value == 1 and 0.5 < report["dynamic degree"].value < 2
    assert report["background"].value > 3 and report["background"].counts
    [line] = [line for line in report.table().splitlines() if line.startswith("direction")]
    assert " 1.000 " in line and "does not count: the background does not stay" in line
    assert "does not stay" in report["boiling"].note
