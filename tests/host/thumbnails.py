"""Makes the thumbnails of workflows from what they make, in a real ComfyUI.

    COMFYUI_PATH=... python tests/host/thumbnails.py 2_image_to_video 2_edit_video [--steps 4]

Needs PyTorch, OpenCV and PyAV; COMFYUI_PATH and COMFYUI_PYTHON are those of the host tests. A thumbnail is four moments
of the clip, 256x256 pixels. Of two clips that one workflow saves, each gives two.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PACK), str(Path(__file__).parent)]
import cv2  # noqa: E402
import numpy as np  # noqa: E402
from server import Server  # noqa: E402
from workflow import to_prompt  # noqa: E402

import dev  # noqa: E402
from lumiere_core.media.files import read_clip  # noqa: E402

SIDE, MOMENTS = 256, 4


def clips_of(server: Server, prompt: dict) -> list[Path]:
    """Run it; the files it saved, in the order of their nodes."""
    done = server.wait(server.post("/prompt", {"prompt": prompt})["prompt_id"], 3600)
    if done["status"]["status_str"] != "success":
        said = [body for kind, body in done["status"]["messages"] if kind == "execution_error"]
        raise SystemExit(f"it failed: {said[0]['exception_message'] if said else done['status']}")
    saved = sorted(done["outputs"].items(), key=lambda item: int(item[0]))
    files = [f for _, output in saved for f in output.get("images", []) if f["type"] == "output"]
    return [server.base / "output" / f["subfolder"] / f["filename"] for f in files]


def thumbnail(clips: list[Path]) -> np.ndarray:
    """Four moments, from the beginning to the end, left to right and down. `(256, 256, 3)` uint8, BGR"""
    tiles, each = [], MOMENTS // min(len(clips), 2)
    for path in clips[:2]:
        clip, _ = read_clip(path)  # (3, T, H, W) in [-1, 1]
        for at in np.linspace(0, clip.shape[1] - 1, each).round().astype(int):
            frame = ((clip[:, at].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).numpy() * 255).astype(np.uint8)
            side = min(frame.shape[:2])
            top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
            frame = frame[top : top + side, left : left + side, ::-1]
            tiles.append(cv2.resize(frame, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA))
    return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("workflows", nargs="+", help="names without .json")
    options.add_argument("--steps", type=int, help="at most so many denoising steps: a sketch")
    options.add_argument("--keep", help="a folder in which the clips stay")
    asked = options.parse_args()
    host = dev.find_comfyui(dict(os.environ), PACK, Path.home())
    if host is None:
        raise SystemExit("there is no ComfyUI. Set COMFYUI_PATH.")
    with tempfile.TemporaryDirectory() as base:
        server = Server(host, dev.python_of(host, os.environ), Path(base))
        try:
            info = server.get("/object_info")
            for name in asked.workflows:
                path = PACK / "workflows" / f"{name}.json"
                prompt = to_prompt(json.loads(path.read_text(encoding="utf-8")), info)
                for node in prompt.values():
                    if asked.steps and "steps" in node["inputs"]:
                        node["inputs"]["steps"] = min(asked.steps, node["inputs"]["steps"])
                clips = clips_of(server, prompt)
                cv2.imwrite(str(path.with_suffix(".jpg")), thumbnail(clips), [cv2.IMWRITE_JPEG_QUALITY, 85])
                for number, clip in enumerate(clips):
                    if asked.keep:
                        kept = Path(asked.keep) / f"{name}-{number}{clip.suffix}"
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        kept.write_bytes(clip.read_bytes())
                print(f"wrote {path.with_suffix('.jpg')}", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
