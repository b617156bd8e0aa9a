"""No output costs an input or another run's work, and what cannot be written is said before the work."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from lumiere_core.media.files import check_clip, read_comment, write_frames
from lumiere_core.outputs import check_folder, check_output, place, take, unfinished, write_whole

ROOT = Path(__file__).resolve().parents[1]
FRAME = np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "is a folder. Name a file in it"),
        ("..", "is a folder. Name a file in it"),
        (os.sep, "is a folder. Name a file in it"),
        ("clip.avi", "ends in .avi, but it is written as .mp4, .webm, .gif, or into a folder"),
        ("x" * 300 + ".mp4", "has 304 bytes"),
        ("\u6d77" * 90 + ".mp4", "has 274 bytes"),
        ("there.mp4", "there.mp4 is a folder"),
        ("file/clip.mp4", "file is no folder to write to"),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_the_work(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    Path("there.mp4").mkdir()
    Path("file").touch()
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        check_clip(name, 16)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["x" * 236 + ".mp4", "x" * 240])
def test_the_longest_name_has_room_for_a_number(tmp_path, name):
    for i in range(2):
        path = write_frames(tmp_path / name, [FRAME], 16, "")
        assert path.exists() and ("_00001_" in path.name) == bool(i)


def test_a_path_that_is_too_long_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="a folder's name x+... has 300 bytes"):
        check_clip(tmp_path / ("x" * 300) / "clip.mp4", 16)


@pytest.mark.parametrize("link", ["itself", "dotted", "hard", "symbolic", "folder"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_an_input_is_refused_also_by_a_link(tmp_path, link, overwrite):
    source = tmp_path / "in.mp4"
    source.write_bytes(b"mine")
    out = tmp_path / "out.mp4"
    if link == "hard":
        os.link(source, out)
    elif link == "symbolic":
        out.symlink_to(source)
    elif link == "folder":
        (tmp_path / "other").symlink_to(tmp_path, target_is_directory=True)
        out = tmp_path / "other" / "in.mp4"
    else:
        out = source if link == "itself" else tmp_path / "no" / ".." / "in.mp4"
    with pytest.raises(ValueError, match="is read, or written"):
        check_clip(out, 16, None, source, overwrite=overwrite)
    check_clip(tmp_path / "free.mp4", 16, None, source, overwrite=overwrite)


def test_two_outputs_of_one_name_are_seen_before_either_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is read, or written"):
        check_output(Path("a.png"), [".png"], tmp_path / "a.png")


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    (tmp_path / "out.mp4").symlink_to(tmp_path / "mine.mp4")
    write_frames(tmp_path / "out.mp4", [FRAME], 16, "new", overwrite=True)
    assert (tmp_path / "mine.mp4").read_bytes() == b"mine" and read_comment(tmp_path / "out.mp4") == "new"
    (tmp_path / "dead.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert write_frames(tmp_path / "dead.mp4", [FRAME], 16, "").name == "dead_00001_.mp4"
    assert not (tmp_path / "nowhere.mp4").exists()


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ""])
def test_two_runs_on_one_name_both_keep_their_work(tmp_path, suffix):
    begun, written = threading.Barrier(3), []

    def frames():
        yield FRAME
        begun.wait()
        yield FRAME

    def run(name):
        written.append(write_frames(tmp_path / f"clip{suffix}", frames(), 16, name))

    threads = [threading.Thread(target=run, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(written)) == 3 == len(list(tmp_path.iterdir()))
    assert {read_comment(p if suffix else p / "00001.png") for p in written} == set("abc")


def test_a_folder_that_cannot_be_renamed_ends_in_words_and_not_in_a_circle(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(ValueError, match="Permission denied"), unfinished(tmp_path / "out") as part:
        part.mkdir()
        place(part, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    """A day later: before that nobody looks."""
    folders = {name: tmp_path / f".part-{name}" for name in ("dead", "alive", "new", "other")}
    for folder in folders.values():
        folder.mkdir()
        (folder / "part.mp4").write_bytes(b"half")
    for name in ("dead", "alive", "new"):
        (folders[name] / "lock").touch()
        os.utime(folders[name] / "lock", (0, 0) if name != "new" else None)
    with (folders["alive"] / "lock").open("r+b") as held:
        take(held)
        write_frames(tmp_path / "clip.mp4", [FRAME], 16, "")
        assert {p.name for p in tmp_path.iterdir()} == {".part-alive", ".part-new", ".part-other", "clip.mp4"}
        assert (folders["alive"] / "part.mp4").read_bytes() == b"half"


def test_a_run_holds_its_own_part_and_a_second_one_cannot_take_it(tmp_path):
    with unfinished(tmp_path / "clip.mp4") as part:
        part.write_bytes(b"half")
        os.utime(part.parent / "lock", (0, 0))
        write_frames(tmp_path / "other.mp4", [FRAME], 16, "")
        assert place(part, tmp_path / "clip.mp4").read_bytes() == b"half"
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mp4", "other.mp4"}


@pytest.mark.parametrize("name", ["lock", "part", ".part-lock"])
def test_a_result_may_have_any_name(tmp_path, name):
    assert write_frames(tmp_path / name, [FRAME], 16, "") == tmp_path / name
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_is_written_in_one_piece_and_replaces_the_one_before(tmp_path, full_disk):
    path = tmp_path / "new" / "state"
    write_whole(path, b"one")
    with full_disk(), pytest.raises(ValueError, match="cannot be written"):
        write_whole(path, b"x" * 10_000)
    assert path.read_bytes() == b"one"
    write_whole(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in path.parent.iterdir()] == ["state"]


def test_a_folder_for_results_is_checked_as_it_will_be_made(tmp_path):
    check_folder(tmp_path / "new" / "newer")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is no folder to write to"):
        check_folder(tmp_path / "file" / "runs")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


SLOW = """
import sys, time
from pathlib import Path
from lumiere_core.cli.terminal import stopped_by_signals
from lumiere_core.outputs import unfinished

with stopped_by_signals(), unfinished(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process at once")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_no_part_behind(tmp_path, name):
    import signal

    number = getattr(signal, name)
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path / "clip.mp4")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup has its children ignore SIGHUP
    )
    assert child.stdout.readline() == "begun\n"
    assert [p.name[:6] for p in tmp_path.iterdir()] == [".part-"]
    child.send_signal(number)
    assert child.wait(20) == 128 + number
    child.stdout.close()
    assert not list(tmp_path.iterdir())
