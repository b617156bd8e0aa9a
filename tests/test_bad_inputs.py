"""Every row of `bad_inputs.py`: one sentence, exit code 2, no stack trace, and nothing written."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lumiere_core.cli import main
from lumiere_core.config import TemporalSpec, UNetSpec, replace
from lumiere_core.diffusion.prompts import parse
from lumiere_core.media.encode import FORMATS, encode_frames
from lumiere_core.media.files import to_pixels, write_clip
from lumiere_core.model import checkpoint
from lumiere_core.model.backbones.trained import TrainedSpec, save_trained
from lumiere_core.model.container import read_header
from lumiere_core.model.stunet import new_temporal
from lumiere_core.model.unet import UNet
from lumiere_core.train.state import locked, save_state

_spec = importlib.util.spec_from_file_location("bad_inputs", Path(__file__).parent / "bad_inputs.py")
bad_inputs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bad_inputs)

# What stands before a row that begins with one of these words.
IN_ORDER = {
    "generate": "generate --weights {base} --ssr-weights {ssr} --size 8 --frames 5 --steps 1 --ssr-steps 1 "
    "--out {out}/clip.mp4",
    "loop": "clip loop {clip} --out {out}/loop.mp4",
    "cinemagraph": "clip cinemagraph {clip} --mask {mask} --out {out}/still.mp4",
    "brush": "clip brush {photo} --mask {mask} --out {out}/brush.mp4",
    "overlay": "clip overlay {photo} --out {out}/overlay.mp4",
    "move": "clip move {photo} --out {out}/move.mp4",
    "backbone": "train temporal --runs {out} --backbone {backbone} --clips {captioned}",
}
MAKES_A_FILE = [first for first in IN_ORDER if first != "backbone"]  # that one needs a ComfyUI


SD15_UNET = UNetSpec(
    attention_kind="cross",
    in_channels=4,
    out_channels=4,
    patch=1,
    groups=32,
    res_kind="add",
    heads=8,
    middle=1,
    pooled_text=False,
    time_scale=1.0,
)
MOTION = "up_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
WORK = (
    r"(base|super-resolution|steadying|writing) \["  # progress of what takes long; a clip is looked at before
)


def name_of(value: object) -> str | None:
    """A row's name is its command line, cut."""
    return value[:60] if isinstance(value, str) else ""


def picture(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


def shots(*counts: int) -> torch.Tensor:
    """Still shots of so many frames each, (3, T, 48, 64); one alone moves."""
    r = np.random.default_rng(3)
    pictures = [cv2.GaussianBlur(r.standard_normal((48, 64, 3)), (0, 0), 2) * 2 for _ in counts]
    clip = np.stack([p * (1 + 0.01 * t) for p, n in zip(pictures, counts, strict=True) for t in range(n)])
    return torch.from_numpy(clip).permute(3, 0, 1, 2).float().clamp(-1, 1)


@pytest.fixture(scope="module")
def places(tmp_path_factory, weights_files) -> Iterator[dict[str, Path]]:
    """The files and folders that rows name in braces. What is given stays as it is; `out` stays empty."""
    given, out = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("out")
    base, ssr = weights_files
    found = {"out": out, "base": base, "ssr": ssr, "nowhere": given / "nowhere"}
    moves = np.zeros((48, 64), np.uint8)
    moves[12:36, 16:48] = 255
    photo = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for name, pixels in {"photo": photo, "mask": moves, "empty": 0 * moves, "small": photo[:32, :32]}.items():
        found[name] = picture(given / f"{name}.png", pixels)
    for name, clip in {"clip": shots(30), "cut": shots(20, 12), "one": shots(1)}.items():
        found[name] = write_clip(given / f"{name}.mp4", clip, 12)
    found["fast"] = given / "fast.mp4"
    encode_frames(found["fast"], FORMATS[".mp4"], to_pixels(shots(9)), Fraction(480), "")
    found["linked"] = given / "linked.mp4"
    os.link(found["clip"], found["linked"])
    lists = {
        "playlist.m3u8": "#EXTM3U\n#EXTINF:1,\nclip.mp4\n",
        "file_list.mp4": "ffconcat version 1.0\nfile clip.mp4\n",
    }
    for name, text in lists.items():
        found[name.partition(".")[0]] = given / name
        (given / name).write_text(text, encoding="utf-8")
    drawings = {
        "no_json": '{"strokes": [[0.1, 0.8] [0.5, 0.6]]}',
        "no_stroke": '{"strokes": []}',
        "outside": '{"strokes": [{"points": [[0.1, 0.8], [0.5, 1.6]]}]}',
        "unknown": '{"strokes": [{"preset": "magic", "points": [[0.1, 0.8], [0.5, 0.6]]}]}',
    }
    for name, text in drawings.items():
        found[name] = given / f"{name}.json"
        found[name].write_text(text, encoding="utf-8")
    found["folder"] = given / "folder"
    found["folder"].mkdir()
    (found["folder"] / "mine.txt").write_text("mine", encoding="utf-8")
    for name, count in {"many": 500, "broken": 1}.items():
        found[name] = given / name
        found[name].mkdir()
        for i in range(count):
            (found[name] / f"{i}.png").write_bytes(b"no picture")

    tensors, said, data = load_file(base), read_header(base).metadata, base.read_bytes()
    (header,) = struct.unpack("<Q", data[:8])
    spec, first = json.loads(said["spec"]), next(iter(tensors))

    def says(part: str, **changes: object) -> dict[str, str]:
        """The file's facts with other values in a part of its spec."""
        return {**said, "spec": json.dumps({**spec, part: {**spec[part], **changes}})}

    def values(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
        return {**tensors, first: tensor}

    files = {
        "nothing": b"",
        "words": b"these are words and no tensors",
        "cut_header": data[: header // 2],
        "cut_data": data[: header + 1000],
        "foreign": (tensors, {"format": "pt"}),
        "newer": (tensors, {**said, "format_version": "99"}),
        "older": (tensors, {**said, "format_version": "1"}),
        "speechless": (tensors, {name: value for name, value in said.items() if name != "spec"}),
        "odd_field": (tensors, says("unet", warp=9)),
        "too_deep": (tensors, says("text", depth=10**9)),
        "deep": (tensors, says("text", depth=48)),
        "too_wide": (tensors, says("unet", channels=[10**6, 10**6, 10**6])),
        "wide": (tensors, says("unet", channels=[8192, 8192, 8192])),
        "all_shared": (tensors, says("diffusion", noise_share=1.5)),
        "unshared": (tensors, says("diffusion", noise_share=-0.1)),
        "no_share": (tensors, says("diffusion", noise_share=float("nan"))),
        "holds_nan": (values(torch.full_like(tensors[first], torch.nan)), said),
        "holds_inf": (values(torch.full_like(tensors[first], torch.inf)), said),
        "whole_numbers": (values(tensors[first].to(torch.int32)), said),
        "doubles": (values(tensors[first].double()), said),
        "lacking": ({name: t for name, t in tensors.items() if name != first}, said),
        "too_much": ({**tensors, "network.warp": torch.zeros(1)}, said),
        "other_size": (values(torch.zeros(3, 1)), said),
        "motion_lora": ({f"{MOTION}.to_q_lora.down.weight": torch.zeros(2, 32)}, {}),
        "no_motion": ({f"{MOTION}.to_q.weight": torch.zeros(32, 32)}, {}),
        "half_unet": ({"input_blocks.0.0.weight": torch.zeros(32, 4, 3, 3)}, {}),
        "control_net": (
            {f"{name}.0.0.weight": torch.zeros(32, 4, 3, 3) for name in ("input_blocks", "control_model")},
            {},
        ),
    }
    found["pickle"] = given / "mm.ckpt"
    torch.save({f"{MOTION}.to_q.weight": torch.zeros(32, 32)}, found["pickle"])
    for name, content in files.items():
        found[name] = given / f"{name}.safetensors"
        if isinstance(content, bytes):
            found[name].write_bytes(content)
        else:
            save_file(content[0], found[name], content[1])
    found["missing"] = given / "missing.safetensors"
    found |= backbones(given) | captioned_clips(given, found["clip"])
    runs = ("cut_state", "damaged_state", "twice_damaged", "no_index", "nan_seconds", "foreign_state", "busy")
    found |= {name: given / name for name in runs}
    for name in runs:
        run_folder(name, given / name / "t2i", said["spec"])
    with locked(found["busy"] / "t2i"):
        yield found


def backbones(given: Path) -> dict[str, Path]:
    """An image model's U-Net, one for inpainting, and temporal layers for another family."""
    names = "backbone", "painter", "half_backbone", "xl_layers", "half_layers"
    found = {name: given / f"{name}.safetensors" for name in names}
    small = {"channels": (32, 32), "blocks": (1, 1), "embed_width": 32, "context_dim": 48}
    spec = replace(SD15_UNET, **small, attention=(1, 1))
    for name, channels in (("backbone", 4), ("painter", 9)):
        tensors = UNet(replace(spec, in_channels=channels)).state_dict()
        save_file({key: t.contiguous() for key, t in tensors.items()}, found[name])
    found["half_backbone"].write_bytes(found["backbone"].read_bytes()[:-9])
    temporal = TemporalSpec((2,), condition_channels=0)
    layers = TrainedSpec("SDXL", (32, 32), (1, 1), 32, 48, temporal)
    save_trained(found["xl_layers"], layers, new_temporal(spec, temporal), license="", trained_on="")
    found["half_layers"].write_bytes(found["xl_layers"].read_bytes()[:-9])
    return found


def captioned_clips(given: Path, clip: Path) -> dict[str, Path]:
    """Folders with one clip, `sea.mp4`, and what is amiss with it or its caption."""
    data, found = clip.read_bytes(), {}
    for name, content, caption in (
        ("captioned", data, b"the sea"),
        ("no_caption", data, None),
        ("empty_caption", data, b" \n"),
        ("odd_caption", data, b"\xff\xfe\x00"),
        ("corrupt", data[: len(data) // 2] + bytes(len(data) // 2), b"the sea"),
        ("no_clip", b"no clip", b"the sea"),
    ):
        found[name] = given / name
        found[name].mkdir()
        (found[name] / "sea.mp4").write_bytes(content)
        if caption is not None:
            (found[name] / "sea.txt").write_bytes(caption)
    return found


def run_folder(name: str, folder: Path, spec: str) -> None:
    """A stage of training with two states of a few numbers, and what has become of them."""
    for step in (1, 2):
        facts = {"step": step, "seconds": 60.0 * step, "spec": json.loads(spec)}
        save_state(folder, {"raw.a": torch.full((64,), float(step))}, facts)
    old, new = sorted(folder.glob("state-*.safetensors"))
    index = folder / "resume.json"
    if name == "cut_state":
        new.write_bytes(new.read_bytes()[:-9])
    elif name == "damaged_state":
        new.write_bytes(new.read_bytes()[:-1] + b"?")
    elif name == "twice_damaged":
        old.unlink()
        new.unlink()
    elif name == "no_index":
        index.write_text('{"step": 2', encoding="utf-8")
    elif name == "nan_seconds":
        facts = json.loads(index.read_text(encoding="utf-8"))
        index.write_text(json.dumps({**facts, "seconds": float("nan")}), encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """A weights file that is good is built once for all rows; one that is refused is refused anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "load", functools.cache(checkpoint.load))
        yield


def arguments(row: str, places: dict[str, Path]) -> list[str]:
    first, _, rest = row.partition(" ")
    return [part.format(**places) for part in f"{IN_ORDER.get(first, first)} {rest}".split()]


def everything(places: dict[str, Path]) -> dict[str, int]:
    """Each file around the inputs and outputs, with the time of its last change; a trainer's lock stays."""
    folders = {places[name].parent if name != "out" else places[name] for name in ("out", "photo", "base")}
    files = (p for folder in folders for p in folder.rglob("*") if p.is_file() and p.name != "lock")
    return {str(p): p.stat().st_mtime_ns for p in files}


@pytest.mark.parametrize(("row", "words", "code"), bad_inputs.COMMANDS, ids=name_of)
def test_a_bad_input_is_answered_by_one_sentence_and_touches_no_file(row, words, code, places, capsys):
    before = everything(places)
    try:
        got = main(arguments(row, places))
    except SystemExit as stop:  # argparse's own refusals
        got = stop.code
    said = capsys.readouterr().err.strip()
    assert got == code, said
    *before_it, sentence = said.splitlines()
    assert words in sentence and "Traceback" not in said
    assert not any(re.search(WORK, line) for line in before_it), "it was said after the work"
    assert everything(places) == before


@pytest.mark.parametrize(("schedule", "words"), bad_inputs.SCHEDULES)
def test_a_bad_schedule_is_answered_by_one_sentence(schedule, words):
    with pytest.raises(ValueError) as refused:
        parse(schedule, 80)
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("row", MAKES_A_FILE)
def test_without_the_mistake_the_same_command_makes_its_file(row, places, tmp_path):
    """So that each row is refused for what it says, and for nothing else."""
    assert main(arguments(f"{row} --out {tmp_path}/made.mp4", places)) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["made.mp4"]


def test_the_table_is_long_and_says_nothing_twice():
    rows = [row for row, _, _ in bad_inputs.COMMANDS]
    assert len(rows) >= 80 and len(set(rows)) == len(rows)
