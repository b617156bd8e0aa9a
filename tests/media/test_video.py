"""Clips as people have them come as a player shows them, or are named as what is wrong with them."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lumiere_core.media.files import read_comment, write_frames
from lumiere_core.media.pictures import read_image
from lumiere_core.media.video import EXACT, VideoFile, pyav

_spec = importlib.util.spec_from_file_location("unkind", Path(__file__).with_name("unkind.py"))
unkind = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(unkind)


def luma(frame: np.ndarray) -> np.ndarray:
    """Without colour, which every converter spreads over neighbouring pixels in its own way."""
    return frame @ np.array([0.299, 0.587, 0.114])


def test_a_clip_comes_frame_by_frame_and_from_the_start_at_every_pass(tmp_path):
    video = VideoFile(unkind.drawn(tmp_path / "a.mp4"))
    assert (video.count, video.height, video.width, video.fps) == (10, 48, 64, 10)
    first, again = list(video), list(video)
    assert len(first) == 10 and all(f.shape == (48, 64, 3) and f.dtype == np.uint8 for f in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    one, other = iter(video), iter(video)
    next(one)
    assert np.array_equal(next(other), first[0]) and np.array_equal(next(one), first[1])


@pytest.mark.parametrize(
    ("name", "rate"), [("a.mp4", Fraction(30000, 1001)), ("a.mkv", Fraction(30000, 1001)), ("a.mp4", 480)]
)
def test_an_even_clip_has_its_own_rate_and_each_frame_once(tmp_path, name, rate):
    video = VideoFile(unkind.drawn(tmp_path / name, 0.5, str(rate)))
    expected = float(rate)
    assert video.fps == pytest.approx(expected, rel=1e-6)
    frames = list(video)
    assert len(frames) == video.count == round(0.5 * expected)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_rate_plays_at_its_own_speed(tmp_path, suffix):
    path = unkind.uneven(tmp_path / f"a{suffix}")
    video = VideoFile(path)
    assert video.fps == pytest.approx(20, rel=0.02) and video.count / video.fps == pytest.approx(4, abs=0.2)
    frames = list(video)
    assert len(frames) == video.count
    with av.open(str(path)) as container:
        shown = [
            (frame.time, frame.to_ndarray(format="rgb24", interpolation=EXACT))
            for frame in container.decode(video=0)
        ]
    assert len(shown) < 60
    for k in (0, 10, 30, 41, 44, 46, 70):  # at each time the frame that a player shows then
        expected = [pixels for time, pixels in shown if time <= k / video.fps + 0.026][-1]
        assert np.abs(frames[k].astype(int) - expected).mean() < 6, k


@pytest.mark.parametrize(("name", "default"), [("a.mp4", 0), ("a.mp4", 1), ("a.mkv", None)])
def test_of_two_video_streams_the_default_is_taken_or_else_the_larger(tmp_path, name, default):
    video = VideoFile(unkind.two_streams(tmp_path / name, default))
    frame = next(iter(video))
    if default == 0:
        assert (video.width, video.count) == (64, 10) and frame.std() > 30
    else:
        assert (video.width, video.count) == (160, 25) and frame.std(axis=(0, 1)).max() < 3


@pytest.mark.parametrize(
    ("options", "turned"),
    [
        (["-display_rotation", "90"], lambda f: np.rot90(f, 1)),
        (["-display_rotation", "180"], lambda f: np.rot90(f, 2)),
        (["-display_rotation", "270"], lambda f: np.rot90(f, 3)),
        (["-display_hflip"], lambda f: f[:, ::-1]),
        (["-display_vflip"], lambda f: f[::-1]),
        (["-display_rotation", "90", "-display_hflip"], None),
    ],
)
def test_a_clip_is_the_right_way_up(tmp_path, options, turned):
    flat, path = unkind.drawn(tmp_path / "flat.mp4"), tmp_path / "a.mp4"
    unkind.ffmpeg(*options, "-i", flat, "-c", "copy", path)
    unkind.ffmpeg("-i", path, "-frames:v", "1", tmp_path / "a.png")  # which turns it as players do
    video = VideoFile(path)
    frame = next(iter(video))
    expected = turned(next(iter(VideoFile(flat)))) if turned else read_image(tmp_path / "a.png")
    assert frame.shape == expected.shape == (video.height, video.width, 3)
    assert np.abs(luma(frame) - luma(expected)).mean() < 2
    assert np.abs(luma(frame) - luma(read_image(tmp_path / "a.png"))).mean() < 3


@pytest.mark.parametrize(("aspect", "size"), [("16/11", (93, 48)), ("1/2", (64, 96)), ("1/100", (64, 48))])
def test_pixels_become_square_unless_that_is_absurd(tmp_path, aspect, size):
    args = ["-vf", f"setsar={aspect}", *unkind.H264]
    video = VideoFile(unkind.drawn(tmp_path / "a.mp4", 1, "10", "64x48", *args))
    assert (video.width, video.height) == size and next(iter(video)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    ("size", "matrix", "tagged", "full"),
    [
        ("64x48", "bt709", True, False),
        ("1280x720", "smpte170m", True, False),
        ("64x48", "bt2020nc", True, False),
        ("64x48", "bt709", True, True),
        ("64x48", "smpte170m", False, False),  # untagged: small ones are bt601, large ones bt709
        ("1280x720", "bt709", False, False),
    ],
)
def test_colours_are_those_that_were_meant(tmp_path, size, matrix, tagged, full):
    frame = next(iter(VideoFile(unkind.red(tmp_path / "a.mp4", size, matrix, tagged, full))))
    assert np.abs(frame.astype(int) - [200, 30, 30]).max() <= 5


def test_odd_sizes_and_finer_layouts_are_read_as_they_are(tmp_path):
    args = ["-c:v", "libx264", "-pix_fmt", "yuv444p10"]
    video = VideoFile(unkind.drawn(tmp_path / "a.mp4", 1, "10", "65x49", *args))
    assert next(iter(video)).shape == (49, 65, 3) == (video.height, video.width, 3)


def test_pixels_that_are_rgb_already_stay_what_they_are(tmp_path):
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2).repeat(2, 0).repeat(2, 1)
    (tmp_path / "a.ppm").write_bytes(b"P6 32 32 255\n" + grey.tobytes())
    unkind.ffmpeg("-i", tmp_path / "a.ppm", "-c:v", "ffv1", "-pix_fmt", "bgr0", tmp_path / "a.mkv")
    assert np.array_equal(next(iter(VideoFile(tmp_path / "a.mkv"))), grey)


def test_an_edit_list_hides_what_it_hides(tmp_path):
    whole = unkind.drawn(tmp_path / "whole.mp4", 3)
    unkind.ffmpeg("-ss", "0.35", "-i", whole, "-c", "copy", tmp_path / "a.mp4")
    video = VideoFile(tmp_path / "a.mp4")
    assert video.count == len(list(video)) == 26
    assert np.abs(next(iter(video)).astype(int) - list(VideoFile(whole))[4]).mean() < 1


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("a.mp4", [*unkind.H264, "-g", "6", "-bf", "2"]),
        ("a.mkv", [*unkind.H264, "-g", "12", "-x264-params", "open-gop=1"]),
        ("a.mp4", [*unkind.H264, "-intra-refresh", "1", "-g", "8"]),
        ("a.webm", ["-c:v", "libvpx-vp9", "-g", "9"]),
        ("a.avi", ["-c:v", "mpeg4", "-bf", "2"]),
        ("a.gif", ["-pix_fmt", "rgb8"]),
    ],
)
def test_a_file_is_sought_in_and_shows_the_same_frames(tmp_path, name, args):
    video = VideoFile(unkind.drawn(tmp_path / name, 3, "10", "64x48", *args))
    whole = np.stack(list(video))
    for first in (0, 1, 7, 13, 29):
        assert np.array_equal(np.stack(list(video.since(first))), whole[first:])
    assert not list(video.since(30))


def test_an_uneven_file_and_one_with_an_edit_list_go_on_where_they_should(tmp_path):
    unkind.ffmpeg("-ss", "0.35", "-i", unkind.drawn(tmp_path / "b.mp4", 3), "-c", "copy", tmp_path / "c.mp4")
    for path in (unkind.uneven(tmp_path / "a.mkv"), tmp_path / "c.mp4"):
        video = VideoFile(path)
        whole = list(video)
        assert np.array_equal(np.stack(list(video.since(5))), np.stack(whole[5:]))


def test_an_old_container_without_times_is_read(tmp_path):
    video = VideoFile(unkind.drawn(tmp_path / "a.avi", 2, "10", "64x48", "-c:v", "mpeg4", "-bf", "2"))
    assert video.fps == 10 and len(list(video)) == video.count == 20


# Cut and damaged files


@pytest.mark.parametrize(
    ("name", "args", "part"),
    [
        ("a.mp4", unkind.H264, 0.9),  # the index is at the end
        ("a.mp4", [*unkind.H264, "-movflags", "faststart"], 0.6),
        ("a.mp4", [*unkind.H264, "-movflags", "frag_keyframe+empty_moov"], 0.6),
        ("a.mkv", unkind.H264, 0.6),
        ("a.webm", ["-c:v", "libvpx-vp9"], 0.6),
        ("a.avi", ["-c:v", "mpeg4"], 0.6),
    ],
)
def test_a_cut_file_is_named_as_such_before_the_work(tmp_path, name, args, part):
    path = unkind.drawn(tmp_path / name, 4, "10", "64x48", *args)
    assert len(list(VideoFile(path))) == 40
    with pytest.raises(ValueError, match=rf"{name} (is cut or damaged|cannot be read.* cut, or damaged)"):
        VideoFile(unkind.cut(path, part))


@pytest.mark.parametrize(
    ("name", "args"),
    [("a.mp4", unkind.H264), ("a.webm", ["-c:v", "libvpx-vp9"]), ("a.ts", ["-c:v", "mpeg2video"])],
)
def test_a_damaged_file_is_named_as_such(tmp_path, name, args):
    path = unkind.drawn(tmp_path / name, 4, "10", "64x48", *args)
    with pytest.raises(ValueError, match=f"{name} (is .*damaged|cannot be read.* damaged)"):
        list(VideoFile(unkind.spoilt(path)))


def test_a_file_with_sound_only_is_no_video(tmp_path):
    unkind.ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "a.m4a")
    with pytest.raises(ValueError, match="a.m4a holds no video"):
        VideoFile(tmp_path / "a.m4a")


def test_a_folder_and_a_picture_are_no_video(tmp_path):
    unkind.drawn(tmp_path / "a.png", 0.1, "10", "64x48", "-c:v", "png", "-update", "1")
    with pytest.raises(ValueError, match="a.png cannot be read as a video"):
        VideoFile(tmp_path / "a.png")
    with pytest.raises(ValueError, match="there is no video file"):
        VideoFile(tmp_path)


# Names and lists that would lead elsewhere


@pytest.fixture
def asked():
    """An address nothing should be asked for; (its port, what was asked)."""
    server, calls = socket.create_server(("127.0.0.1", 0)), []

    def listen():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            calls.append(connection.recv(1000))
            connection.close()

    threading.Thread(target=listen, daemon=True).start()
    yield server.getsockname()[1], calls
    server.close()


@pytest.mark.parametrize(
    "name", ["list.m3u8", "list.mp4", "list.mpd", "list.sdp", "concat.txt", "concat.mp4"]
)
def test_playlists_and_lists_of_files_are_refused_and_ask_for_nothing(tmp_path, monkeypatch, asked, name):
    port, calls = asked
    unkind.drawn(tmp_path / "inside.mp4")
    address = f"http://127.0.0.1:{port}/x.mp4"
    (tmp_path / name).write_text(
        {
            "concat": "ffconcat version 1.0\nfile inside.mp4\n",
            "list.mpd": f'<?xml version="1.0"?><MPD><BaseURL>{address}</BaseURL></MPD>',
            "list.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
        }.get(name if name[5:] in ("mpd", "sdp") else name.partition(".")[0])
        or f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n",
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match=f"{name} cannot be read as a video"):
        VideoFile(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="there is no video file"):
        VideoFile(address)
    assert read_comment(tmp_path / name) == "" and not calls


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize(
    "name", ["http:/127.0.0.1:PORT/a.mp4", "concat:a.mp4|b.mp4", "-i.mp4", "%03d.mp4", "a:b.mp4", "pipe:0"]
)
def test_a_name_is_a_file_and_never_an_address(tmp_path, monkeypatch, asked, name):
    port, calls = asked
    monkeypatch.chdir(tmp_path)
    name = name.replace("PORT", str(port))
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    unkind.drawn(tmp_path / "plain.mp4")
    (tmp_path / "plain.mp4").rename(name)
    frames = list(VideoFile(name))
    assert len(frames) == 10 and not calls
    if name.endswith(".mp4"):
        again = write_frames(name, frames, 10, "")
        assert again.name == f"{Path(name).stem}_00001_.mp4" and VideoFile(again).count == 10


# Sound


def loud_from(path: Path) -> tuple[float, float]:
    """Seconds at which a clip's tone begins, and how long its sound is."""
    with av.open(str(path)) as container:
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
        rate = container.streams.audio[0].rate
    return float(np.argmax(np.abs(samples) > 0.3)) / rate, len(samples) / rate


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("start", [0.0, 0.5])
@pytest.mark.parametrize(("seconds", "heard"), [(2, 2), (2, 4), (3, 2)])
def test_sound_is_kept_from_its_place_on_and_cut_to_the_clip(tmp_path, suffix, start, seconds, heard):
    video = VideoFile(unkind.with_sound(tmp_path / "a.mp4", seconds, heard))
    frames = list(video)[int(10 * start) :]
    path = write_frames(tmp_path / f"out{suffix}", frames, video.fps, "", video.sound(start))
    begins, length = loud_from(path)
    assert begins == pytest.approx(1 - start, abs=0.03)
    assert length == pytest.approx(min(seconds, heard) - start, abs=0.06)
    assert VideoFile(path).count == len(frames)


def test_a_silent_clip_has_no_sound_and_a_gif_takes_none(tmp_path):
    silent = VideoFile(unkind.drawn(tmp_path / "a.mp4"))
    assert silent.sound() is None
    loud = VideoFile(unkind.with_sound(tmp_path / "b.mp4", 1, 1))
    assert VideoFile(write_frames(tmp_path / "b.gif", loud, 10, "", loud.sound())).sound() is None


def test_without_pyav_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match="python -m pip install av"):
        pyav()
