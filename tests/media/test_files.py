"""Clips in files: whole, tagged, described, and never half-written."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tracemalloc

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import torch

from lumiere_core.media import memory
from lumiere_core.media.files import (
    FORMATS,
    VideoFile,
    describe,
    from_pixels,
    keeps_sound,
    mark_of,
    read_clip,
    read_comment,
    to_pixels,
    write_clip,
    write_frames,
)
from lumiere_core.media.pictures import write_image

FACTS = {"prompt": "a red balloon", "seed": 7, "weights": {"base": "abc123"}}


def ramp(frames: int = 6, height: int = 32, width: int = 64) -> torch.Tensor:
    """Grey from black to white, a little brighter each frame."""
    row = torch.linspace(-1, 0.9, width)
    return torch.stack([row + 0.1 * t / frames for t in range(frames)])[None, :, None].expand(
        3, -1, height, -1
    )


def probe(path) -> str:
    run = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)], capture_output=True, check=False)
    return run.stderr.decode("utf-8", "replace")


def test_a_clip_that_memory_cannot_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", ramp(), 16.0)
    monkeypatch.setattr(memory, "free_memory", lambda: 1e-6)
    monkeypatch.setattr(VideoFile, "__iter__", lambda self: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=r"the 6 frames of clip.mp4 take .* GB of memory.*Cut the clip"):
        read_clip(path)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_grey_ramp_survives_within_2_of_255(tmp_path, suffix):
    clip = ramp()
    again, fps = read_clip(write_clip(tmp_path / f"clip{suffix}", clip, 16))
    assert again.shape == clip.shape and fps == 16
    difference = np.abs(to_pixels(again).astype(int) - to_pixels(clip).astype(int))
    assert difference.mean() < 2 and np.percentile(difference, 99) <= 2


def test_an_mp4_plays_in_a_browser_and_says_which_colours_it_means(tmp_path):
    told = probe(write_clip(tmp_path / "clip.mp4", ramp(), 16))
    assert "h264" in told and "yuv420p(tv, bt709" in told and "16 fps" in told


@pytest.mark.parametrize("colour", [(200, 30, 30), (20, 170, 60), (40, 60, 220)])
def test_colours_come_back(tmp_path, colour):
    pixels = np.broadcast_to(np.array(colour, np.uint8), (4, 16, 16, 3))
    again, _ = read_clip(write_clip(tmp_path / "clip.mp4", from_pixels(pixels.copy()), 16))
    assert np.abs(to_pixels(again).astype(int) - pixels).max() <= 4


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_clip_gets_no_darker_by_being_written_and_read(tmp_path, suffix):
    """swscale's quick way to RGB loses up to two levels, and each generation two more."""
    noise = np.random.default_rng(0).normal(128, 60, (15, 20, 3)).clip(0, 255).astype(np.float32)
    photo = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    frames = [photo]
    for generation in range(3):
        path = write_frames(tmp_path / f"{generation}{suffix}", iter(frames[-1:] * 3), 16, "")
        frames.append(next(iter(VideoFile(path))))
    off = (frames[-1].astype(float) - photo).mean((0, 1))
    assert np.abs(off).max() < 0.6, off


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_the_comment_says_ai_generated_first_and_then_how(tmp_path, suffix):
    comment = read_comment(write_clip(tmp_path / f"clip{suffix}", ramp(), 16, FACTS))
    assert comment.startswith("AI-generated")
    assert all(word in comment for word in ("a red balloon", '"seed": 7', "abc123"))
    assert comment == describe(FACTS)


def test_a_gif_has_its_frames_its_rate_and_its_comment(tmp_path):
    path = write_clip(tmp_path / "clip.gif", ramp(16), 16, FACTS)
    assert (VideoFile(path).count, VideoFile(path).fps) == (16, 16)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 16 and seconds == pytest.approx(1, abs=0.1)
    assert b"AI-generated" in path.read_bytes() and b"abc123" in path.read_bytes()


def test_a_name_without_ending_is_a_folder_of_pictures(tmp_path):
    clip = ramp(3)
    folder = write_clip(tmp_path / "frames", clip, 16, FACTS)
    files = sorted(folder.iterdir())
    assert [f.name for f in files] == ["00000.png", "00001.png", "00002.png"]
    assert b"iTXt" in files[0].read_bytes() and b"AI-generated" in files[0].read_bytes()
    import cv2

    assert np.array_equal(cv2.imread(str(files[2]))[..., ::-1], to_pixels(clip)[2])


def test_odd_sizes_and_single_frames_are_written(tmp_path):
    again, _ = read_clip(write_clip(tmp_path / "odd.mp4", ramp(1, 33, 35), 16))
    assert again.shape == (3, 1, 34, 36)


def test_pixels_go_there_and_back():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    assert np.array_equal(to_pixels(from_pixels(pixels)), pixels)


@pytest.mark.parametrize(
    ("name", "fps", "words"),
    [
        ("clip.avi", 16, r"ends in \.avi.*\.mp4"),
        ("clip.mp4", 0, "fps is 0"),
        ("clip.mp4", 301, "fps is 301, but it has to be between 0.01 and 300"),
        ("clip", 1000, "fps is 1000, but it has to be between 0.01 and 300"),
        ("clip.gif", 60, r"fps is 60, but \.gif takes at most 50"),
        ("clip.webm", float("nan"), "fps is nan"),
    ],
)
def test_what_cannot_be_written_is_refused_in_words(tmp_path, name, fps, words):
    with pytest.raises(ValueError, match=words):
        write_clip(tmp_path / name, ramp(), fps)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_refused(tmp_path):
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        write_clip(tmp_path / "clip.mp4", ramp(), 16)


def test_a_place_that_cannot_be_written_is_named_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="file is no folder to write to"):
        write_clip(tmp_path / "file" / "clip.mp4", ramp(), 16)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.gif", "clip"])
def test_a_full_disk_leaves_the_clip_of_before_and_nothing_else(tmp_path, name, full_disk):
    path = tmp_path / name
    path.write_bytes(b"old")
    noise = torch.rand(3, 12, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with full_disk(), pytest.raises(ValueError, match="cannot be written: (File too large|only)"):
        write_clip(path, noise, 16, overwrite="." in name)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip"])
@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, MemoryError])
def test_frames_that_end_in_an_error_leave_no_file(tmp_path, name, end):
    def frames():
        yield from np.zeros((80, 16, 16, 3), np.uint8)  # more than an encoder looks ahead
        assert any(p.name.startswith(".part-") for p in tmp_path.iterdir())
        raise end

    with pytest.raises(end):
        write_frames(tmp_path / name, frames(), 16, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif"])
def test_no_frames_are_no_clip(tmp_path, name):
    with pytest.raises(ValueError, match="no frames"):
        write_frames(tmp_path / name, iter(()), 16, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip"])
def test_what_is_there_is_kept_beside_the_new_one_until_it_is_to_be_replaced(tmp_path, name):
    frames = list(np.zeros((2, 16, 16, 3), np.uint8))
    path, suffix = tmp_path / name, name[4:]
    assert write_frames(path, frames, 16, "one") == path
    assert write_frames(path, frames, 16, "two") == tmp_path / f"clip_00001_{suffix}"
    assert write_frames(path, frames, 16, "three") == tmp_path / f"clip_00002_{suffix}"
    said = [read_comment(p if suffix else p / "00000.png") for p in sorted(tmp_path.iterdir())]
    assert sorted(said) == ["one", "three", "two"]
    if suffix:
        assert write_frames(path, frames, 16, "four", overwrite=True) == path and read_comment(path) == "four"
    else:
        with pytest.raises(ValueError, match="only single files are overwritten"):
            write_frames(path, frames, 16, "four", overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "clip").mkdir()
    assert write_frames(tmp_path / "clip", [np.zeros((4, 4, 3), np.uint8)], 16, "") == tmp_path / "clip"


def test_a_clip_is_never_in_memory_as_a_whole(tmp_path):
    count, frame = 150, np.random.default_rng(0).integers(0, 256, (180, 320, 3), np.uint8)
    tracemalloc.start()
    path = write_frames(tmp_path / "clip.mp4", (np.roll(frame, i, 1) for i in range(count)), 16, "")
    video = VideoFile(path)
    assert sum(shot.shape == frame.shape for shot in video) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * frame.nbytes  # the clip has 150


@pytest.mark.parametrize("fps", [0.5, 24000 / 1001, 29.97, 240, 300])
def test_rates_come_back(tmp_path, fps):
    video = VideoFile(write_clip(tmp_path / "clip.mp4", ramp(9), fps))
    assert video.fps == pytest.approx(fps, rel=2e-5) and video.count == 9


@pytest.mark.parametrize("data", [b"", b"no video at all" * 50])
def test_what_is_no_video_is_named(tmp_path, data):
    (tmp_path / "clip.mp4").write_bytes(data)
    with pytest.raises(ValueError, match="clip.mp4"):
        read_clip(tmp_path / "clip.mp4")
    with pytest.raises(ValueError, match="there is no video file"):
        read_clip(tmp_path / "gone.mp4")


def test_a_picture_is_written_whole(tmp_path):
    image = np.zeros((4, 6, 3), np.uint8)
    assert write_image(tmp_path / "a" / "x.png", image, "AI-generated.").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_a_prompt_with_quotes_and_signs_is_read_back_as_it_was(tmp_path, suffix):
    facts = {"prompt": 'a "red" balloon; 100% = #1 \\ über \u6d77'}
    path = write_clip(tmp_path / f"clip{suffix}", ramp(), 16, facts)
    assert json.loads(read_comment(path).removeprefix("AI-generated. "))["prompt"] == facts["prompt"]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
@pytest.mark.parametrize("frames", [1, 17])
def test_every_frame_is_there_and_no_more(tmp_path, suffix, frames):
    path = write_clip(tmp_path / f"clip{suffix}", ramp(frames), 16)
    assert imageio_ffmpeg.count_frames_and_secs(str(path))[0] == frames


def test_a_webm_says_which_colours_it_means(tmp_path):
    told = probe(write_clip(tmp_path / "clip.webm", ramp(), 16))
    assert "vp9" in told and "yuv420p(tv, bt709" in told and "16 fps" in told


def test_an_encoder_that_fails_is_an_error_and_leaves_the_clip_of_before(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"old")
    broken = dataclasses.replace(FORMATS[".mp4"], options={"preset": "nonsense"})
    monkeypatch.setitem(FORMATS, ".mp4", broken)
    with pytest.raises(ValueError, match="clip.mp4 cannot be written"):
        write_clip(tmp_path / "clip.mp4", ramp(), 16, overwrite=True)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_the_mark_is_read_from_clips_and_pictures_and_is_not_made_up(tmp_path):
    made = write_clip(tmp_path / "made.mp4", ramp(1), 16, FACTS)
    shots = write_clip(tmp_path / "made", ramp(1), 16, FACTS)
    plain = write_frames(tmp_path / "own.mp4", to_pixels(ramp(1)), 16, describe(FACTS, ""))
    photo = write_image(tmp_path / "own.png", to_pixels(ramp(1))[0])
    assert mark_of(plain, photo, None) == ""
    for source in (made, shots / "00000.png"):
        assert mark_of(plain, source) == mark_of(source, photo) == "AI-generated. "


def test_sound_is_written_where_the_format_has_any():
    assert [keeps_sound(name) for name in ("a.mp4", "a.WEBM", "a.gif", "a")] == [True, True, False, False]
