"""Public motion files on an image MODEL in the real host: what `inside_inflate.py` and `inside_evolved.py` measured.

Differences are the largest of any value, in standard deviations of the result.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

EXACT = 1e-5
PATCHES = ("lora", "free u", "attention patch", "perturbed attention", "another handler")
EVOLVED = "ComfyUI-AnimateDiff-Evolved"


@pytest.fixture(scope="session")
def measured(ask: Callable[[str], dict]) -> dict:
    return ask("inside_inflate.py")


def test_without_motion_each_frame_is_the_host_s_own_picture(measured: dict) -> None:
    assert measured["still"] < EXACT and measured["strength 0"] < EXACT
    assert measured["moves"] > 0.01
    assert measured["sdxl"] < EXACT and measured["sdxl moves"] > 0.01
    assert measured["kinds"] == {"v1": True, "v2": True, "v3": True}


def test_v1_s_resblocks_take_their_norms_over_the_clip(measured: dict) -> None:
    assert measured["v1 block"] < EXACT
    assert measured["v1 alike"] < EXACT and measured["v1 unlike"] > 1e-3


def test_original_inflated_and_original_again_are_the_same(measured: dict) -> None:
    assert measured["original again"] == measured["inflated again"] == 0
    assert measured["hooks left"] == 0


@pytest.mark.parametrize("patch", PATCHES)
def test_what_others_put_on_the_model_works_before_and_after(measured: dict, patch: str) -> None:
    found = measured[patch]
    if patch == "another handler" and not measured["hands over"]:
        assert found["acts"] == 0, "this host asks no handler for such a layer"
    else:
        assert found["acts"] > 1e-4 and found["acts on motion"] > 1e-4
    assert found["before"] < EXACT and found["after"] < EXACT and found["order"] < EXACT
    assert found["is moved"] > 0.01 and found["leaves"] == 0


def test_controlnet_works_with_motion(measured: dict) -> None:
    assert measured["control acts"] > 0.01 and measured["control"] < EXACT
    assert measured["control and motion"] > 0.01


def test_windows_loops_prompts_and_shared_noise_act_on_frames_as_batch(measured: dict) -> None:
    for name in ("windows", "one window", "shared noise", "loop", "half"):
        assert measured[name] < EXACT, name
    assert measured["windows move"] > 0.01 and measured["loop moves"] > 0.01
    assert max(measured["prompts"]) < EXACT


def test_a_motion_mask_follows_its_frames_into_the_windows(measured: dict) -> None:
    held, moved = measured["masked frames"]
    assert held < EXACT and moved > 0.01


def test_our_sampler_makes_the_core_s_clip_of_it(measured: dict) -> None:
    assert measured["our sampler"] < EXACT


def test_a_motion_mask_follows_its_frames_into_the_core_s_own_windows(measured: dict) -> None:
    if "masked in the core's windows" not in measured:
        pytest.skip("this host's own windows take no frames as batch")
    held, moved = measured["masked in the core's windows"]
    assert held < EXACT and moved > 0.01


def test_layers_that_get_their_weights_late_move_alike(measured: dict) -> None:
    if "late weights" not in measured:
        pytest.skip("this host builds every layer with its weights")
    assert measured["late weights"] < EXACT


def test_noise_levels_are_the_motion_file_s_and_the_original_keeps_its_own(measured: dict) -> None:
    tops = measured["sigma max"]
    assert tops["v2 the MODEL's own"] == tops["after"] == pytest.approx(14.6146, rel=1e-4)
    # By hand: sqrt((1 - a) / a), a the product of 1 - beta over 1000 betas from 0.00085 to 0.012.
    assert tops["v2 auto"] == pytest.approx(25.146, rel=1e-3)
    assert tops["sdxl auto"] == pytest.approx(65.93, rel=1e-3)


def test_a_motion_lora_is_the_weights_it_says(measured: dict) -> None:
    assert measured["motion lora"] < EXACT and measured["two motion loras"] < EXACT
    assert measured["motion lora acts"] > 0.01 and measured["motion lora leaves"] == 0


def test_sixteen_frames_come_out_of_the_core_s_vae_as_sixteen(measured: dict) -> None:
    assert measured["decoded"] == [16, 64, 64, 3] and measured["encoded"] == [5, 4, 8, 8]


@pytest.mark.parametrize(("name", "frames"), [("3_sd15_text_to_clip", 16), ("3_sd15_long_clip", 80)])
def test_a_workflow_for_sd15_runs_on_stand_ins_of_the_files_it_names(
    measured: dict, name: str, frames: int
) -> None:
    found = measured[name]
    assert found["frames"] == [frames, 64, 64, 3] and found["seen"] == [16] and found["spread"] > 0
    assert found["files"] == ["v1-5-pruned-emaonly-fp16.safetensors", "mm_sd15_v3.safetensors"]


def test_the_latent_s_own_mask_holds_what_it_keeps(measured: dict) -> None:
    kept, made = measured["kept"]
    assert kept < EXACT and made > 0.1


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("5D", ["(2, 4, 6, 8, 8)", "batch_size"]),
        ("frames", ["25 frames", "reads 24 at most", "window of 16"]),
        ("window", ["30 frames", "reads 24 at most"]),
        ("base", ["for SDXL", "the MODEL is SD1.5"]),
        ("other base", ["for SD1.5", "the MODEL is SDXL"]),
        ("video model", ["WAN21", "SD1.5, and SDXL"]),
        ("our model", ["a Lumiere model"]),
        ("twice", ["has motion already"]),
        ("mask", ["4 frames", "the clip has 6"]),
        ("mask in windows", ["4 frames", "the clip has 20"]),
        ("half", ["cut off"]),
        ("pickle", ["pickle", "weights_only=True"]),
        ("nowhere", ["models/animatediff_models"]),
        ("no motion", ["has no motion file"]),
        ("lora for another", ["does not fit", "mid_block"]),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(measured: dict, what: str, parts: list[str]) -> None:
    assert all(part in measured["refused"][what] for part in parts), measured["refused"][what]


def test_clips_equal_those_of_animatediff_evolved(
    host: tuple[Path, Path], ask: Callable[[str], dict]
) -> None:
    if not (Path(os.environ.get("COMFYUI_NEIGHBOURS", ".")) / EVOLVED).is_dir():
        pytest.skip(f"NO NEIGHBOUR FOUND: set COMFYUI_NEIGHBOURS to a folder with {EVOLVED}.")
    found = ask("inside_evolved.py")
    for kind in ("v2", "v3"):
        assert found[kind]["apart"] < 1e-3 and found[kind]["moves"] > 0.01
    assert found["windows"] < 1e-3
