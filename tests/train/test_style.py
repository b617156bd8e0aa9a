"""Tuning a style: on few pictures, within its size, by the prompt; the looks its bundled pictures are drawn in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from lumiere_core.cli import main
from lumiere_core.media.pictures import read_image, write_image
from lumiere_core.model.checkpoint import Lumiere
from lumiere_core.model.style import give_style, read_style
from lumiere_core.train.sheet import PROMPTS, sample_pictures
from lumiere_core.train.style.examples import caption_of, drawn_examples, read_examples, squares
from lumiere_core.train.style.measure import StyleGauge, statistics
from lumiere_core.train.style.save import save_tuned
from lumiere_core.train.style.tune import Examples, image_model, tune
from lumiere_core.train.world.looks import LOOKS, draw_look
from lumiere_core.train.world.scenes import render, subject_cover, subject_path

FACTS = {"license": "CC0", "trained_on": "flat red", "made_for": "tiny"}


def red(count: int = 2, size: int = 32) -> Examples:
    """Plain red pictures."""
    pictures = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(count, 3, size, size)
    return Examples(pictures, ["a boat"] * count)


@pytest.fixture(scope="module")
def network(tiny_spec, randomise) -> Lumiere:
    small = dataclasses.replace(tiny_spec, size=32)
    return image_model(small, randomise(Lumiere(small)).state_dict())


def test_tuning_on_red_pictures_makes_pictures_redder_with_each_alpha(network, tmp_path):
    before = {k: w.clone() for k, w in network.state_dict().items()}
    changes = tune(network, red(), steps=60)
    assert all(torch.equal(w, before[k]) for k, w in network.state_dict().items()), "the model stays as it is"
    path = save_tuned(tmp_path / "red.safetensors", changes, red(), **FACTS)
    assert read_image(path.with_suffix(".png")).shape == (32, 66, 3)
    far = []
    for alpha in (0.0, 0.5, 1.0):
        network.load_state_dict(before)
        give_style(network, read_style(path), alpha)
        made = sample_pictures(network, ["a boat"], steps=4)
        far.append(float((made.mean((2, 3)) - torch.tensor([1.0, -1.0, -1.0])).norm()))
    network.load_state_dict(before)
    assert far[0] > far[1] > far[2], far


def test_the_same_seed_gives_the_same_style_and_only_layers_that_work_on_pixels_change(network):
    one, two = (tune(network, red(), steps=2, seed=4) for _ in range(2))
    assert one.keys() == two.keys() and all(torch.equal(one[k].up, two[k].up) for k in one)
    assert not [k for k in one if k.startswith(("time", "text", "field"))]
    assert "out.2.weight" in one and "input_blocks.0.0.weight" in one


def test_tuning_works_in_the_inference_mode_that_the_host_runs_its_nodes_in(tiny_spec, randomise):
    small = dataclasses.replace(tiny_spec, size=32)
    with torch.inference_mode():
        pictures = red().pictures.clone()
    tensors = randomise(Lumiere(small)).state_dict()
    with torch.inference_mode():
        with torch.inference_mode(False):
            model = image_model(small, tensors)
        changes = tune(model, Examples(pictures, []), steps=2)
    assert max(float(c.up.abs().max()) for c in changes.values()) > 0


def test_a_cancelled_tuning_leaves_nothing(network, tmp_path):
    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int, what: str) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        save_tuned(tmp_path / "half.safetensors", tune(network, red(), 5, progress=cancel), red(), **FACTS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [0, 21, 500])
def test_no_picture_or_too_many_are_refused(network, count):
    with pytest.raises(ValueError, match=f"pictures is {count}, but it has to be between 1 and 20"):
        tune(network, red(count), 1)


def test_captions_for_other_pictures_are_refused(network):
    with pytest.raises(ValueError, match="2 pictures have 3 captions"):
        tune(network, Examples(red().pictures, ["a"] * 3), 1)


def test_super_resolution_is_not_tuned(ssr_spec, tiny_ssr):
    with pytest.raises(ValueError, match="tiny-ssr is a super-resolution model"):
        image_model(ssr_spec, tiny_ssr.state_dict())


def test_pictures_of_any_shape_and_kind_are_read_with_their_captions(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in {"a red-boat.png": (40, 90, 3), "IMG_1.png": (20, 20, 3)}.items():
        write_image(tmp_path / name, rng.integers(0, 255, shape, np.uint8))
    (tmp_path / "IMG_1.txt").write_text("a blue\nballoon", encoding="utf-8")
    (tmp_path / "notes.md").write_text("no picture", encoding="utf-8")
    found = read_examples(tmp_path, 32)
    assert found.pictures.shape == (2, 3, 32, 32) and found.captions == ["a blue balloon", "a red boat"]
    assert -1 <= found.pictures.min() and found.pictures.max() <= 1
    assert caption_of(tmp_path / "a red-boat.png") == "a red boat"


def test_a_wide_picture_gives_its_middle_square():
    wide = torch.zeros(10, 30, 3)
    wide[:, 10:20] = 1
    assert torch.equal(squares([wide], 5), torch.ones(1, 3, 5, 5))


def test_the_subject_s_cover_lies_where_the_subject_is():
    for scene in PROMPTS[:5]:
        cover = subject_cover([scene], 1, start=1.5)[0, 0, 0]
        x, y = subject_path([scene], 1, start=1.5)[0, 0]
        steps = (torch.arange(64) + 0.5) / 64
        at = (cover * steps).sum() / cover.sum(), (cover * steps[:, None]).sum() / cover.sum()
        assert abs(at[0] - x) < 0.06 and abs(at[1] - y) < 0.15, scene  # a tower stands below its sails
        assert 0.02 < cover.mean() < 0.3


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_is_the_same_at_every_call_and_no_plain_picture(look):
    scene = PROMPTS[3]
    one, two = (draw_look(look, [scene], [1.5]) for _ in range(2))
    plain = render([scene], 1, start=1.5)[:, :, 0]
    assert torch.equal(one, two) and one.shape == plain.shape and 0 <= one.min() and one.max() <= 1
    assert (one - plain).abs().mean() > 0.05


def test_bundled_examples_show_every_subject_equally_often():
    drawn = drawn_examples("glowing", 16, count=10)
    for subject in ("balloon", "boat", "fish", "windmill", "campfire"):
        assert sum(subject in caption for caption in drawn.captions) == 2
    assert drawn.pictures.shape == (10, 3, 16, 16) and 0 <= drawn.seconds.min() and drawn.seconds.max() <= 1


def test_the_command_tunes_a_style_and_generates_with_it(tmp_path, weights_files, capsys):
    pictures = tmp_path / "my pictures"
    pictures.mkdir()
    write_image(pictures / "a red boat.png", np.full((20, 20, 3), 90, np.uint8))
    base, ssr = map(str, weights_files)
    made = [
        "train",
        "style",
        "--images",
        str(pictures),
        "--steps",
        "2",
        "--out",
        str(tmp_path),
        "--from",
        base,
    ]
    assert main([*made, "--license", "CC-BY", "--device", "cpu"]) == 0
    path = tmp_path / "styles" / "my-pictures.safetensors"
    style = read_style(path)
    assert style.license == "CC-BY" and style.trained_on == "1 picture" and path.stat().st_size < 2 * 2**20
    clip = ["generate", "--weights", base, "--no-ssr", "--size", "16", "--frames", "2", "--steps", "1"]
    assert main([*clip, "--style", str(path), "--alpha", "0.5", "--out", str(tmp_path / "clip.mp4")]) == 0
    assert (tmp_path / "clip.mp4").is_file()
    assert "1 of 1 captions hold words the model knows" in capsys.readouterr().err
    assert Path(ssr).is_file()


def test_other_scenes_in_a_look_are_nearer_to_it_than_plain_ones_and_those_in_any_other_look():
    scenes = [dataclasses.replace(scene, seed=i) for i, scene in enumerate(PROMPTS * 2)]
    plain = torch.cat([render([scene], 1, 32, 32, start=1.0)[:, :, 0] for scene in scenes]) * 2 - 1
    drawn = {look: draw_look(look, scenes, [1.0] * len(scenes), 32) * 2 - 1 for look in LOOKS}
    for look in LOOKS:
        gauge = StyleGauge.of(drawn[look][:8], plain)
        own, *others = (
            gauge.distance(drawn[name][8:]) for name in sorted(LOOKS, key=lambda name: name != look)
        )
        assert own < 0.5 * min(*others, gauge.distance(plain[8:])), look


def test_a_picture_is_as_far_from_a_style_whichever_way_it_is_turned():
    picture = draw_look("glowing", PROMPTS[:1], [1.0], 32) * 2 - 1
    assert torch.allclose(statistics(picture), statistics(picture.flip(-1)), atol=1e-5)
