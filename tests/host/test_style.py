"""Styles in the real host: the weights it runs are the paper's mixture, and what does not fit is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

ALPHAS = 0.0, 0.5, 1.0
EXACT = 1e-6
MIB = 2**20


@pytest.fixture(scope="module")
def found(ask: Callable[[str], dict]) -> dict:
    return ask("inside_style.py")


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_lora_on_our_model_is_the_formula_and_leaves_motion_to_the_bit(found: dict, alpha: float) -> None:
    spatial, all_of_it = found["changed"]
    assert 0 < spatial < all_of_it  # it has a part for motion, which is left out
    assert found[f"formula {alpha}"] <= EXACT
    assert found[f"untouched {alpha}"] and found[f"time {alpha}"] > 100


def test_all_layers_are_mixed_when_asked_for_and_the_model_stays_itself(found: dict) -> None:
    assert found["all layers"] <= EXACT and found["itself again"]


def test_the_core_lora_loader_reads_a_style_and_a_style_stacks_on_a_lora(found: dict) -> None:
    assert found["core loader"] <= EXACT and found["stacked"] <= EXACT


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("family", ["ours", "sd15", "wan"])
def test_two_models_of_one_architecture_are_mixed_by_the_formula(
    found: dict, family: str, alpha: float
) -> None:
    if f"{family} {alpha}" not in found:
        pytest.skip(f"this host has no {family}")
    assert found[f"{family} apart"] > 0.1
    assert found[f"{family} {alpha}"] <= EXACT and found[f"{family} {alpha} time"]
    assert found.get(f"{family} as the core merges {alpha}", True)


def test_a_model_with_a_style_is_a_style_itself(found: dict) -> None:
    assert found["a styled model as style"] <= EXACT


def test_what_does_not_fit_is_refused_and_both_are_named(found: dict) -> None:
    ours, sd = found["names"]
    other_kind, other_size, lora, missing, above, nan, train = found["refused"]
    assert ours in other_kind and sd in other_kind and re.search(r"(\d+) of \1 weights", other_kind)
    assert sd in other_size and "input_blocks.0.0.weight" in other_size
    assert lora.startswith(f"the style chance does not fit {sd}")
    assert "there is no style 'nowhere'" in missing and "models/lumiere/styles" in missing
    assert above.startswith("alpha is 1.5") and nan.startswith("alpha is nan")
    assert sd in train


def test_one_run_gives_a_grid_and_a_clip_of_alphas_that_begins_with_the_model_itself(found: dict) -> None:
    grid, clip = found["strip"]
    assert grid[0] == 1 and clip[0] == 5 and grid[2] == clip[2] == 3 * 128 + 2 * 4
    assert found["first column"] < 1
    none, half, full = found["columns differ"]
    assert none == 0 < half < full
    assert all(("1 to 12 numbers" in said) or ("alpha is 1.5" in said) for said in found["strip refused"])


def test_a_style_is_trained_saved_and_found_again(found: dict) -> None:
    file, there, picture, size = found["trained"]
    assert file == "my-own.safetensors" and there and picture and size < 2 * MIB
    assert found["seen"] == [3, 64, 64, 3] and found["drawn"] == [12, 64, 64, 3]
    assert found["the style is the MODEL that came out"] == 0
    assert found["trained time"] and found["trained change"] > 0
    models, styles = found["lists"]
    assert not models and "my-own.safetensors" in styles
    assert found["second of the name"] == "my-own_00001_.safetensors"


def test_a_cancelled_training_leaves_nothing_behind(found: dict) -> None:
    assert found["cancelled"]


def test_pictures_and_names_that_cannot_be_are_refused(found: dict) -> None:
    parts = "pictures is 0", "pictures is 500", "2 captions", "file's name", "steps is 0", "super-resolution"
    assert all(part in said for part, said in zip(parts, found["train refused"], strict=True))


def test_every_bundled_style_fits_the_bundled_model(found: dict) -> None:
    assert len(found["bundled"]) >= 4
    for name, (size, change, reference) in found["bundled"].items():
        assert size <= 2 * MIB and change > 10 and reference[-1] == 3, name
