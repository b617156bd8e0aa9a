"""Weights files: what goes in comes out, and what is wrong with a file is said in a sentence."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lumiere_core.config import PRESETS, from_dict, replace, to_dict
from lumiere_core.diffusion.process import PREDICTIONS
from lumiere_core.model import checkpoint, container
from lumiere_core.model.checkpoint import load, read, save
from lumiere_core.model.layers import DOWNSAMPLE, UPSAMPLE


def test_a_saved_model_comes_back_as_it_was(tiny, weights_files):
    again = load(weights_files[0])
    assert again.spec == tiny.spec
    assert len(again.hash) == 12
    x, t = torch.randn(1, 3, 4, 8, 8), torch.tensor([0.3])
    context = tiny.text.encode(["a red balloon"])
    assert tiny.network(x, t, context).std() > 0.01
    torch.testing.assert_close(
        again.network(x, t, again.text.encode(["a red balloon"])),
        tiny.network(x, t, context),
        atol=2e-2,
        rtol=2e-2,
    )


def test_a_spec_survives_its_way_through_json(tiny_spec, ssr_spec):
    for spec in (tiny_spec, ssr_spec, replace(tiny_spec, temporal=None, kind="image")):
        assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec


def test_the_file_may_be_replaced_while_its_model_is_in_use(tmp_path, tiny, weights_files):
    path = tmp_path / "in_use.safetensors"
    path.write_bytes(weights_files[0].read_bytes())
    model = load(path)
    before = model.text.encode(["red"])
    maps = Path("/proc/self/maps")
    assert not maps.exists() or path.name not in maps.read_text(encoding="utf-8")
    path.write_bytes(b"something else")
    assert torch.equal(model.text.encode(["red"]), before)
    os.replace(shutil.copy(weights_files[1], tmp_path / "new"), path)
    assert load(path).spec.kind == "ssr"
    assert torch.equal(model.text.encode(["red"]), before)


ORIGIN = {"license": "CC0-1.0", "trained_on": "noise"}


def test_where_weights_come_from_travels_with_them(tmp_path, tiny):
    save(tmp_path / "model.safetensors", tiny.spec, tiny.state_dict(), **ORIGIN)
    weights = read(tmp_path / "model.safetensors")
    assert (weights.license, weights.trained_on) == ("CC0-1.0", "noise")


def test_what_could_not_be_read_again_is_not_written(tmp_path, tiny):
    path, whole = tmp_path / "model.safetensors", tiny.state_dict()
    with pytest.raises(ValueError, match=r"1 of \d+ tensors hold NaN or infinity \(network\.out\.2\.bias\)"):
        save(
            path, tiny.spec, whole | {"network.out.2.bias": torch.full((12,), 1e6)}, **ORIGIN
        )  # float16 ends at 65504
    with pytest.raises(ValueError, match="rescale is 2"):
        save(path, replace(tiny.spec, diffusion=replace(tiny.spec.diffusion, rescale=2)), whole, **ORIGIN)
    assert not path.exists()


def broken(tmp_path, data: bytes):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("length", [0, 5, 100, 5000])
def test_a_file_that_was_cut_off_says_so(tmp_path, weights_files, length):
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read(broken(tmp_path, weights_files[0].read_bytes()[:length]))


def test_a_file_that_is_no_safetensors_at_all_says_so(tmp_path):
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read(broken(tmp_path, b"PK\x03\x04" * 100))


def test_a_model_of_another_kind_is_named(tmp_path):
    path = tmp_path / "sd15.safetensors"
    save_file({"model.diffusion_model.out.2.weight": torch.zeros(4)}, path)
    with pytest.raises(ValueError, match=r"sd15\.safetensors is a safetensors file of another kind"):
        read(path)


def rewritten(tmp_path, described, tensors, **metadata):
    path = tmp_path / "changed.safetensors"
    facts = {"format": "lumiere", "format_version": "2", "spec": json.dumps(to_dict(described))}
    save_file(tensors, path, metadata=facts | metadata)
    return path


def test_a_newer_format_asks_for_an_update(tmp_path, tiny):
    with pytest.raises(ValueError, match="format 3.*reads 2.*Update the pack"):
        read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), format_version="3"))


def test_an_older_format_is_refused_with_what_makes_a_new_one(tmp_path, tiny):
    with pytest.raises(ValueError, match="format 1.*reads 2.*train export"):
        read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), format_version="1"))


def test_a_description_of_tomorrow_asks_for_an_update(tmp_path, tiny):
    spec = to_dict(tiny.spec) | {"aura": 3}
    with pytest.raises(ValueError, match="aura.*Update the pack"):
        read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), spec=json.dumps(spec)))


def test_missing_unexpected_and_misshapen_tensors_are_named(tmp_path, tiny):
    whole = tiny.state_dict()
    lacking = {k: v for k, v in whole.items() if k != "network.out.2.weight"}
    with pytest.raises(ValueError, match=r"lacks 1 .*network\.out\.2\.weight"):
        read(rewritten(tmp_path, tiny.spec, lacking))
    with pytest.raises(ValueError, match=r"unexpected 1 .*network\.halo"):
        read(rewritten(tmp_path, tiny.spec, whole | {"network.halo": torch.zeros(1)}))
    with pytest.raises(ValueError, match=r"other sizes in 1 .*network\.out\.2\.bias"):
        read(rewritten(tmp_path, tiny.spec, whole | {"network.out.2.bias": torch.zeros(7)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_no_numbers_are_named(tmp_path, tiny, value):
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of its tensors \(network\.out\.2\.bias\)"):
        read(
            rewritten(
                tmp_path, tiny.spec, tiny.state_dict() | {"network.out.2.bias": torch.full((12,), value)}
            )
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.int16, torch.float8_e4m3fn])
def test_weights_of_another_dtype_are_refused(tmp_path, tiny, dtype):
    whole = tiny.state_dict()
    with pytest.raises(ValueError, match=r"dtypes other than F16, BF16, F32 in 1 .*network\.out\.2\.bias"):
        read(
            rewritten(
                tmp_path, tiny.spec, whole | {"network.out.2.bias": whole["network.out.2.bias"].to(dtype)}
            )
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtypes_that_weights_are_kept_in_are_read(tmp_path, tiny, dtype):
    path = rewritten(tmp_path, tiny.spec, {k: v.to(dtype) for k, v in tiny.state_dict().items()})
    assert load(path).network.dtype == torch.float32


def described_as(tmp_path, tiny, change, tensors=None):
    described = to_dict(tiny.spec)
    change(described)
    tensors = tiny.state_dict() if tensors is None else tensors
    return rewritten(tmp_path, tiny.spec, tensors, spec=json.dumps(described))


def test_a_network_that_the_file_does_not_hold_is_not_built(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(container, "shapes_of", lambda *_: pytest.fail("it was built"))
    with pytest.raises(
        ValueError, match=r"changed\.safetensors does not describe .*depth is 1000000000.* to 48"
    ):
        read(described_as(tmp_path, tiny, lambda spec: spec["text"].update(depth=10**9)))
    with pytest.raises(ValueError, match=r"describes 616 tensors or more, but holds \d+"):
        read(described_as(tmp_path, tiny, lambda spec: spec["text"].update(depth=48)))


def test_asking_what_a_network_needs_costs_no_memory(tiny_spec):
    wide = replace(
        tiny_spec,
        unet=replace(tiny_spec.unet, channels=(8192, 8192), blocks=(1, 1), attention=(True, True)),
        temporal=replace(tiny_spec.temporal, strides=(2,)),
    )
    shapes = container.shapes_of(checkpoint.MODEL_FILE, wide)  # 30 GB, if it were built
    assert sum(math.prod(shape) for shape in shapes.values()) > 4e9


@pytest.mark.parametrize("version", ["", "-1", "1.0", "\u0663", "9" * 5000])
def test_a_format_that_is_no_number_is_refused(tmp_path, tiny, version):
    with pytest.raises(ValueError, match=r"changed\.safetensors does not say which format it has"):
        read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), format_version=version))


def test_a_licence_with_signs_for_the_terminal_is_refused(tmp_path, tiny):
    with pytest.raises(ValueError, match=r"license is .*x1b.*a line of"):
        read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), license="\x1b]0;x\x07"))


def test_bytes_behind_the_last_tensor_are_refused(tmp_path, weights_files):
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read(broken(tmp_path, weights_files[0].read_bytes() + bytes(100)))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere.safetensors cannot be read"):
        read(tmp_path / "nowhere.safetensors")


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: it is a folder, or no ordinary file"):
        read(tmp_path)
    if os.name != "nt":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match="pipe cannot be read: it is a folder, or no ordinary file"):
            read(tmp_path / "pipe")


def test_other_bytes_of_the_same_size_and_time_are_another_file(tmp_path):
    path = tmp_path / "model.safetensors"
    prints = []
    for data in (b"one", b"two", b"one"):
        path.write_bytes(data)
        os.utime(path, ns=(1, 1))
        prints.append(container.digest(path))
    assert prints[0] == prints[2] != prints[1]


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path, tiny):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be written"):
        save(tmp_path / "file" / "model.safetensors", tiny.spec, tiny.state_dict(), **ORIGIN)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_file_of_before(tmp_path, tiny, full_disk):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    with full_disk(), pytest.raises(ValueError, match="cannot be written"):
        save(path, tiny.spec, tiny.state_dict(), **ORIGIN)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["base", "ssr"])
def test_the_bundled_weights_are_whole_small_and_labelled(kind):
    path = checkpoint.bundled(kind)
    weights = read(path)
    assert path.stat().st_size <= 17 * 2**20
    assert weights.spec.kind == kind
    assert "drawn world" in weights.spec.label
    assert all(torch.isfinite(t.float()).all() for t in weights.tensors.values())
    assert len(weights.spec.text.vocabulary) == 40


def test_a_file_that_does_not_say_what_it_holds_is_refused(tmp_path, tiny):
    for spec in ("", "[" * 100_000):
        with pytest.raises(ValueError, match=r"changed\.safetensors does not say what it holds"):
            read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), spec=spec))
    for spec in ("[]", '{"name": "half"}'):
        with pytest.raises(
            ValueError, match=r"changed\.safetensors does not describe a Lumiere model: spec "
        ):
            read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), spec=spec))


def test_every_spec_that_is_taken_can_be_built_and_run():
    rng, taken = random.Random(0), 0
    few = {
        "channels": ([16, 24, 32], [8, 16], [7, 8, 8], [12, 12, 24, 24]),
        "blocks": ([1, 1, 1], [1, 1], [2, 1, 1], [1, 2, 1, 1]),
        "attention": ([False, True, True], [True, True], [False, False, False, True]),
        "patch": (1, 2, 3, 4),
        "embed_width": (0, 12, 14, 32),
        "context_dim": (1, 16, 20),
        "word_dim": (0, 16),
        "timed_width": (0, 5, 24),
        "field_rank": (0, 3, 8),
        "head_dim": (1, 2, 4, 8),
        "groups": (1, 2, 4, 8),
        "low_res_channels": (0, 0, 3),
        "noise_level": (False, False, True),
        "residual": (False, False, True),
    }
    over_time = {
        "strides": ([2, 2], [1, 4], [3], [2, 1, 2]),
        "kernel": (1, 3, 5),
        "head_dim": (1, 2, 8),
        "condition_channels": (0, 4),
    }
    words = {
        "vocabulary": ([], ["red"]),
        "rows": (1, 9),
        "width": (1, 16, 20),
        "depth": (1, 2),
        "heads": (1, 2, 4),
        "raw_words": (True, True, False),
    }

    def draw(fields, share):
        return {name: rng.choice(choices) for name, choices in fields.items() if rng.random() < share}

    for _ in range(150):
        share = rng.choice((0.1, 0.2, 0.3))
        kind = rng.choice(("base", "base", "ssr", "image"))
        preset = json.loads(json.dumps(to_dict(PRESETS["tiny"])))
        preset["unet"] |= draw(few, share)
        preset["text"] |= draw(words, share)
        preset["temporal"] = None if kind == "image" else preset["temporal"] | draw(over_time, share)
        if kind == "ssr":
            preset["unet"] |= {"low_res_channels": 3, "noise_level": True}
        unet = preset["unet"]
        scale = unet["patch"] if kind == "ssr" else 1
        try:
            spec = from_dict(preset | {"kind": kind, "scale": scale, "size": 96})
        except ValueError:
            continue
        taken += 1
        shapes = container.shapes_of(checkpoint.MODEL_FILE, spec)
        assert checkpoint.MODEL_FILE.least(spec) <= len(shapes)
        if taken % 10 or kind == "image":
            continue
        model, side = checkpoint.Lumiere(spec), spec.unet.size_multiple
        x, more = torch.zeros(1, 3, 3, side, side), {}
        if kind == "ssr":
            low = torch.zeros(1, 3, 3, side // spec.scale, side // spec.scale)
            more = {"low_res": low, "noise_level": torch.zeros(1)}
        assert model.network(x, torch.ones(1), model.text.encode(["red"]), **more).shape == x.shape
    assert taken > 20


def test_every_row_of_the_tables_may_stand_in_a_spec():
    tables = {
        "unet": {"resize_kind": DOWNSAMPLE},
        "diffusion": {"prediction": PREDICTIONS},
    }
    assert DOWNSAMPLE.keys() == UPSAMPLE.keys()
    for part, fields in tables.items():
        for field, table in fields.items():
            for row in table:
                described = json.loads(json.dumps(to_dict(PRESETS["tiny"])))
                described[part][field] = row
                assert getattr(getattr(from_dict(described), part), field) == row
