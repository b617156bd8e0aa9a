"""An image MODEL strided in time in the real host: what `inside_spacetime.py` measured.

Differences are the largest of any value, in standard deviations of the result.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

EXACT = 1e-5


@pytest.fixture(scope="session")
def measured(ask: Callable[[str], dict]) -> dict:
    return ask("inside_spacetime.py")


@pytest.mark.parametrize("name", ["SD1.5", "SD1.5 inpainting", "SD2", "SDXL", "the SD x4 upscaler"])
def test_our_u_net_gives_what_the_host_s_own_gives(measured: dict, name: str) -> None:
    found = measured["families"][name]
    assert found["family"] == name.removesuffix(" inpainting")
    assert found["std"] > 0.01 and found["apart"] < EXACT


def test_without_motion_every_nth_frame_is_the_host_s_own_picture(measured: dict) -> None:
    assert measured["spread"] > 0.1
    for name in ("still", "one frame", "odd size", "sdxl", "inpainting", "x4"):
        assert measured[name] < EXACT, name
    assert measured["moves"] > 0.01


def test_frames_that_start_alike_are_all_the_host_s_and_others_are_not_before_training(
    measured: dict,
) -> None:
    assert measured["alike"] < EXACT
    assert measured["between"] > 0.01  # they have the coarse features of the frame before


def test_a_lora_acts_as_on_the_original_before_and_after(measured: dict) -> None:
    assert measured["lora acts"] > 1e-3
    assert measured["lora before"] < EXACT and measured["lora after"] < EXACT


def test_original_inflated_and_original_again_are_the_same(measured: dict) -> None:
    assert measured["taken while a LoRA is in"] < EXACT
    assert measured["original again"] == measured["inflated again"] == 0


def test_the_weights_are_the_model_s_own_and_not_copied(measured: dict) -> None:
    assert measured["apart in storage"] == [] and measured["one parameter"] == []
    assert measured["kept"] == [True, True, True]


def test_noise_levels_are_the_motion_file_s_or_the_model_s(measured: dict) -> None:
    assert measured["sigma max"] == [pytest.approx(25.146, rel=1e-3), pytest.approx(14.6146, rel=1e-4)]


def test_every_kind_of_motion_file_and_any_number_of_frames_runs(measured: dict) -> None:
    assert measured["kinds"] == [True, True, True]


def test_windows_loop_and_our_sampler_act_on_it(measured: dict) -> None:
    assert measured["windows"] < EXACT and measured["windows move"]
    assert measured["our sampler"] < EXACT


def test_layers_that_get_their_weights_late_make_the_same_clip(measured: dict) -> None:
    if "late weights" not in measured:
        pytest.skip("this host builds every layer with its weights")
    assert measured["late weights"] < EXACT


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("controlnet", ["ControlNet", "mode of Inflate to compat"]),
        ("free u", ["output_block_patch", "FreeU", "compat"]),
        ("free u before", ["output_block_patch", "FreeU", "compat"]),
        ("attention", ["attn1_output_patch", "compat"]),
        ("perturbed", ["attn1", "compat"]),
        ("strength", ["Set strength to 1"]),
        ("mask", ["strength_mask off"]),
        ("twice", ["has motion already"]),
        ("compat after", ["has motion already"]),
        ("after compat", ["has motion already"]),
        ("video model", ["WAN21", "SD1.5, and SDXL"]),
        ("our model", ["a Lumiere model"]),
        ("base", ["for SDXL", "the MODEL is SD1.5"]),
        ("half", ["cut off"]),
        ("frames", ["25 frames", "reads 24 at most"]),
        ("5D", ["(2, 4, 6, 8, 8)", "batch_size"]),
        ("motion lora", ["mode compat"]),
        ("quantised", ["quantised", "float8_e4m3fn", "compat"]),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(measured: dict, what: str, parts: list[str]) -> None:
    assert all(part in measured["refused"][what] for part in parts), measured["refused"][what]
