"""Other packs in the same process: nothing clashes, theirs still run, and clips go from ours to theirs.

COMFYUI_NEIGHBOURS names a folder with checkouts of ComfyUI-VideoHelperSuite and ComfyUI-AnimateDiff-Evolved.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("server", Path(__file__).parent / "server.py")
SPEC.loader.exec_module(module := importlib.util.module_from_spec(SPEC))
Server = module.Server

NAMES = ("ComfyUI-VideoHelperSuite", "ComfyUI-AnimateDiff-Evolved")


@pytest.fixture(scope="module")
def server(host: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = Path(os.environ.get("COMFYUI_NEIGHBOURS", "."))
    packs = [folder / name for name in NAMES]
    if not all(pack.is_dir() for pack in packs):
        pytest.skip(f"NO NEIGHBOURS FOUND: set COMFYUI_NEIGHBOURS to a folder with {' and '.join(NAMES)}.")
    running = Server(*host, tmp_path_factory.mktemp("comfy"), packs)
    yield running
    running.stop()


def graph(model: list) -> dict:
    """16 frames from our MODEL through the core's KSampler."""
    return {
        "1": {
            "class_type": "Lumiere_LoadModel",
            "inputs": {"model_name": "Lumiere mini (drawn world), base"},
        },
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a red balloon"}},
        "3": {"class_type": "Lumiere_EmptyVideo", "inputs": {"width": 64, "height": 64, "frames": 16}},
        "4": {
            "class_type": "KSampler",
            "inputs": {
                "model": model,
                "positive": ["2", 0],
                "negative": ["2", 0],
                "latent_image": ["3", 0],
                "seed": 1,
                "steps": 2,
                "cfg": 3.0,
                "sampler_name": "euler",
                "scheduler": "sgm_uniform",
                "denoise": 1.0,
            },
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    }


def outcome(server: Server, prompt: dict) -> dict:
    done = server.wait(server.post("/prompt", {"prompt": prompt})["prompt_id"])
    assert done["status"]["status_str"] == "success", json.dumps(done["status"])[-3000:]
    return done["outputs"]


def test_all_three_load(server: Server) -> None:
    known = server.get("/object_info")
    assert "IMPORT FAILED" not in server.text()
    assert {"Lumiere_Sample", "VHS_VideoCombine", "ADE_UseEvolvedSampling"} <= set(known)


def test_our_clip_is_combined_by_video_helper_suite(server: Server) -> None:
    prompt = graph(["1", 0])
    prompt["6"] = {
        "class_type": "VHS_VideoCombine",
        "inputs": {
            "images": ["5", 0],
            "frame_rate": 16,
            "loop_count": 0,
            "filename_prefix": "both",
            "format": "image/gif",
            "pingpong": False,
            "save_output": True,
        },
    }
    gifs = outcome(server, prompt)["6"]["gifs"]
    assert (server.base / "output" / gifs[0]["filename"]).stat().st_size > 1000


def test_animatediff_samples_our_model_and_ours_still_samples_after_it(server: Server) -> None:
    save = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "frames"}}
    for model in (["1", 0], ["8", 0], ["1", 0]):
        prompt = graph(model) | {
            "6": save,
            "7": {
                "class_type": "ADE_StandardStaticContextOptions",
                "inputs": {"context_length": 16, "context_overlap": 4},
            },
            "8": {
                "class_type": "ADE_UseEvolvedSampling",
                "inputs": {"model": ["1", 0], "beta_schedule": "use existing", "context_options": ["7", 0]},
            },
        }
        if model == ["1", 0]:
            del prompt["7"], prompt["8"]
        prompt["4"]["inputs"]["seed"] = len(list((server.base / "output").glob("frames*")))  # never cached
        assert len(outcome(server, prompt)["6"]["images"]) == 16
