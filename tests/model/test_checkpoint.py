"""Weights files: what goes in comes out, and what is wrong with a file is said in a sentence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lumiere_core.config import from_dict, replace, to_dict
from lumiere_core.model import checkpoint
from lumiere_core.model.checkpoint import load, read, save


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
    for spec in (tiny_spec, ssr_spec, replace(tiny_spec, temporal=None)):
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
    facts = {"format": "lumiere", "format_version": "1", "spec": json.dumps(to_dict(described))}
    save_file(tensors, path, metadata=facts | metadata)
    return path


def test_a_newer_format_asks_for_an_update(tmp_path, tiny):
    with pytest.raises(ValueError, match="format 2.*Update the pack"):
        read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), format_version="2"))


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


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere.safetensors cannot be read"):
        read(tmp_path / "nowhere.safetensors")


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path, tiny):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be written"):
        save(tmp_path / "file" / "model.safetensors", tiny.spec, tiny.state_dict())
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_file_of_before(tmp_path, tiny, full_disk):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    with full_disk(), pytest.raises(ValueError, match="cannot be written"):
        save(path, tiny.spec, tiny.state_dict())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["base", "ssr"])
def test_the_bundled_weights_are_whole_small_and_labelled(kind):
    path = checkpoint.bundled(kind)
    weights = read(path)
    assert path.stat().st_size <= 16 * 2**20
    assert weights.spec.kind == kind
    assert "drawn world" in weights.spec.label
    assert all(torch.isfinite(t.float()).all() for t in weights.tensors.values())
    assert len(weights.spec.text.vocabulary) == 40


def test_a_file_that_does_not_say_what_it_holds_is_refused(tmp_path, tiny):
    for spec in ("", "[]", '{"name": "half"}'):
        with pytest.raises(ValueError, match=r"changed\.safetensors does not say what model it holds"):
            read(rewritten(tmp_path, tiny.spec, tiny.state_dict(), spec=spec))
