"""A tripod by `photo.steady` beside ffmpeg's vid.stab (vidstabdetect, vidstabtransform), on the same clips.

    python benchmarks/steady.py [--frames 48] [--width 640]

Clips with known cameras are drawn by `tests/photo/takes.py`. Both results are judged alike, by their pixels: where
patches of the first frame are found in the others, the middle patch of each frame, as the root mean square over the
frames. Patches that a mask or somebody covers, and empty walls, do not count; a patch counts 11 pixels at most.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lumiere_core.media.frames import TensorFrames, as_bytes  # noqa: E402
from lumiere_core.photo.steady import stabilised  # noqa: E402

_spec = importlib.util.spec_from_file_location("takes", ROOT / "tests" / "photo" / "takes.py")
takes = importlib.util.module_from_spec(_spec)
sys.modules["takes"] = takes
_spec.loader.exec_module(takes)

SIDE, REACH = 48, 11  # pixels of a patch, and how far it is looked for: windows come again after 20


def vidstab(clip: np.ndarray, shakiness: int = 10, interpolation: str = "bicubic") -> np.ndarray:
    """The clip by ffmpeg in tripod mode, losslessly in and out, without zoom."""
    frames, height, width = clip.shape[:3]
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "16", "-i", "-"]
    detect = f"format=yuv444p,vidstabdetect=tripod=1:shakiness={shakiness}:accuracy=15:mincontrast=0.1:result=t.trf"
    show = (
        f"format=yuv444p,vidstabtransform=tripod=1:input=t.trf:optzoom=0:crop=keep:interpol={interpolation}"
    )
    with tempfile.TemporaryDirectory() as folder:
        data = clip.tobytes()
        run = {"input": data, "cwd": folder, "check": True, "capture_output": True}
        subprocess.run([*ffmpeg, *raw, "-vf", detect, "-f", "null", "-"], **run)
        made = subprocess.run(
            [*ffmpeg, *raw, "-vf", show, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], **run
        ).stdout
    return np.frombuffer(made, np.uint8).reshape(-1, height, width, 3)


def ours(clip: np.ndarray, moves: np.ndarray | None) -> tuple[np.ndarray, str]:
    """The clip by `stabilised`, and what it says."""
    made = stabilised(
        TensorFrames(torch.from_numpy(clip).float() / 255), None if moves is None else torch.from_numpy(moves)
    )
    return np.stack([as_bytes(frame) for frame in made]), made.said


def away(clip: np.ndarray, covered: np.ndarray) -> float:
    """How far the still world is from where the first frame has it, in pixels; covered `(T, H, W)` does not count."""
    frames, height, width = clip.shape[:3]
    luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip])
    luma = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in luma])  # noise has no place
    room = REACH + height // 20  # borders come into view
    corners = [
        (top, left)
        for top in range(room, height - room - SIDE + 1, SIDE // 2)
        for left in range(room, width - room - SIDE + 1, SIDE // 2)
        if luma[0][top : top + SIDE, left : left + SIDE].std() > 14
    ]
    found = []
    for t in range(1, frames):
        shifts = [
            _shift(luma[0], luma[t], top, left)
            for top, left in corners
            if covered[[0, t], top : top + SIDE, left : left + SIDE].mean() < 0.05
        ]
        if shifts:
            found.append(np.median(np.hypot(*np.transpose(shifts))))
    return float(np.sqrt(np.mean(np.square(found)))) if found else float("nan")


def _shift(first: np.ndarray, later: np.ndarray, top: int, left: int) -> tuple[float, float]:
    """Where a patch of the first picture is in the later one, by its correlation, to a part of a pixel."""
    patch = first[top : top + SIDE, left : left + SIDE]
    around = later[top - REACH : top + SIDE + REACH, left - REACH : left + SIDE + REACH]
    fit = cv2.matchTemplate(around, patch, cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(fit.argmax(), fit.shape)

    def between(low: float, best: float, high: float) -> float:
        bend = low - 2 * best + high
        return 0.0 if bend == 0 else 0.5 * (low - high) / bend

    dx = between(*fit[y, x - 1 : x + 2]) if 0 < x < 2 * REACH else 0.0
    dy = between(*fit[y - 1 : y + 2, x]) if 0 < y < 2 * REACH else 0.0
    return x + dx - REACH, y + dy - REACH


def table(names: list[str], height: int, width: int, frames: int) -> list[str]:
    """A row for each take."""
    rows = ["| clip | as filmed | vid.stab | ours | ours says |", "| --- | --- | --- | --- | --- |"]
    for name in names:
        take = takes.take(name, height, width, frames)
        grown = np.stack([cv2.dilate(c.astype(np.uint8), np.ones((9, 9))) > 0 for c in take.covered])
        if take.moves is not None:
            grown |= take.moves > 0
        mine, said = ours(take.clip, take.moves)
        best = min(away(vidstab(take.clip, shakiness), grown) for shakiness in (5, 10))  # its better setting
        rows.append(
            f"| {name} | {away(take.clip, grown):.2f} | {best:.2f} | {away(mine, grown):.2f} | {said} |"
        )
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(takes.TAKES))
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--width", type=int, default=640)
    args = parser.parse_args()
    table(args.names, args.width * 9 // 16, args.width, args.frames)
