"""What is known of a clip, in the real host: told to the network, held by every sampler, exact in the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SIZE = 32  # pixels, the long side of the random model
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


@pytest.mark.parametrize("case", ["whole", "windows", "loop"])
def test_what_a_known_frame_shows_is_carried_on_in_the_core_too(found: dict, case: str) -> None:
    assert found["parity"][f"first frame {case}"]["carried"] > 5


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


@pytest.mark.parametrize("how", ["text euler", "text ddim", "text dpmpp_2m", "inpaint"])
def test_a_network_that_says_x0_makes_the_same_clip_everywhere(found: dict, how: str) -> None:
    made = found["saying_x0"][how]
    assert made["engine"] < 2 and made["own"] < 2 and made["spread"] > 0.1


@pytest.mark.parametrize("how", ["strength", "held in part", "two strengths", "two strengths beside known"])
def test_a_clip_is_changed_at_a_strength_alike_everywhere(found: dict, how: str) -> None:
    made = found["edits"][how]
    assert made["engine"] < 2 and made["own"] < 2
    assert made["changed"] > 5 and made["whole"] > 5, "a lower strength is another clip"


def test_keep_untouched_pixels_makes_every_sampler_of_the_host_exact(found: dict) -> None:
    after = {name: kept for name, kept in found["keeping"].items() if name.startswith("after ")}
    assert len(after) > 30 and "after uni_pc" in after
    assert not [name for name, kept in after.items() if not kept]


def test_a_model_that_cannot_be_told_says_so(found: dict) -> None:
    assert "does not see them" in found["keeping"]["said"]
    assert "cannot be told" in found["keeping"]["refused"]


def test_a_photo_keeps_its_size_and_its_pixels_beside_the_region_that_is_made(found: dict) -> None:
    made = found["photos"]["cinemagraph"]
    assert made["whole"] == made["source"] == [6, 150, 260]
    assert max(made["latent"][1:]) == SIZE and made["large"] == [
        6,
        *[4 * side for side in made["latent"][1:]],
    ]
    assert made["kept"] and made["moved"] > 0.05
    assert "cut out" in found["photos"]["said"][0]


@pytest.mark.parametrize("task", ["cinemagraph", "first frame"])
def test_enlarging_gives_the_whole_source_back_as_stitching_does(found: dict, task: str) -> None:
    made = found["photos"][task]
    assert made["at once"] and made["first"], "and frame 0 is the photo, to the bit"


def test_grey_is_made_whole_and_mixed_once(found: dict) -> None:
    made = found["photos"]["grey"]
    assert made["latent"] == [0, 1] and made["mixed"] < 1e-6


def test_a_picture_unlike_the_drawn_world_is_told_on_the_node_and_names_the_way_out(found: dict) -> None:
    for said in (found["photos"]["far"], found["photos"]["by the core"]):
        assert "drawn world" in said and "4_photo_image_to_video_wan" in said
    assert "drawn world" not in found["photos"]["near"]


def test_a_first_frame_larger_than_the_model_is_exact_at_its_own_size(found: dict) -> None:
    made = found["photos"]["first frame"]
    assert made["whole"] == [6, 150, 260] and max(made["latent"][1:]) == SIZE
    assert made["kept"] and made["moved"] > 0.05


def test_a_mask_of_one_colour_is_allowed_and_what_happens_is_said(found: dict) -> None:
    share, said, kept = found["photos"]["black"]
    assert share == 0 and "nothing will change" in said
    assert kept, "the nodes at the end give the source back"
    share, said = found["photos"]["white"]
    assert share == 1 and "Everything is to be made" in said


def test_super_resolution_holds_known_pixels_alike_everywhere(found: dict) -> None:
    made = found["enlarging"]
    assert made["engine"] < 2 and made["core"] < 2
    assert made["kept"] < 1e-6 and made["kept by the engine"] < 1e-6
    # By little: the second of two steps is at sigma 8. Were nothing held, it would be 0.
    assert made["acts inside"] > 0.2, "what is made sees what is kept"


@pytest.mark.parametrize("how", ["one", "two", "inside alone"])
def test_an_edited_clip_is_the_same_from_our_sampler_and_the_cores(found: dict, how: str) -> None:
    made = found["editing"][how]
    assert made["own"] < 2 and made["kept"]
    assert made["denoise"] == pytest.approx({"one": 0.6, "two": 0.9, "inside alone": 0.7}[how])
    assert made["mask"] == (how != "one")
    assert made["inside"] > made["outside"] and made["inside"] > 0.05
    assert (made["outside"] == 0) == (how != "two")


def test_a_clip_of_another_size_rate_and_length_is_fitted_and_that_is_said(found: dict) -> None:
    latent, source, fps, said = found["editing"]["fitted"]
    assert latent[0] == 16 and max(latent[1:]) == SIZE and source == [16, 90, 150] and fps == 16
    assert found["editing"]["frame"] == 0, "frame 8 at 16 fps is frame 15 at 30"
    for word in ("30 frames at 30 fps", "16 at 16", "150x90", "shorter than the 20"):
        assert word in said
