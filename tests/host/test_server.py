"""A real ComfyUI server with this pack: it starts clean, the shipped workflows finish, cancel works."""

from __future__ import annotations

import importlib.util
import json
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACK = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((PACK / "workflows").glob("*.json"))
FRAMES = {
    "1_start_photo_motion_brush": 80,
    "1_start_photo_overlay": 80,
    "2_edit_video": 16,
    "2_inpaint_outpaint": 40,
}
LOOKS_FOR_ITSELF = "1_start_cinemagraph_from_clip"  # how long the loop is that closes best
MADE_SHORTER = ("first frame", "cinemagraph", "extend")  # tasks whose length is a matter of choice
START = PACK / "workflows" / "1_start_text_to_clip.json"


def load(name: str) -> Any:
    """A neighbour, by its file: tests are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Server, to_prompt, needed = load("server").Server, load("workflow").to_prompt, load("workflow").needed


def files_of(path: Path) -> list[str]:
    """The model files a workflow names."""
    return [name for node in json.loads(path.read_text(encoding="utf-8"))["nodes"] for name in needed(node)]


@pytest.fixture(scope="module")
def server(host: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(*host, tmp_path_factory.mktemp("comfy"))
    yield running
    running.stop()


def small(prompt: dict) -> dict:
    """The same graph with fewer frames and steps."""
    for node in prompt.values():
        if node["class_type"] == "Lumiere_EmptyVideo":
            node["inputs"]["frames"] = 20
        if "steps" in node["inputs"]:
            node["inputs"]["steps"] = 2
    return prompt


def test_the_pack_loads_without_a_warning_of_ours(server: Server) -> None:
    lines = [line for line in server.text().splitlines() if "lumiere" in line.lower()]
    assert not [
        line for line in lines if "warn" in line.lower() or "error" in line.lower() or "fail" in line.lower()
    ]
    assert "IMPORT FAILED" not in server.text()
    frozen = json.loads((PACK / "tests" / "schemas.json").read_text(encoding="utf-8"))
    assert set(frozen) <= set(server.get("/object_info"))


def test_every_input_has_a_tooltip_and_every_model_choice_is_labelled(server: Server) -> None:
    for name, info in server.get("/object_info").items():
        if name.startswith("Lumiere_"):
            for part in ("required", "optional"):
                for field, spec in info["input"].get(part, {}).items():
                    assert spec[1].get("tooltip"), f"{name}.{field} has no tooltip"
    choices = server.get("/object_info/Lumiere_LoadModel")["Lumiere_LoadModel"]["input"]["required"][
        "model_name"
    ][1]
    assert all("drawn world" in choice for choice in choices["options"])


@pytest.mark.parametrize("path", [p for p in WORKFLOWS if not files_of(p)], ids=lambda path: path.stem)
def test_a_shipped_workflow_finishes_and_saves_its_clip(server: Server, path: Path) -> None:
    from imageio_ffmpeg import count_frames_and_secs

    prompt = to_prompt(json.loads(path.read_text(encoding="utf-8")), server.get("/object_info"))
    for node in prompt.values():  # sketches: what is tested is that all of it runs
        if "steps" in node["inputs"]:
            node["inputs"]["steps"] = min(node["inputs"]["steps"], 2)
        if node["class_type"] == "Lumiere_MaskedLatent" and node["inputs"]["task"] in MADE_SHORTER:
            node["inputs"] |= {"frames": 16, "places": "8"}
        if node["class_type"] == "Lumiere_EditClip":
            node["inputs"]["frames"] = 16
    making = ("Lumiere_EmptyVideo", "Lumiere_MaskedLatent")
    asked = [n["inputs"]["frames"] for n in prompt.values() if n["class_type"] in making]
    done = server.wait(server.post("/prompt", {"prompt": prompt})["prompt_id"])
    assert done["status"]["status_str"] == "success", done["status"]
    files = [
        f for output in done["outputs"].values() for f in output.get("images", []) if f["type"] == "output"
    ]
    assert files
    frames, seconds = count_frames_and_secs(
        str(server.base / "output" / files[0]["subfolder"] / files[0]["filename"])
    )
    if path.stem == LOOKS_FOR_ITSELF:
        assert 16 <= frames <= 64
    else:
        assert frames == (asked[0] if asked else FRAMES[path.stem])
    assert seconds == pytest.approx(frames / 16, abs=0.1)


@pytest.mark.parametrize("path", [p for p in WORKFLOWS if files_of(p)], ids=lambda path: path.stem)
def test_a_workflow_for_another_model_lacks_nothing_but_its_files(server: Server, path: Path) -> None:
    workflow, info = json.loads(path.read_text(encoding="utf-8")), server.get("/object_info")
    files = set(files_of(path))
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.post("/prompt", {"prompt": to_prompt(workflow, info)})
    errors = [e for node in json.load(refused.value)["node_errors"].values() for e in node["errors"]]
    assert {error["type"] for error in errors} == {"value_not_in_list"}
    assert {error["extra_info"]["received_value"] for error in errors} == files


def test_cancel_stops_within_a_window_and_the_next_prompt_runs(server: Server) -> None:
    workflow = json.loads(START.read_text(encoding="utf-8"))
    long = to_prompt(workflow, server.get("/object_info"))
    for node in long.values():
        if "steps" in node["inputs"]:
            node["inputs"] |= {"steps": 200, "seed": 99}
    first = server.post("/prompt", {"prompt": long})["prompt_id"]
    end = time.monotonic() + 60
    while not server.get("/queue")["queue_running"] and time.monotonic() < end:
        time.sleep(0.2)
    time.sleep(5)
    asked = time.monotonic()
    server.post("/interrupt", {})
    stopped = server.wait(first, 60)
    assert time.monotonic() - asked < 20
    assert stopped["status"]["status_str"] == "error"
    assert any(kind == "execution_interrupted" for kind, _ in stopped["status"]["messages"])
    again = small(to_prompt(workflow, server.get("/object_info")))
    assert (
        server.wait(server.post("/prompt", {"prompt": again})["prompt_id"])["status"]["status_str"]
        == "success"
    )


def test_a_setting_that_cannot_be_is_a_node_error_in_words(server: Server) -> None:
    prompt = small(to_prompt(json.loads(START.read_text(encoding="utf-8")), server.get("/object_info")))
    upscale = next(node for node in prompt.values() if node["class_type"] == "Lumiere_Upscale")
    upscale["inputs"] |= {"window": 4, "overlap": 4}
    done = server.wait(server.post("/prompt", {"prompt": prompt})["prompt_id"])
    messages = [
        body["exception_message"] for kind, body in done["status"]["messages"] if kind == "execution_error"
    ]
    assert messages and "overlap is 4 frames" in messages[0]


def refusal(server: Server, change: Any) -> str:
    """What the small text-to-clip graph is refused with, after `change(prompt, its sampling node)`."""
    prompt = small(to_prompt(json.loads(START.read_text(encoding="utf-8")), server.get("/object_info")))
    change(prompt, next(node["inputs"] for node in prompt.values() if node["class_type"] == "Lumiere_Sample"))
    done = server.wait(server.post("/prompt", {"prompt": prompt})["prompt_id"])
    assert done["status"]["status_str"] == "error", done["status"]
    return next(
        body["exception_message"] for kind, body in done["status"]["messages"] if kind == "execution_error"
    )


def test_a_guidance_that_is_no_number_is_refused_over_http(server: Server) -> None:
    """The host's own check asks whether it lies below or above the ends, which NaN does not."""
    said = refusal(server, lambda prompt, sample: sample.update(cfg=float("nan")))
    assert "cfg is nan, but it has to be between 0 and 30" in said


def test_a_number_over_a_link_is_refused_where_typed_in_it_would_be(server: Server) -> None:
    def link(prompt: dict, sample: dict) -> None:
        prompt["number"] = {"class_type": "PrimitiveInt", "inputs": {"value": 0}}
        sample["steps"] = ["number", 0]

    assert "steps is 0, but it has to be a whole number from 1 to 1000" in refusal(server, link)
