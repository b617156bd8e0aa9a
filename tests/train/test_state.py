"""What a run keeps: the last two states, whole or named as damaged, and a folder for one trainer at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lumiere_core.cli import main
from lumiere_core.train import state
from lumiere_core.train.state import BEFORE, LAST, averaged, load_state, locked, save_state, step_back

ROOT = Path(__file__).resolve().parents[2]


def test_states_are_written_in_pieces_that_travel_and_the_index_comes_last(tmp_path, monkeypatch):
    big = {str(i): torch.full((2**20,), float(i)) for i in range(9)}  # 36 MiB
    save_state(tmp_path, big, {"step": 1})
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    assert max(p.stat().st_size for p in tmp_path.iterdir()) <= 16 * 2**20

    real = state.write_whole

    def dies_before_the_index(path, data):
        if path.name == "resume.json":
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(state, "write_whole", dies_before_the_index)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path, {k: v + 1 for k, v in big.items()}, {"step": 2})
    tensors, facts = load_state(tmp_path)
    assert facts["step"] == 1 and torch.equal(tensors["3"], big["3"])


def test_a_save_that_dies_while_rewriting_its_own_step_keeps_the_one_before(tmp_path, full_disk):
    tensors = {"a": torch.arange(4096.0)}
    save_state(tmp_path, tensors, {"step": 7})
    with full_disk(), pytest.raises(ValueError, match="cannot be written"):
        save_state(tmp_path, tensors, {"step": 7})
    assert torch.equal(load_state(tmp_path)[0]["a"], tensors["a"])
    assert not list(tmp_path.glob(".part-*"))


def saved(folder: Path, *steps: int) -> None:
    for step in steps:
        save_state(folder, {"a": torch.full((64,), float(step))}, {"step": step})


def shards_of(folder: Path, index: str) -> list[Path]:
    return [folder / name for name in json.loads((folder / index).read_text(encoding="utf-8"))["shards"]]


def test_the_last_two_states_are_kept_and_no_third(tmp_path):
    saved(tmp_path, 1, 2, 3)
    assert load_state(tmp_path)[1]["step"] == 3
    kept = {*shards_of(tmp_path, LAST), *shards_of(tmp_path, BEFORE)}
    assert len(kept) == 2 and kept == set(tmp_path.glob("*.safetensors"))
    assert step_back(tmp_path) == 2
    tensors, facts = load_state(tmp_path)
    assert facts["step"] == 2 and torch.equal(tensors["a"], torch.full((64,), 2.0))
    saved(tmp_path, 4)  # and a run that went back goes on like any other
    assert load_state(tmp_path)[1]["step"] == 4 and step_back(tmp_path) == 2


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the last byte of a tensor: safetensors itself would not notice
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path: Path) -> None:
    path.write_bytes(b"")  # what a power cut leaves of a file that was not on the disk yet


@pytest.mark.parametrize("harm", [flipped, cut, emptied, Path.unlink])
def test_a_damaged_state_is_named_and_the_one_before_is_offered(tmp_path, harm):
    saved(tmp_path, 1, 2)
    (shard,) = shards_of(tmp_path, LAST)
    harm(shard)
    with pytest.raises(ValueError, match=f"{shard.name} is .* of step 1, is whole: add --before"):
        load_state(tmp_path)
    assert step_back(tmp_path) == 1 and load_state(tmp_path)[1]["step"] == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"shards": 3, "step": 1}', '{"shards": {}, "step": null}']
)
def test_a_damaged_index_is_named_and_the_one_before_is_offered(tmp_path, text):
    saved(tmp_path, 1, 2)
    (tmp_path / LAST).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"{LAST} is not what was written. .* of step 1, is whole"):
        load_state(tmp_path)


def test_where_nothing_is_whole_it_is_said(tmp_path):
    saved(tmp_path, 1, 2)
    for shard in tmp_path.glob("*.safetensors"):
        cut(shard)
    with pytest.raises(ValueError, match="no whole state before it: remove the folder"):
        load_state(tmp_path)
    with pytest.raises(ValueError, match="damaged too"):
        step_back(tmp_path)
    with pytest.raises(ValueError, match="Leave --before out"):
        step_back(tmp_path / "new")


def test_a_state_of_an_earlier_version_is_read(tmp_path):
    """It listed its shards without sums, and kept one state."""
    saved(tmp_path, 5)
    facts = json.loads((tmp_path / LAST).read_text(encoding="utf-8"))
    (tmp_path / LAST).write_text(json.dumps({**facts, "shards": list(facts["shards"])}), encoding="utf-8")
    assert load_state(tmp_path)[1]["step"] == 5
    saved(tmp_path, 6)
    assert load_state(tmp_path)[1]["step"] == 6 and step_back(tmp_path) == 5


HOLD = """
import sys, time
from pathlib import Path
from lumiere_core.train.state import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_trainer_refuses_until_the_first_is_gone_however_it_went(tmp_path, capsys):
    folder = tmp_path / "t2i"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout.readline().strip() == "held"
        assert main(["train", "t2i", "--runs", str(tmp_path), "--preset", "tiny", "--device", "cpu"]) == 2
        said = capsys.readouterr().err
        assert f"in use by another trainer (process {first.pid})" in said and said.count("\n") == 1
    finally:
        first.kill()  # SIGKILL: nothing of its own runs any more
        first.wait()
        first.stdout.close()
    with locked(folder), pytest.raises(ValueError, match="in use"), locked(folder):
        pass
    with locked(folder):
        pass


def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be written"), locked(tmp_path / "file" / "t2i"):
        pass


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--device", "cuda:99"], "device is 'cuda:99', which PyTorch does not find here"),
        (["--device", "meta"], "device is 'meta'"),
        (["--device", "grafics"], "device is 'grafics'"),
        (["--preset", "mini-ssr"], "preset is 'mini-ssr', but it has to be one of mini-cpu"),
        (["--minutes", "nan"], "minutes is nan"),
        (["--minutes", "inf"], "minutes is inf"),
        (["--minutes", "-1"], "minutes is -1"),
        (["--before"], "Leave --before out"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(tmp_path, capsys, options, sentence):
    assert main(["train", "t2i", "--runs", str(tmp_path), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": "7"},
        {"step": True},
        {"step": 10**30},
        {"seconds": float("nan")},
        {"seconds": None},
        {"shards": 3},
        {"shards": [1]},
        {"shards": ["../state-0000001-0-0.safetensors"]},
        {"shards": {"notes.txt": ""}},
    ],
)
def test_an_index_that_says_what_was_never_written_is_damaged(tmp_path, change):
    save_state(tmp_path, {"a": torch.zeros(1)}, {"step": 1, "seconds": 2.5})
    facts = json.loads((tmp_path / LAST).read_text(encoding="utf-8"))
    (tmp_path / LAST).write_text(json.dumps(facts | change), encoding="utf-8")
    with pytest.raises(ValueError, match=r"damaged: resume\.json is not what was written"):
        load_state(tmp_path)


@pytest.mark.parametrize("spec, said", [(None, "spec is None"), ({"name": "x"}, "spec lacks kind")])
def test_a_state_without_a_spec_says_so(tmp_path, spec, said):
    save_state(tmp_path, {"ema.a": torch.zeros(1)}, {"step": 1, "spec": spec})
    with pytest.raises(ValueError, match=said):
        averaged(tmp_path)
