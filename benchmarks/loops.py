"""Ways to loop a clip, on drawn scenes that behave as real footage does: how much the worst join shows.

    python benchmarks/loops.py [--scenes water,smoke] [--height 144] [--pictures FOLDER] [--speed]

For each scene the region is looped by a plain cross-fade, by the dissolve as it was the default before (8 frames), by
loops per pixel, and by auto. "join" is the worst local step where the loop joins, as the tool says it; "seen" is the
score of the finished loop, for which nothing but the loop is known. `--speed` measures 80 frames of 1280x720 instead.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.scenes import SCENES, fence  # noqa: E402
from lumiere_core.media.frames import Rendered, TensorFrames, as_bytes  # noqa: E402
from lumiere_core.media.measure import loop_seam_score  # noqa: E402
from lumiere_core.photo.cinemagraph import cinemagraph_from_clip  # noqa: E402

WAYS = {"cross-fade": "crossfade", "dissolve": "dissolve", "per pixel": "per pixel", "auto": "auto"}


@functools.lru_cache(1)
def drawn(name: str, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene's frames and its mask."""
    return SCENES[name](height, round(height * 16 / 9), 72)


def looped(name: str, way: str, height: int) -> tuple[torch.Tensor, str]:
    """A scene's cinemagraph from a tripod, in even light, and what it says."""
    clip, mask = drawn(name, height)
    source = TensorFrames(torch.from_numpy(clip))
    made = cinemagraph_from_clip(source, torch.from_numpy(mask), loop=way, stabilise=False, drift=False)
    return torch.stack([torch.from_numpy(frame) for frame in made]), made.said


def table(names: list[str], height: int, pictures: Path | None) -> None:
    print("| scene | " + " | ".join(f"{way}: join, seen" for way in WAYS) + " | auto took |")
    print("| --- " * (len(WAYS) + 2) + "|")
    for name in names:
        cells = []
        for way in WAYS.values():
            clip, said = looped(name, way, height)
            join = re.search(r"join ([\d.]+)x", said)
            cells.append(f"{join[1] if join else '-'}, {loop_seam_score(clip.permute(3, 0, 1, 2)):.2f}")
            if pictures:
                pictures.mkdir(parents=True, exist_ok=True)
                sheet = np.concatenate(
                    [as_bytes(frame.numpy()) for frame in clip[:: max(1, len(clip) // 6)]], 1
                )
                cv2.imwrite(str(pictures / f"{name} {way}.png".replace(" ", "_")), sheet[..., ::-1])
        print(f"| {name} | " + " | ".join(cells) + f" | {said.split('loop: ')[-1]} |", flush=True)


def speed() -> None:
    """80 frames of 1280x720, all of the picture painted, and as little of it held as a file's reader holds."""
    small, _ = fence(180, 320, 80)
    frames = [as_bytes(frame) for frame in small]

    def render():
        for frame in frames:
            yield cv2.resize(frame, (1280, 720), interpolation=cv2.INTER_CUBIC)

    clip, began = Rendered(80, 720, 1280, 16.0, render), (time.perf_counter(), time.process_time())
    made = cinemagraph_from_clip(clip, torch.ones(720, 1280), loop="auto", stabilise=False, drift=False)
    planned = time.process_time()
    count = sum(1 for _ in made)
    print(
        f"80 frames of 1280x720 -> {count}: {made.said}; {time.process_time() - began[1]:.1f} CPU seconds, of which "
        f"{planned - began[1]:.1f} to plan, {time.perf_counter() - began[0]:.1f} s in all"
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--scenes", default=",".join(SCENES), help="by commas")
    options.add_argument("--height", type=int, default=144, help="of the drawn scenes, in pixels")
    options.add_argument("--pictures", type=Path, help="a folder for contact sheets")
    options.add_argument("--speed", action="store_true", help="80 frames of 1280x720")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    if chosen.speed:
        speed()
    else:
        table(chosen.scenes.split(","), chosen.height, chosen.pictures)
