"""Makes the thumbnails of workflows anew, from a real run in a real ComfyUI.

    COMFYUI_PATH=... COMFYUI_PYTHON=... python tests/host/thumbnails.py [--at 0.5] 2_stylization ...

The first file that a workflow saves is taken: the middle square of a picture, or of a clip's frame at that share of its
length. 256x256 JPEG, as the Templates browser shows them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

import conftest  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from server import Server  # noqa: E402
from workflow import to_prompt  # noqa: E402

from lumiere_core.media.files import read_clip  # noqa: E402

SIDE = 256


def picture_of(path: Path, at: float) -> Image.Image:
    """A picture, or the frame of a clip at that share of its length."""
    if path.suffix == ".png":
        return Image.open(path).convert("RGB")
    clip, _ = read_clip(path)  # (3, T, H, W) in [-1, 1]
    frame = clip[:, min(clip.shape[1] - 1, int(at * clip.shape[1]))]
    return Image.fromarray(np.asarray((frame.movedim(0, -1) * 127.5 + 127.5).round().byte()))


def thumbnail(picture: Image.Image) -> Image.Image:
    """Its middle square."""
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)
    return picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("names", nargs="+")
    p.add_argument("--at", type=float, default=0.5)
    args = p.parse_args()
    host = next(iter(conftest.find_hosts()), None)
    assert host, "no ComfyUI was found: set COMFYUI_PATH and COMFYUI_PYTHON"
    with tempfile.TemporaryDirectory() as base:
        server = Server(*host, Path(base))
        try:
            for name in args.names:
                workflow = json.loads((ROOT / f"workflows/{name}.json").read_text(encoding="utf-8"))
                prompt = to_prompt(workflow, server.get("/object_info"))
                done = server.wait(server.post("/prompt", {"prompt": prompt})["prompt_id"], 3600)
                assert done["status"]["status_str"] == "success", done["status"]
                files = [f for node in done["outputs"].values() for f in node.get("images", [])]
                file = next((f for f in files if f["type"] == "output"), files[-1])
                path = server.base / file["type"] / file["subfolder"] / file["filename"]
                target = ROOT / f"workflows/{name}.jpg"
                thumbnail(picture_of(path, args.at)).save(target, quality=88)
                print(f"wrote {target} from {file['filename']}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
