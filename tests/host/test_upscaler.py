"""The SD x4 upscaler behind Enlarge a Clip in the real host: what `inside_upscaler.py` measured on random weights.

Differences are the largest of any value, in standard deviations of the result.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

EXACT = 1e-5


@pytest.fixture(scope="session")
def measured(ask: Callable[[str], dict]) -> dict:
    return ask("inside_upscaler.py")


def test_every_frame_comes_back_four_times_as_large(measured: dict) -> None:
    for (frames, height, width), made in measured["sizes"]:
        assert made == [frames, 4 * height, 4 * width, 3]
    assert len(measured["sizes"]) == 4 and measured["scale"] == 4
    least, most = measured["in range"]
    assert 0 <= least < most <= 1


def test_the_same_seed_gives_the_same_clip_and_the_model_stays_as_it_was(measured: dict) -> None:
    assert measured["again"] == 0 and measured["other seed"] > 0.1
    assert measured["left as it was"] == [True, "ImageConcatWithNoiseAugmentation", True]


def test_clip_prompt_guidance_and_noise_level_reach_the_network(measured: dict) -> None:
    for name in ("noise level", "clip", "cfg", "prompt"):
        assert measured[name] > 0.01, name


def test_one_picture_is_what_the_core_s_own_nodes_make_of_it(measured: dict) -> None:
    assert measured["core"] < EXACT


def test_a_clip_that_stands_still_stays_still(measured: dict) -> None:
    ours, the_core_s = measured["still"]
    assert ours < EXACT and the_core_s > 1
    assert measured["still is one picture"] < EXACT


def test_windows_of_frames_do_not_change_what_each_frame_becomes(measured: dict) -> None:
    assert measured["windows"] < EXACT and measured["loop"] < EXACT


def test_fused_tiles_equal_the_whole_for_a_network_that_looks_at_single_pixels(measured: dict) -> None:
    assert measured["tiles"] < EXACT
    assert measured["seen"] == [[32, 32], [40, 75]]  # tiles, and the whole where a tile is larger
    assert 0.01 < measured["tiles of the network"] < 1  # one that sees around it notices them


def test_prompts_for_some_frames_follow_them_into_the_tiles(measured: dict) -> None:
    first, second, unlike = measured["prompts in tiles"]
    assert max(first, second) < EXACT and unlike > 0.01


def test_memory_is_reserved_for_one_tile_of_one_window(measured: dict) -> None:
    frames, _, height, width = measured["reserved"]["tiles"]
    assert (height, width) == (128, 128) and 16 <= frames < 32
    assert measured["reserved"]["windows"][2:] == [512, 512] and measured["reserved"]["windows"][0] < 32
    assert measured["reserved"]["whole"] == [80, 4, 512, 512]


def test_known_pixels_are_the_source_s_exactly(measured: dict) -> None:
    outside, inside = measured["kept"]
    assert outside == 0 and inside > 0.1
    assert measured["held"] > 0.01  # what is made knows what is around it
    same_size, outside, inside = measured["put back"]
    assert same_size and outside == 0 and inside > 0.1


def test_temporal_layers_made_for_it_move_it_and_their_mask_is_cut_into_tiles(measured: dict) -> None:
    zeroed, moved = measured["motion"]
    assert zeroed < EXACT and moved > 0.01
    held, moved = measured["motion in a tile"]
    assert held < EXACT and moved > 0.01


def test_strided_in_time_it_begins_as_the_picture_model_and_trained_layers_act(measured: dict) -> None:
    begun, learnt = measured["strided"]
    assert begun < EXACT and learnt > 0.01


def test_cancel_stops_in_the_call_it_came_in(measured: dict) -> None:
    calls, while_sampling, while_decoding = measured["cancelled"]
    # 2 steps, 3 windows of frames, 2 x 3 tiles; 3 pieces to decode
    assert calls == 36 and while_sampling == [3, 0] and while_decoding == [36, 1]


def test_a_file_in_the_published_layout_comes_through_the_core_s_loader(measured: dict) -> None:
    found = measured["loader"]
    assert found["class"] == "SD_X4Upscaler" and found["prediction"] == "V_PREDICTION"
    assert found["scale"] == 4 and found["size"] == [2, 32, 32, 3] and found["finite"]


def test_the_workflow_runs_on_a_stand_in_of_the_file_it_names(measured: dict) -> None:
    found = measured["workflow"]
    assert found["files"] == ["x4-upscaler-ema.safetensors"]
    frames, height, width, _ = found["given"]
    assert (
        found["frames"] == [frames, 4 * height, 4 * width, 3] and found["spread"] > 0 and found["calls"] > 0
    )


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("sd15", ["the MODEL is SD1.5", "Stable Diffusion x4 upscaler", "Load Checkpoint"]),
        ("video model", ["WAN21", "Stable Diffusion x4 upscaler"]),
        ("our base model", ["a Lumiere model", "SSR model"]),
        ("no vae", ["Connect vae", "x4-upscaler-ema.safetensors"]),
        ("vae by 8", ["4 channels by 8", "4 channels by 4"]),
        ("our vae", ["3 channels by 1", "Connect the VAE"]),
        ("no prompt", ["positive is not connected", "empty text"]),
        ("foreign prompt", ["positive", "768 channels", "reads 32", "CLIP"]),
        ("foreign negative", ["negative", "768 channels"]),
        ("cfg alone", ["cfg is 4", "negative"]),
        ("tile", ["tile is 8", "from 32 to 4096"]),
        ("noise level", ["noise_level is 0.5", "between 0 and 0.4"]),
        ("overlap", ["overlap is 2", "window of 2"]),
        ("motion of sd15", ["for SD1.5", "the MODEL is the SD x4 upscaler"]),
        ("ksampler node", ["the SD x4 upscaler", "Enlarge a Clip"]),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(measured: dict, what: str, parts: list[str]) -> None:
    assert all(part in measured["refused"][what] for part in parts), measured["refused"][what]
