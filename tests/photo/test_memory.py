"""A clip is never held: eight times as many frames take no more memory, on the command line and between passes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lumiere_core.media import memory
from lumiere_core.media.files import write_frames

pytest.importorskip("resource", reason="peak memory is asked of the system, which Windows answers otherwise")

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, FEW, MANY = 640, 360, 10, 80
HELD = (MANY - FEW) * HEIGHT * WIDTH * 3 / 1e6  # megabytes by which a clip in uint8 that is held would grow

# Each piece of work is done with FEW frames, and then each with MANY; told is by how many megabytes the peak grew.
SCRIPT = """
import json, pathlib, resource, sys
import numpy as np, torch
from lumiere_core.media.frames import as_bytes, gathered
from lumiere_core.media.frames import TensorFrames
from lumiere_core.photo import cinemagraph, drift, steady
from lumiere_core.photo.camera import move
from lumiere_core.photo.overlays import air, overlay
from lumiere_core.photo.loops import loop, periods, pixelwise, ways

torch.set_num_threads(1)
width, height, few, many = map(int, sys.argv[1:5])
blocks = np.random.default_rng(0).integers(0, 256, (height // 24, width // 24 + 2, 3), np.uint8)
wide = blocks.repeat(24, 0).repeat(24, 1)
loop.HELD = 5 * 3 * height * width
pixelwise.MADE = 5 * 12 * height * width
periods.CELLS = 1000
mask = torch.zeros(height, width)
mask[100:260, 200:440] = torch.linspace(0.5, 1, 240)


class Pan:
    height, width, fps = height, width, 16.0

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        for i in range(self.count):
            left = round(6 + 6 * np.sin(0.7 * i))
            yield np.ascontiguousarray(wide[:, left : left + width])


def command(frames):
    from lumiere_core.cli import main

    source = sys.argv[5 if frames == few else 6]
    assert main(["clip", "loop", source, "--how", "dissolve", "--overlap", "4", "--out", source[:-4]]) == 0


def held(frames):
    return np.stack(list(Pan(frames)))


def seen(clip):
    assert sum(as_bytes(frame).shape == (height, width, 3) for frame in clip) == clip.count


photo = TensorFrames(torch.rand(1, height, width, 3))


def over(kind, frames):
    seen(overlay.overlaid_frames(photo, air.Overlay(kind), frames, matte=mask[None]))


def past(frames):
    seen(move.moved_frames(photo, move.CameraMove("circle", amount=0.03), frames, mask[None]))


works = {
    "steam": lambda frames: over("steam", frames),
    "rain": lambda frames: over("rain", frames),
    "sparks": lambda frames: over("sparks", frames),
    "camera": past,
    "steady": lambda frames: seen(steady.stabilised(Pan(frames), mask)),
    "drift": lambda frames: seen(drift.match_drift(Pan(frames), mask)),
    "cut": lambda frames: seen(ways.make_loop(Pan(frames), "cut")),
    "dissolve": lambda frames: seen(ways.make_loop(Pan(frames), "dissolve", overlap=4)),
    "ping-pong": lambda frames: seen(ways.make_loop(Pan(frames), "ping-pong")),
    "cinemagraph": lambda frames: seen(cinemagraph.cinemagraph_from_clip(Pan(frames), mask, loop="dissolve")),
    "per pixel": lambda frames: seen(ways.make_loop(Pan(frames), "per pixel")),
    "command": command,
    "held": held,
    "graph": lambda frames: gathered(drift.match_drift(Pan(frames), mask)),
}


def peak():
    # Linux's ru_maxrss still counts what the parent had when it started this process; VmHWM does not.
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


for work in works.values():
    work(few)
grown = {}
for name, work in works.items():
    before = peak()
    work(many)
    grown[name] = peak() - before
print(json.dumps(grown))
"""


@pytest.fixture(scope="module")
def growth(tmp_path_factory) -> dict[str, float]:
    """Megabytes by which each piece of work raises the peak when it has MANY frames, after all had FEW."""
    folder, rows = tmp_path_factory.mktemp("clips"), np.arange(HEIGHT)[:, None, None]
    files = [folder / "few.mp4", folder / "many.mp4"]
    for path, count in zip(files, (FEW, MANY), strict=True):
        frames = (
            np.broadcast_to((rows + 4 * i) % 256, (HEIGHT, WIDTH, 3)).astype(np.uint8) for i in range(count)
        )
        write_frames(path, frames, 16, "")
    line = [sys.executable, "-c", SCRIPT, *map(str, (WIDTH, HEIGHT, FEW, MANY, *files))]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "work",
    [
        "steady",
        "drift",
        "cut",
        "dissolve",
        "ping-pong",
        "cinemagraph",
        "per pixel",
        "command",
        "steam",
        "rain",
        "sparks",
        "camera",
    ],
)
def test_eight_times_as_many_frames_take_no_more_memory(growth, work):
    assert growth[work] < 0.3 * HELD


def test_a_clip_that_is_held_would_be_seen(growth):
    assert growth["held"] > 0.7 * HELD


def test_in_a_graph_the_result_is_the_only_copy(growth):
    assert growth["graph"] < 4.3 * HELD  # in float32, which an IMAGE is


def test_what_the_machine_has_not_is_refused_before_the_work(monkeypatch):
    assert memory.gigabytes(80, 3000, 4000) == pytest.approx(11.52)
    monkeypatch.setattr(memory, "free_memory", lambda: 8.0)
    memory.check_memory("80 frames", 7.9, "Fewer.")
    with pytest.raises(
        ValueError, match=r"80 frames take 11.5 GB of memory, but only 8.0 GB are free. Fewer."
    ):
        memory.check_memory("80 frames", 11.52, "Fewer.")
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    memory.check_memory("80 frames", 1e9, "where nothing is known, nothing is refused")


def test_the_machine_says_how_much_is_free():
    assert 0.01 < memory.free_memory() < 1e5


# Arrays of 16 MB, something small that stays after each, and then only that: what the process still holds, in MB.
HOLES = """
import sys
import numpy as np
from lumiere_core.media.memory import free_at_once

if sys.argv[1] == "at once":
    free_at_once()
large, small = [np.ones(16_000_000, np.uint8)], []
large.clear()  # from now on glibc keeps such arrays in its heap
for _ in range(20):
    large.append(np.ones(16_000_000, np.uint8))
    small.append(bytes(50_000))
large.clear()
status = open("/proc/self/status", encoding="utf-8").read()
print(int(status.split("VmRSS:")[1].split()[0]) / 1e3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep what is freed in this way")
def test_arrays_that_are_freed_leave_no_holes_behind():
    held = {
        how: float(
            subprocess.run(
                [sys.executable, "-c", HOLES, how], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("at once", "as usual")
    }
    assert held["at once"] < held["as usual"] - 200, "20 arrays of 16 MB"
