"""The command line and people's files: nothing is lost, nothing is asked for, and what is left out is said."""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from lumiere_core.cli import main
from lumiere_core.media.encode import FORMATS, encode_frames
from lumiere_core.media.files import VideoFile, read_comment, write_frames
from lumiere_core.media.pictures import read_image, write_image

NOISE = np.random.default_rng(0).integers(60, 200, (48, 64, 3), np.uint8)
MARKED = "AI-generated. {}"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A folder with a clip of 12 frames with sound, a photo and a mask; the working folder."""
    monkeypatch.chdir(tmp_path)
    frames = [np.roll(NOISE, i, 1) for i in (0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1)]
    write_frames("silent.mp4", frames, 12, "")
    write_image("photo.png", NOISE)
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[12:36, 16:48] = 255
    write_image("mask.png", mask)
    sound = ["-f", "lavfi", "-i", "sine=440:d=1", "-c:v", "copy", "-c:a", "aac", "clip.mp4"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "silent.mp4", *sound]
    subprocess.run(command, check=True)
    return tmp_path


LOOP = ["clip", "loop", "clip.mp4", "--min-frames", "4"]
CINEMAGRAPH = ["clip", "cinemagraph", "clip.mp4", "--mask", "mask.png"]
BRUSH = ["clip", "brush", "photo.png", "--mask", "mask.png", "--frames", "4"]


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (LOOP, "clip.mp4"),
        (LOOP, "hard.mp4"),
        (LOOP, "symbolic.mp4"),
        (CINEMAGRAPH, "hard.mp4"),
        ([*CINEMAGRAPH, "--still", "photo.png"], "still.gif"),
        (BRUSH, "still.gif"),
        (BRUSH, "mask.gif"),
    ],
)
def test_an_output_that_is_an_input_is_refused_and_nothing_is_touched(home, capsys, command, out):
    links = {"hard.mp4": "clip.mp4", "still.gif": "photo.png", "mask.gif": "mask.png"}
    if out in links:
        os.link(links[out], out)
    elif out == "symbolic.mp4":
        os.symlink("clip.mp4", out)
    before = files(home)
    for more in ([], ["--overwrite"]):
        assert main([*command, "--out", out, *more]) == 2
        assert "is read, or written, by the same command" in capsys.readouterr().err
    assert files(home) == before


def test_a_second_run_takes_a_number_and_says_so_and_a_third_replaces(home, capsys):
    for more, name in (([], "out.mp4"), ([], "out_00001_.mp4"), (["--overwrite"], "out.mp4")):
        assert main([*BRUSH, "--out", "out.mp4", *more]) == 0
        assert f"wrote {name}: 4 frames of 64x48 at 16 fps" in capsys.readouterr().out
    assert len(list(home.glob("out*"))) == 2 and not list(home.glob(".part*"))


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (".", "is a folder. Name a file in it"),
        ("/", "is a folder. Name a file in it"),
        ("x" * 300 + ".mp4", "has 304 bytes"),
        ("clip.avi", "ends in .avi"),
        ("photo.png/out.mp4", "is no folder to write to"),
        ("slow.gif", "fps is 60, but .gif takes at most 50"),
    ],
)
def test_what_is_wrong_with_the_output_is_said_before_the_work(home, capsys, monkeypatch, out, words):
    before = files(home)
    monkeypatch.setattr(
        "lumiere_core.photo.loops.ways.make_loop", lambda *_, **__: pytest.fail("there was work")
    )
    assert main([*LOOP, "--out", out, "--fps", "60"]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1 and files(home) == before


@pytest.mark.parametrize("fps", [240, 480, 1000])
def test_a_clip_of_a_high_speed_camera_keeps_its_rate_or_is_refused_before_the_work(home, capsys, fps):
    encode_frames(
        Path("fast.mp4"),
        FORMATS[".mp4"],
        [np.roll(NOISE, i, 1) for i in range(12)],
        Fraction(fps),
        "",
    )
    loop = ["clip", "loop", "fast.mp4", "--how", "ping-pong", "--out"]
    assert main([*loop, "out.mp4"]) == (0 if fps == 240 else 2)
    if fps == 240:
        assert VideoFile("out.mp4").fps == 240
    else:
        assert f"fps is {fps}, but it has to be between 0.01 and 300" in capsys.readouterr().err
        assert main([*loop, "out.mp4", "--fps", "60"]) == 0  # played slower
        assert VideoFile("out.mp4").count == 22
    assert main([*loop, "out.gif"]) == 2
    assert f"fps is {fps}, but" in capsys.readouterr().err and not Path("out.gif").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_with_a_colon_is_a_name(home, capsys):
    assert main([*BRUSH, "--out", "a:b.mp4"]) == 0 and VideoFile("a:b.mp4").count == 4


@pytest.mark.parametrize("how", ["cut", "dissolve", "none"])
def test_the_sound_goes_with_the_loop(home, capsys, how):
    command = CINEMAGRAPH + ["--loop", how] if how == "none" else [*LOOP, "--how", how, "--overlap", "2"]
    assert main([*command, "--out", "out.mp4"]) == 0
    assert "without the sound" not in capsys.readouterr().out
    seconds = VideoFile("out.mp4").count / 12
    with av.open("out.mp4") as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / 48000
    assert heard == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize(
    ("more", "out", "why"),
    [
        (["--how", "ping-pong"], "out.mp4", "such a loop has no time of its own"),
        (["--how", "dissolve", "--overlap", "2"], "out.gif", ".gif has none"),
        (["--how", "dissolve", "--overlap", "2"], "out", "a folder has none"),
        (["--how", "dissolve", "--overlap", "2", "--fps", "24"], "out.mp4", "another speed"),
    ],
)
def test_sound_that_is_left_out_is_said(home, capsys, more, out, why):
    assert main([*LOOP, *more, "--out", out]) == 0
    assert f"without the sound: {why}" in capsys.readouterr().out.replace("the clip has ", "")
    assert out != "out.mp4" or VideoFile(out).sound() is None
    assert main(["clip", "loop", "silent.mp4", "--how", "ping-pong", "--out", "quiet.mp4"]) == 0
    assert "sound" not in capsys.readouterr().out


@pytest.mark.parametrize("out", ["out.mp4", "out.webm", "out.gif", "out"])
@pytest.mark.parametrize("of", ["clip", "still", "photo"])
def test_the_mark_of_a_model_survives_every_tool_and_every_format(home, out, of):
    shots = write_frames("shots", [NOISE], 16, MARKED)  # a folder of pictures, as generate writes it
    made = write_frames("made.mp4", [np.roll(NOISE, i, 1) for i in range(12)], 12, MARKED)
    command = {
        "clip": ["clip", "loop", str(made), "--how", "ping-pong"],
        "still": [*CINEMAGRAPH, "--still", str(shots / "00000.png")],
        "photo": ["clip", "brush", str(shots / "00000.png"), "--mask", "mask.png", "--frames", "4"],
    }[of]
    assert main([*command, "--out", out]) == 0
    for path in [Path(out)] if Path(out).suffix else Path(out).iterdir():
        assert read_comment(path).startswith('AI-generated. {"software"')


def test_what_no_model_made_is_not_marked(home):
    assert main([*CINEMAGRAPH, "--still", "photo.png", "--out", "out"]) == 0
    assert all(read_comment(path).startswith("{") for path in Path("out").iterdir())


def test_a_mask_with_16_bits_and_one_of_grey_and_alpha_move_what_they_say(home):
    from PIL import Image

    grey = read_image("mask.png")[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save("deep.png")
    Image.merge("LA", [Image.new("L", (64, 48), 255), Image.fromarray(255 - grey)]).save("alpha.png")
    for name in ("mask", "deep", "alpha"):
        assert main([*BRUSH[:4], f"{name}.png", "--frames", "3", "--out", f"of-{name}"]) == 0
    for i in range(3):
        pictures = [read_image(f"of-{name}/{i:05d}.png") for name in ("mask", "deep", "alpha")]
        assert np.array_equal(pictures[0], pictures[1]) and np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("command", [LOOP, CINEMAGRAPH])
@pytest.mark.parametrize("kind", ["cut", "list", "address"])
def test_a_source_that_is_no_clip_is_one_sentence(home, capsys, command, kind):
    if kind == "cut":
        data = Path("clip.mp4").read_bytes()
        Path("clip.mp4").write_bytes(data[: len(data) * 2 // 3])
    elif kind == "list":
        Path("clip.mp4").write_text("ffconcat version 1.0\nfile silent.mp4\n", encoding="utf-8")
    source = "http:/127.0.0.1/clip.mp4" if kind == "address" else "clip.mp4"
    before = files(home)
    assert main([*command[:2], source, *command[3:], "--out", "out.mp4"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and files(home) == before
    assert ("there is no video file" if kind == "address" else "clip.mp4") in said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["evaluate", "--json", "clip.mp4"], "clip.mp4 ends in .mp4, but it is written as .json"),
        (["evaluate", "--json", "clip.mp4/figures.json"], "clip.mp4 is no folder to write to"),
        (["evaluate", "--json", "."], ". is a folder"),
        (["train", "t2i", "--runs", "clip.mp4/runs"], "clip.mp4 is no folder to write to"),
        (["train", "temporal", "--runs", "clip.mp4"], "clip.mp4 is no folder to write to"),
        (["train", "export", "--out", "clip.mp4"], "clip.mp4 is no folder to write to"),
    ],
)
def test_where_figures_and_runs_go_is_checked_before_the_work(home, capsys, command, words):
    before = files(home)
    assert main(command) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1 and files(home) == before


def test_figures_take_a_number_where_there_are_some(home, capsys, monkeypatch):
    class Report:
        def write(self, path: Path) -> None:
            path.write_text("{}", encoding="utf-8")

    monkeypatch.setattr("lumiere_core.train.evaluate.evaluate", lambda *_, **__: Report())
    for name in ("figures.json", "figures_00001_.json"):
        assert main(["evaluate", "--json", "figures.json"]) == 0
        assert f"wrote {name}" in capsys.readouterr().out and Path(name).exists()
