"""Temporal layers trained over a checkpoint in the real host: what `inside_backbone.py` measured.

Differences are the largest of any value, in standard deviations of the result.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

EXACT = 1e-5


@pytest.fixture(scope="session")
def trained(ask: Callable[[str], dict]) -> dict:
    return ask("inside_backbone.py")


def test_clips_and_captions_are_encoded_as_the_core_s_nodes_encode_them(trained: dict) -> None:
    found = trained["encoded"]
    assert found["latents"] < EXACT and found["context"] < EXACT and found["sigmas"] == 0
    assert found["prediction"] == "eps" and found["files"] == 7  # six stretches, and no caption


def test_training_goes_on_and_clips_never_trained_on_are_told_better(trained: dict) -> None:
    assert trained["first run"][0] == trained["goes on"][0] == 0, trained["first run"]
    rows = trained["log"]
    first, last = rows[0]["unseen"], rows[-1]["unseen"]
    assert rows[0]["step"] == 0 < rows[1]["step"] == rows[2]["step"] < rows[-1]["step"]
    assert len(first) == 5 and all(last[level] < first[level] for level in first)


def test_what_was_trained_changes_the_clip_and_what_was_not_changes_nothing(trained: dict) -> None:
    assert trained["spread"] > 0.1
    assert trained["untrained"] < EXACT and trained["original again"] == 0
    assert trained["trained"] > 1e-3


def test_the_noise_levels_stay_the_checkpoint_s_own(trained: dict) -> None:
    assert trained["sigma max"][0] == trained["sigma max"][1]


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("base", ["for SD1.5 (levels of 320, 320", "the MODEL is SDXL", "or a MODEL of SD1.5"]),
        ("compat", ["Set mode to lumiere"]),
        ("half", ["cut off"]),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(
    trained: dict, what: str, parts: list[str]
) -> None:
    assert all(part in trained["refused"][what] for part in parts), trained["refused"][what]


def test_a_checkpoint_without_a_text_encoder_is_refused_in_a_sentence(trained: dict) -> None:
    code, said = trained["the U-Net alone"]
    assert code == 2
    assert said == (
        "ComfyUI cannot use alone.safetensors: it has no text encoder: take a whole checkpoint, not the U-Net alone."
    )
