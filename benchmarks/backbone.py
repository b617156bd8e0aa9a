"""A trial of `train temporal --backbone`: what clips that were never trained on are worth before, and after.

    COMFYUI_PATH=... <ComfyUI's python> benchmarks/backbone.py [--minutes 8] [--clips 24] [--markdown]

The checkpoint is whole, of SD1.5's widths with two levels, its weights random; the clips are drawn. It shows that a run
learns, and what it takes; it says nothing of what real weights learn. About 1 GB of files in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

OPTIONS = argparse.ArgumentParser(description=__doc__.splitlines()[0])
OPTIONS.add_argument("--minutes", default="8", help="of training")
OPTIONS.add_argument("--clips", type=int, default=24, help="drawn clips of 16 frames; one in ten is held out")
OPTIONS.add_argument("--markdown", action="store_true", help="the table as Markdown")
CHOSEN = OPTIONS.parse_args()

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS / "host"))
from inside import HOST, PACK, Pack, base  # noqa: E402, I001  (first: it puts the host on the path)
from inside_backbone import SMALL_SD15, write_checkpoint, write_clips  # noqa: E402


def trained(folder: Path) -> list[dict]:
    """The log of a run over the checkpoint in this folder."""
    subprocess.run(
        [sys.executable, "-m", "lumiere_core", "train", "temporal", "--name", "trial", "--runs", str(folder)]
        + ["--backbone", str(folder / "small.safetensors"), "--clips", str(folder / "clips")]
        + [
            "--comfyui",
            str(HOST),
            "--frames",
            "8",
            "--fps",
            "4",
            "--size",
            "64",
            "--minutes",
            CHOSEN.minutes,
        ],
        cwd=PACK,
        check=True,
    )
    lines = (folder / "trial" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def main() -> None:
    folder = Path(base)
    try:
        write_checkpoint(folder / "small.safetensors", SMALL_SD15)
        write_clips(Pack(), folder / "clips", CHOSEN.clips, frames=16)
        began = time.monotonic()
        rows = trained(folder)
        seconds = time.monotonic() - began
    finally:
        shutil.rmtree(base)
    line = "| {:>6} |" + " {:>7} |" * 5 if CHOSEN.markdown else "{:>6} " + " {:>7}" * 5
    print(line.format("step", *rows[0]["unseen"]))
    for row in rows:
        print(line.format(row["step"], *(f"{loss:.4f}" for loss in row["unseen"].values())))
    print(f"{seconds:.0f} s, encoding included")


if __name__ == "__main__":
    main()
