"""Controls on a MODEL, in the real host: every sampler obeys them, ours or not, and what cannot be is said."""

from __future__ import annotations

import pytest

CONTROLS = ("guidance", "threshold", "interval", "loop", "windows")


@pytest.mark.parametrize("sampler", ["euler", "ddim", "dpmpp_2m"])
@pytest.mark.parametrize("control", CONTROLS)
def test_the_core_ksampler_obeys_a_control_as_our_sampler_does(
    report: dict, control: str, sampler: str
) -> None:
    assert report[f"{control} {sampler}"] < 2
    assert report[f"{control} acts"] > 5, "it changes the clip"


@pytest.mark.parametrize("control", ["guidance", "loop", "windows"])
def test_the_engine_alone_does_the_same(report: dict, control: str) -> None:
    assert report[f"{control} engine"] < 2


def test_the_order_of_the_nodes_does_not_matter_and_the_model_they_came_from_is_untouched(
    report: dict,
) -> None:
    assert report["order"] < 0.1
    assert report["untouched"] < 0.1


@pytest.mark.parametrize("kind", ["video", "frames as batch"])
@pytest.mark.parametrize("sampler", ["euler", "ddim", "dpmpp_2m"])
@pytest.mark.parametrize("cut", ["windows", "around", "loop"])
def test_a_model_that_looks_at_single_frames_does_not_notice(
    report: dict, kind: str, cut: str, sampler: str
) -> None:
    assert report[f"{kind} spread"] > 0.1
    assert report[f"{kind} {cut} {sampler}"] < 1e-5


@pytest.mark.parametrize("kind", ["video", "frames as batch"])
def test_each_frame_is_made_by_its_own_prompt_and_windows_run_no_other(report: dict, kind: str) -> None:
    assert report[f"{kind} prompts"] < 1e-5
    assert report[f"{kind} prompts in windows"] < 1e-5
    assert report[f"{kind} prompts apart"] < 1e-5, "also where the host runs one prompt at a time"
    # Without windows three prompts see 21 frames each. Windows of 8 with an overlap of 3 cover 32 frames: the negative
    # prompt sees them all, the others only where they are asked for.
    assert report[f"{kind} work"] == 63
    assert report[f"{kind} work in windows"] < 80


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("foreign prompt", ("768", "256")),
        ("odd size", ("60", "48 or 64")),
        ("odd size in the core", ("60", "48 or 64")),
        ("latent of another model", ("(1, 4, 1, 8, 8)", "Empty Clip")),
        ("not ssr", ("super-resolution",)),
        ("overlap", ("overlap is 4",)),
        ("foreign latent", ("(1, 4, 1, 8, 8)",)),
        ("window", ("overlap is 4",)),
        ("core windows before", ("context windows",)),
        ("core windows after", ("context windows",)),
        ("no time", ("(1, 4, 8, 8)", "video latent")),
        ("no time for a schedule", ("(1, 8, 99)",)),
        ("schedule", ("entry 2", "frame 90", "16 frames")),
        ("interval", ("0.8", "0.2", "Swap")),
        ("threshold of a latent", ("0.9", "Set it to 0")),
        ("no mask", ("inpaint needs a mask",)),
        ("stand-in mask", ("inpaint needs a mask",)),
        ("places", ("'one, two'", "0, 40, 80")),
        ("wrap", ("16 frames", "window 80", "Seamless Loop")),
        ("grid", ("height is 60", "multiples of 8", "Crop for a Region")),
        ("frames", ("frames is 80", "77 or 81")),
        ("extend", ("how many frames to keep",)),
        ("short clip", ("3 or more",)),
        ("path", ("'0.1'", "0.1,0.8")),
        ("empty mask", ("mask",)),
        ("sizes", ("64x32", "64x64")),
        ("base for ssr", ("SSR model",)),
        ("ssr without a clip", ("Enlarge a Clip",)),
    ],
)
def test_bad_input_is_one_sentence_with_the_number(report: dict, what: str, words: tuple[str, ...]) -> None:
    assert report["refusals"][what], f"{what} was not refused"
    assert all(word in report["refusals"][what] for word in words)


@pytest.mark.parametrize("how", ["plain", "loop", "windows"])
def test_frames_share_noise_and_know_their_second_in_every_sampler(report: dict, how: str) -> None:
    assert report[f"sharing {how} spread"] > 0.05  # there is something to compare
    assert report[f"sharing {how}"] < 2
    assert report[f"sharing {how} engine"] < 2
    assert report["sharing correlation"] == pytest.approx(0.9, abs=0.03)


def test_the_cores_own_windows_are_told_the_seconds_of_their_frames(report: dict) -> None:
    windows = report["core windows told"]
    assert report["core windows spread"] > 0.05 and len(windows) > 1
    for window in windows:
        frames = sorted(set(window))  # a window of 9 frames, as newer cores have, is filled up with its last
        assert window == sorted(window) and frames == [frames[0] + i for i in range(len(frames))]
    assert windows[0][0] == 0 and windows[-1][-1] == 15
