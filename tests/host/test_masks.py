"""What other video models are given of Lumiere's mask, captured at their `forward`; and the photo workflows, run.

The models are the host's own classes with random weights, see `standins.py`: what they are given is real, what they
make of it is noise.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

MASKED = ("ltxv", "wan 5b")  # they read the LATENT's own mask
CASES = [
    *((task, box) for task in ("cinemagraph", "inpaint") for box in ("on the grid", "off the grid")),
    ("first frame", ""),
    ("first and last frame", ""),
]
STEPS = {"wan vace": 5, "wan 5b": 5, "ltxv": 3}  # latent frames of 17
# By hand, in 96 x 160 pixels: a box at rows 32 to 64, columns 64 to 128, and one at rows 41 to 75, columns 50 to 101.
# Cells of 16 pixels: 2 x 4, and rows 2 to 4 by columns 3 to 6. Of 32: 1 x 2, and rows 1 to 2 by columns 1 to 3.
OPEN = {
    "wan vace": {"on the grid": 32 * 64, "off the grid": 34 * 51, "": 96 * 160},  # in pixels
    "wan 5b": {"on the grid": 2 * 4, "off the grid": 3 * 4, "": 6 * 10},
    "ltxv": {"on the grid": 1 * 2, "off the grid": 2 * 3, "": 3 * 5},
}


@pytest.fixture(scope="session")
def masks(ask: Callable[[str], dict]) -> dict:
    """What `inside_masks.py` captured in that host."""
    return ask("inside_masks.py")


def of(masks: dict, family: str) -> dict:
    if family not in masks:
        pytest.skip(f"this host has no class for {family}, so there is nothing to capture")
    return masks[family]


def open_cells(family: str, task: str, box: str) -> list[int]:
    """How many cells the task leaves open in each latent frame."""
    frames = [OPEN[family][box]] * STEPS[family]
    if task != "inpaint":
        frames[0] = 0
    if task == "first and last frame":
        frames[-1] = 0
    return frames


@pytest.mark.parametrize("family", MASKED)
@pytest.mark.parametrize(("task", "box"), CASES)
def test_a_model_is_given_the_mask_that_was_drawn(masks: dict, family: str, task: str, box: str) -> None:
    given = of(masks, family)[f"{task} {box}".strip()]
    assert given["calls"] == 2 and given["mask"] == 0, "every cell that the region touches is open, no other"
    assert given["open"] == open_cells(family, task, box)


@pytest.mark.parametrize(("family", "cells"), [("ltxv", [1, 2, 2]), ("wan 5b", [4, 6, 6, 6, 6])])
def test_a_region_that_moves_is_open_wherever_it_comes_by_in_a_latent_frame(
    masks: dict, family: str, cells: list[int]
) -> None:
    """32 x 32 pixels, 4 to the right in each frame: latent frame k of Wan 5B spans columns 16 k - 12 to 16 k + 32."""
    given = of(masks, family)["inpaint that moves"]
    assert given["mask"] == 0 and given["open"] == cells


@pytest.mark.parametrize("family", MASKED)
@pytest.mark.parametrize(("task", "box"), CASES)
def test_known_cells_are_the_picture_at_every_step_and_in_the_end(
    masks: dict, family: str, task: str, box: str
) -> None:
    given = of(masks, family)[f"{task} {box}".strip()]
    assert given["clean"] < 1e-5 and given["held"] < 1e-5
    assert given["made"] > 1, "and the open ones are made anew"


@pytest.mark.parametrize(("task", "box"), CASES)
def test_ltxv_is_told_the_noise_of_every_cell(masks: dict, task: str, box: str) -> None:
    given = of(masks, "ltxv")[f"{task} {box}".strip()]
    assert given["told as"] == "per_cell" and given["told"] < 1e-6


@pytest.mark.parametrize(("task", "box"), CASES)
def test_wan_5b_is_told_one_noise_a_frame_by_the_share_that_is_open(masks: dict, task: str, box: str) -> None:
    """So whole frames are told right, and a region is told too little noise."""
    given = of(masks, "wan 5b")[f"{task} {box}".strip()]
    assert given["told as"] == "per_frame" and given["told"] < 1e-6
    shares = [cells / OPEN["wan 5b"][""] for cells in open_cells("wan 5b", task, box)]
    assert given["told each frame"] == pytest.approx(shares)


@pytest.mark.parametrize(("task", "box"), CASES)
def test_vace_is_given_the_mask_to_the_pixel_and_frame_0_in_the_control_clip_only(
    masks: dict, task: str, box: str
) -> None:
    """The core shows VACE the mask of one frame in each latent step, never that of frame 0."""
    given = of(masks, "wan vace")[f"{task} {box}".strip()]
    assert given["calls"] == 2 and given["same"], "both prompts are given the same, at every step"
    assert given["mask"][1:] == [0.0] * 4
    assert given["open"] == [OPEN["wan vace"][box]] * 5
    assert given["open in frame 0"] < 1e-4, "nothing but grey where it is open"
    if task == "inpaint":
        assert given["mask"][0] == 0 and given["known in frame 0"] > 0.1
    else:
        assert given["mask"][0] == 1 and given["known in frame 0"] < 1e-4, "the whole picture"
    assert not given["noise mask"], (
        "nothing is re-injected: Stitch or Keep Untouched Pixels holds what is known"
    )


def test_vace_sees_the_masks_of_these_frames(masks: dict) -> None:
    assert of(masks, "wan vace")["frames seen"] == [1, 5, 8, 11, 15]


@pytest.mark.parametrize("family", STEPS)
def test_a_window_is_given_its_own_frames_of_the_mask(masks: dict, family: str) -> None:
    assert of(masks, family)["windows"] == {"calls": 1.0, "unlike": 1.0, "mask": 0.0}


@pytest.mark.parametrize("family", ["wan vace", "ltxv"])
def test_a_photo_workflow_runs_through_and_leaves_the_photo_alone(masks: dict, family: str) -> None:
    made = of(masks, family)["workflow"]
    frames, *size = made["clip"]
    assert frames == 13, "17, less 4 to dissolve over"
    assert size == made["photo"][1:] == [1024, 1536, 3]
    assert made["outside"] and 0.1 < made["outside share"] < 0.9, "equal bit for bit outside the region"
    assert made["painted"] > 0.1 and made["moves"] > 0.1
    assert made["steps"] == 2


@pytest.mark.parametrize("family", ["wan vace", "ltxv"])
def test_in_a_photo_workflow_the_model_is_given_the_crop_s_mask(masks: dict, family: str) -> None:
    made = of(masks, family)["workflow"]
    assert made["mask"][1:] == [0.0] * (STEPS[family] - 1)
    assert 0 < made["open"][1] < 1
    assert family == "wan vace" or made["open"][0] == 0 == made["mask"][0], "all of frame 0 is known"


def test_an_image_to_video_workflow_begins_with_the_photo_and_the_model_is_told(masks: dict) -> None:
    made = of(masks, "wan 5b")["image to video"]
    assert made["open"][0] == 0 and len(set(made["open"][1:])) == 1 and made["open"][1] > 0
    assert made["clip"] == [17, 96, 160, 3] and made["first"] and made["later"] > 0.05


def test_a_clip_is_restyled_from_its_own_noise_level_at_the_model_s_rate_and_length(masks: dict) -> None:
    made = of(masks, "wan t2v")["restyling"]
    assert made["denoise"] == pytest.approx(made["asked"]) and made["begins below"]
    assert made["clip"] == made["source"] == [17, 96, 160, 3] and made["fps"] == 16
    assert made["changed"] > 0.05
