"""The pack's nodes against the core's, in the real host: equal clips, exact pixels, one sentence for bad input."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("sampler", ["euler", "ddim", "dpmpp_2m"])
@pytest.mark.parametrize("length", ["short", "long"])
def test_core_ksampler_makes_the_clip_of_our_sampler(report: dict, sampler: str, length: str) -> None:
    assert report["dtype"] == "torch.float32"
    assert report["spread"] > 0.1  # there is something to compare
    assert report[f"{sampler} {length}"] < 2


def test_the_engine_alone_makes_the_same_clip(report: dict) -> None:
    assert report["engine"] < 2
    assert report["sigmas"] < 1e-4


def test_the_vae_changes_no_pixel(report: dict) -> None:
    assert report["decoded"] == [16, 64, 64, 3]
    assert report["round trip"] < 1e-6
    assert report["tiled"] == 0


def test_super_resolution_in_the_host_equals_the_engine_and_the_core_ksampler(report: dict) -> None:
    assert report["upscaled"] == [16, 256, 256, 3]
    assert report["ssr"] < 2
    assert report["ssr in the core"] < 2


def test_a_lora_moves_the_clip_and_leaves_no_trace(report: dict) -> None:
    assert report["lora changes"] > 1e-4
    assert report["lora leaves"] < 0.1


def test_layers_that_get_their_weights_late_make_the_same_clip(report: dict) -> None:
    assert report.get("lazy", 0.0) < 2


def test_words_the_model_does_not_know_are_named(report: dict) -> None:
    assert "dragon" in report["remark"]


def test_the_host_is_told_what_memory_a_forward_pass_takes(report: dict) -> None:
    ratios = {name: ratio for name, ratio in report.items() if name.startswith("memory ")}
    assert len(ratios) >= 12
    assert not {name: ratio for name, ratio in ratios.items() if not 0.8 <= ratio <= 1.3}
