"""The `clip` command: files in, a looping file out, one sentence for what cannot be."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.__main__ import main
from lumiere_core.opencv import read_image
from lumiere_core.video import read_clip, read_comment, write_clip, write_frames


def save_picture(path, pixels: np.ndarray) -> str:
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return str(path)


@pytest.fixture
def photo(tmp_path) -> str:
    noise = np.random.default_rng(0).random((48, 64, 3), np.float32)
    return save_picture(
        tmp_path / "ph\u00f6to.png", (cv2.GaussianBlur(noise, (0, 0), 2) * 255).astype(np.uint8)
    )


@pytest.fixture
def mask(tmp_path) -> str:
    pixels = np.zeros((48, 64), np.uint8)
    pixels[12:36, 16:48] = 255
    return save_picture(tmp_path / "mask.png", pixels)


@pytest.fixture
def clip(tmp_path) -> str:
    wave = torch.sin(torch.arange(64) / 8 + torch.arange(30).view(-1, 1, 1) * torch.pi / 6)
    return str(write_clip(tmp_path / "in.mp4", wave.expand(3, 30, 48, 64) * 0.5, 12))


def facts(path) -> dict:
    return json.loads(read_comment(path).removeprefix("AI-generated. "))


def test_a_photo_is_brushed_into_a_folder_of_pictures(photo, mask, tmp_path):
    assert main(["clip", "brush", photo, "--mask", mask, "--frames", "5", "--out", str(tmp_path / "o")]) == 0
    frames = np.stack([read_image(path) for path in sorted((tmp_path / "o").iterdir())])
    assert frames.shape == (5, 48, 64, 3)
    known = read_image(mask)[..., 0] == 0
    assert (frames[:, known] == read_image(photo)[known]).all()
    assert (frames[2] != read_image(photo)).any()


def test_a_brushed_photo_says_how_and_not_that_a_model_made_it(photo, mask, tmp_path):
    out = tmp_path / "out.mp4"
    options = ["--preset", "sway", "--motion", "2", "--path", "0.1,0.5", "0.9,0.5", "--fps", "8"]
    assert main(["clip", "brush", photo, "--mask", mask, "--frames", "9", *options, "--out", str(out)]) == 0
    clip, fps = read_clip(out)
    assert clip.shape == (3, 9, 48, 64) and fps == 8
    assert read_comment(out).startswith("{")
    assert facts(out)["preset"] == "sway" and facts(out)["path"] == [[0.1, 0.5], [0.9, 0.5]]


@pytest.mark.parametrize(("how", "frames"), [("cut", 24), ("dissolve", 26), ("ping-pong", 58)])
def test_a_clip_becomes_a_loop(clip, tmp_path, how, frames):
    out = tmp_path / "out.mp4"
    assert (
        main(["clip", "loop", clip, "--how", how, "--min-frames", "20", "--overlap", "4", "--out", str(out)])
        == 0
    )
    looped, fps = read_clip(out)
    assert looped.shape[1] == frames and fps == 12


def test_a_clip_and_a_mask_become_a_cinemagraph(clip, mask, tmp_path):
    out = tmp_path / "out.mp4"
    assert main(["clip", "cinemagraph", clip, "--mask", mask, "--loop", "ping-pong", "--out", str(out)]) == 0
    assert read_clip(out)[0].shape[1] == 58
    assert facts(out)["tool"] == "cinemagraph" and facts(out)["source"] == "in.mp4"


def test_what_a_model_once_made_stays_marked_as_such(clip, tmp_path):
    assert read_comment(clip).startswith("AI-generated")
    assert main(["clip", "loop", clip, "--how", "ping-pong", "--out", str(tmp_path / "out.mp4")]) == 0
    assert read_comment(tmp_path / "out.mp4").startswith("AI-generated. {")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "magic"], "preset is 'magic'"),
        (["--motion", "9"], "motion is 9"),
        (["--frames", "1"], "1 frames at 16 fps make no loop"),
        (["--mask", "nowhere.png"], "there is no picture nowhere.png"),
        (["--out", "clip.avi"], "ends in .avi"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(photo, mask, tmp_path, options, words, capsys):
    before = sorted(tmp_path.iterdir())
    given = ["clip", "brush", photo, "--mask", mask, "--out", str(tmp_path / "out.mp4")]
    assert main([*given, *options]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out"])
def test_frames_that_stop_coming_leave_no_file(tmp_path, name):
    def frames():
        yield np.zeros((16, 16, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_frames(tmp_path / name, frames(), 8, "")
    assert not list(tmp_path.iterdir())
