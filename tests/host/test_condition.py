"""What is known of a clip, in the real host: told to the network, held by every sampler, exact in the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TASKS = (
    "first frame",
    "first and last frame",
    "chosen frames",
    "extend",
    "extend before",
    "bridge",
    "cinemagraph",
    "inpaint",
)
CASES = [(task, "whole") for task in TASKS]
CASES += [(task, case) for task in ("first frame", "inpaint") for case in ("windows", "loop")]


@pytest.fixture(scope="module")
def found(ask: Callable[[str], dict]) -> dict:
    return ask("inside_condition.py")


@pytest.mark.parametrize(("task", "case"), CASES)
def test_engine_own_node_and_core_ksampler_make_one_clip_of_a_task(found: dict, task: str, case: str) -> None:
    made = found["parity"][f"{task} {case}"]
    assert made["spread"] > 0.1 and 0 < made["known"] < 1  # there is something to compare, and to make
    assert made["engine"] < 2 and made["own"] < 2


@pytest.mark.parametrize(("task", "case"), CASES)
def test_both_of_the_cores_ways_say_the_same(found: dict, task: str, case: str) -> None:
    """Set Latent Noise Mask and InpaintModelConditioning, with the core KSampler."""
    assert found["parity"][f"{task} {case}"]["inpaint model conditioning"] < 2


@pytest.mark.parametrize("task", TASKS)
def test_what_is_made_depends_on_what_the_network_is_told(found: dict, task: str) -> None:
    assert found["parity"][f"{task} whole"]["told"] > 5


@pytest.mark.parametrize(("task", "case"), CASES)
def test_known_pixels_come_back_to_the_bit(found: dict, task: str, case: str) -> None:
    made = found["parity"][f"{task} {case}"]
    assert made["kept by the engine"] and made["kept by our sampler"]


@pytest.mark.parametrize("task", ["first frame", "inpaint"])
def test_a_network_that_copies_what_it_is_told_gives_it_back_by_every_way(found: dict, task: str) -> None:
    copies = found["copies"]
    ways = {name: apart for name, apart in copies.items() if name.startswith(task) and "spread" not in name}
    assert len(ways) == 10 and copies[f"{task} spread"] > 0.1
    assert not {name: apart for name, apart in ways.items() if apart >= 2}


def test_a_picture_in_an_empty_clip_is_its_beginning_and_the_rest_is_unknown(found: dict) -> None:
    assert found["copies"]["picture in an empty clip"] < 2
    assert found["copies"]["rest of an empty clip"] < 1e-3
    assert found["copies"]["batch of two"] < 2


@pytest.mark.parametrize("how", ["strength", "held in part", "two strengths", "two strengths beside known"])
def test_a_clip_is_changed_at_a_strength_alike_everywhere(found: dict, how: str) -> None:
    made = found["edits"][how]
    assert made["engine"] < 2 and made["own"] < 2
    assert made["changed"] > 5 and made["whole"] > 5, "a lower strength is another clip"


@pytest.mark.parametrize("sampler", ["uni_pc", "euler_ancestral"])
def test_keep_untouched_pixels_makes_any_sampler_exact(found: dict, sampler: str) -> None:
    assert found["keeping"][f"after {sampler}"] == 0


def test_a_model_that_cannot_be_told_says_so(found: dict) -> None:
    assert "does not see them" in found["keeping"]["said"]
    assert "cannot be told" in found["keeping"]["refused"]
