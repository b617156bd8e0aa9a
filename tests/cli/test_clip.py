"""The `clip` command: files in, a looping file out, one sentence for what cannot be."""

from __future__ import annotations

import json
import os
import sys

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.cli import main
from lumiere_core.media.files import read_clip, read_comment, write_clip, write_frames
from lumiere_core.media.pictures import read_image


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
    (stroke,) = facts(out)["drawing"]["strokes"]
    assert facts(out)["preset"] == "sway" and stroke["points"] == [[0.1, 0.5], [0.9, 0.5]]


def test_a_drawing_in_a_file_is_brushed(photo, mask, tmp_path):
    drawn = tmp_path / "drawn.json"
    drawn.write_text('[{"x": 20, "y": 24}, {"x": 44, "y": 24}]', encoding="utf-8")
    given = ["clip", "brush", photo, "--mask", mask, "--strokes", str(drawn), "--frames", "4"]
    assert main([*given, "--out", str(tmp_path / "out.mp4")]) == 0
    (stroke,) = facts(tmp_path / "out.mp4")["drawing"]["strokes"]
    assert stroke["points"] == [[20 / 64, 0.5], [44 / 64, 0.5]]


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


@pytest.mark.parametrize("still", ["--still-frame", "--still"])  # the node's name, and the one before
def test_what_was_done_to_camera_light_and_still_is_said(clip, mask, tmp_path, capsys, still):
    given = ["clip", "cinemagraph", clip, "--mask", mask, "--loop", "none", still, "2"]
    assert main([*given, "--out", str(tmp_path / "out.mp4")]) == 0
    said = capsys.readouterr().out
    assert "camera left alone" in said and "colour drift: " in said and "still: frame 2" in said


def test_what_a_model_once_made_stays_marked_as_such(clip, tmp_path):
    assert read_comment(clip).startswith("AI-generated")
    assert main(["clip", "loop", clip, "--how", "ping-pong", "--out", str(tmp_path / "out.mp4")]) == 0
    assert read_comment(tmp_path / "out.mp4").startswith("AI-generated. {")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "magic"], "preset is 'magic'"),
        (["--motion", "9"], "motion is 9"),
        (["--frames", "1"], "frames is 1, but it has to be a whole number from 2 to 1000000"),
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


def two_scenes(tmp_path) -> str:
    """Twenty frames of one picture and twelve of another."""
    shots = [cv2.GaussianBlur(np.random.default_rng(i).random((48, 64, 3)), (0, 0), 2) for i in (1, 2)]
    clip = np.repeat(np.stack(shots), [20, 12], 0)  # (T, H, W, 3)
    clip = (clip - clip.mean()) / clip.std() * 0.4
    return str(
        write_clip(tmp_path / "cut.mp4", torch.from_numpy(clip).permute(3, 0, 1, 2).float().clamp(-1, 1), 12)
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read as a video"),
        (b"no video at all", "cannot be read as a video"),
        (None, "there is no video"),
    ],
)
@pytest.mark.parametrize("tool", ["loop", "cinemagraph"])
def test_a_broken_video_is_one_sentence_and_leaves_no_file(mask, tmp_path, capsys, tool, data, words):
    source = tmp_path / "broken.mp4"
    if data is not None:
        source.write_bytes(data)
    before = sorted(tmp_path.iterdir())
    options = ["--mask", mask] if tool == "cinemagraph" else []
    assert main(["clip", tool, str(source), *options, "--out", str(tmp_path / "out.mp4")]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_half_a_video_is_refused_or_read_as_far_as_it_goes(clip, tmp_path, capsys):
    source = tmp_path / "half.mp4"
    data = (tmp_path / "in.mp4").read_bytes()
    source.write_bytes(data[: len(data) // 2])
    code = main(["clip", "loop", str(source), "--how", "ping-pong", "--out", str(tmp_path / "out.mp4")])
    said = capsys.readouterr().err
    assert (code, (tmp_path / "out.mp4").exists()) in {(0, True), (2, False)} and "Traceback" not in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ["loop", "CLIP", "--how", "cut", "--min-frames", "200"],
            "min_frames is 200, but a loop cut from 30 frames has from 2 to 29",
        ),
        (
            ["loop", "CLIP", "--how", "dissolve", "--overlap", "20"],
            "overlap is 20 frames, but it has to be from 1 to 15",
        ),
        (
            ["loop", "CUT", "--how", "cut", "--min-frames", "30"],
            "a cut at frame 20, and the longest part without one has 20 frames",
        ),
        (["loop", "CUT", "--how", "dissolve"], "a cut at frame 20"),
        (["cinemagraph", "CUT", "--mask", "MASK"], "a cut at frame 20"),
        (["cinemagraph", "CLIP", "--mask", "EMPTY"], "the mask is empty"),
        (
            ["cinemagraph", "CLIP", "--mask", "MASK", "--still", "EMPTY"],
            "the still is 64x64, but the clip is 64x48",
        ),
        (["cinemagraph", "CLIP", "--mask", "nowhere.png"], "there is no picture nowhere.png"),
        (["brush", "PHOTO", "--mask", "EMPTY"], "the mask is empty"),
        (["brush", "CLIP", "--mask", "MASK"], "cannot be read as a picture"),
    ],
)
def test_every_tool_says_in_one_sentence_what_does_not_fit(clip, photo, mask, tmp_path, capsys, given, words):
    empty = save_picture(tmp_path / "empty.png", np.zeros((64, 64), np.uint8))
    names = {"CLIP": clip, "PHOTO": photo, "MASK": mask, "EMPTY": empty}
    if "CUT" in given:
        names["CUT"] = two_scenes(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["clip", *(names.get(g, g) for g in given), "--out", str(tmp_path / "out.mp4")]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == before


def test_grey_and_transparent_pictures_are_brushed_like_any_other(photo, mask, tmp_path):
    pixels = read_image(photo)
    alpha = np.concatenate([pixels[..., ::-1], np.full((48, 64, 1), 128, np.uint8)], 2)
    for name, picture in {"grey.png": pixels.mean(2).astype(np.uint8), "rgba.png": alpha}.items():
        out = tmp_path / name.removesuffix(".png")
        source = save_picture(tmp_path / name, picture)
        assert main(["clip", "brush", source, "--mask", mask, "--frames", "2", "--out", str(out)]) == 0
        assert read_image(out / "00000.png").shape == (48, 64, 3)


def test_a_photo_is_laid_under_snow_and_a_clip_too(photo, mask, clip, tmp_path):
    for source, frames in ((photo, 6), (clip, 30)):
        out = tmp_path / f"{frames}.mp4"
        line = [
            "clip",
            "overlay",
            source,
            "--kind",
            "snow",
            "--matte",
            mask,
            "--frames",
            "6",
            "--tint",
            "#ccddff",
        ]
        assert main([*line, "--out", str(out)]) == 0
        assert read_clip(out)[0].shape[1] == frames
        said = facts(out)
        assert said["tool"] == "overlay" and said["kind"] == "snow" and said["tint"] == "#ccddff"


def test_a_camera_moves_over_a_photo_and_says_what_it_did_with_the_depth(photo, mask, tmp_path, capsys):
    small = save_picture(tmp_path / "small.png", np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1)))
    out = tmp_path / "moved.mp4"
    line = ["clip", "move", photo, "--move", "circle", "--depth", small, "--frames", "5", "--out", str(out)]
    assert main(line) == 0
    assert "depth fitted from 30x20 to" in capsys.readouterr().out
    assert read_clip(out)[0].shape[1] == 5 and facts(out)["move"] == "circle"


STROKES = '{"strokes": [{"points": [[0.1, 0.8], [0.5, 0.6]]}]}'


def brushed(photo, mask, tmp_path, *options: str) -> int:
    out = ["--frames", "2", "--out", str(tmp_path / "out.mp4")]
    return main(["clip", "brush", photo, "--mask", mask, *out, *options])


def test_strokes_of_an_editor_that_marks_its_texts_are_read(photo, mask, tmp_path):
    (tmp_path / "strokes.json").write_text(STROKES, encoding="utf-8-sig")
    assert brushed(photo, mask, tmp_path, "--strokes", str(tmp_path / "strokes.json")) == 0


def test_strokes_without_an_end_are_not_read(photo, mask, tmp_path, capsys, monkeypatch):
    (tmp_path / "strokes.json").write_text(STROKES, encoding="utf-8")
    monkeypatch.setattr("lumiere_core.cli.clip.LONGEST_TEXT", 20)
    assert brushed(photo, mask, tmp_path, "--strokes", str(tmp_path / "strokes.json")) == 2
    assert "cannot be read as text: it has 51 bytes, but strokes take at most 20." in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_nobody_writes_to_is_neither_waited_for_nor_replaced(photo, mask, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.mp4")
    for options in (["--strokes"], ["--overwrite", "--out"]):
        assert brushed(photo, mask, tmp_path, *options, str(tmp_path / "pipe.mp4")) == 2
        assert "no ordinary file" in capsys.readouterr().err
    assert (tmp_path / "pipe.mp4").is_fifo()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_clip_whose_name_is_no_utf_8_is_looped_and_named_in_the_result(clip, tmp_path):
    odd = tmp_path / "odd\udcff.mp4"  # how Python spells the byte 255 in a name
    os.rename(clip, odd)
    out = tmp_path / "out.mp4"
    assert main(["clip", "loop", str(odd), "--how", "ping-pong", "--out", str(out)]) == 0
    assert facts(out)["source"] == "odd\udcff.mp4"


def test_what_the_system_refuses_is_one_sentence(mask, tmp_path, capsys, monkeypatch):
    far = str(tmp_path / "/".join(["a" * 200] * 40) / "in.mp4")
    assert main(["clip", "loop", far, "--out", str(tmp_path / "out.mp4")]) == 2
    assert "Traceback" not in (said := capsys.readouterr().err) and len(said.splitlines()) == 1

    def full(*_):
        raise MemoryError

    monkeypatch.setattr("lumiere_core.cli.clip.open_picture", full)
    assert brushed("photo.png", mask, tmp_path) == 2
    assert capsys.readouterr().err.strip() == (
        "this takes more memory than there is. Use a smaller picture or clip, or fewer frames."
    )


def test_a_still_without_a_name_is_no_picture(clip, mask, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out.mp4")]
    assert main(["clip", "cinemagraph", clip, "--mask", mask, "--still", "", *out]) == 2
    assert "there is no picture" in capsys.readouterr().err
