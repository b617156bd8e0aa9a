"""The tools that need no model, as nodes in the real host; other models' masks are in `test_masks.py`."""

from __future__ import annotations


def test_what_is_not_painted_stays_the_photo_bit_for_bit(report: dict) -> None:
    assert report["brushed"] == [12, 1024, 1024, 3] and report["brush moves"] > 0.1
    assert report["outside"] == [True, True, True], "brush, stitch, keep pixels"


def test_a_clip_is_brushed_again_and_its_node_is_told_what_was_drawn(report: dict) -> None:
    frames, sent, drawn = report["brushed again"]
    assert frames == 3 and sent == 4
    assert drawn["strokes"] == [{"preset": "sway", "points": [[0.5, 0.47], [0.5, 0.3]]}]
    assert drawn["anchors"] == [[0.4, 0.3]]


def test_crops_fit_a_model_and_loops_come_back_from_their_padding(report: dict) -> None:
    assert report["crop"] and report["unpadded"] and report["drift"]
    assert report["cinemagraph"] == [22, 256, 256, 3], "12 frames there and back"
    assert report["frame 3 is the still"]
    auto, *looped, drift, numbered = report["told"]
    assert len(looped) == 3 and all(said.count("loop: ") == 1 for said in looped)
    assert "camera left alone" in auto and "still: frame" in auto
    assert "colour drift: none" in drift and "still: frame 3" in numbered
    assert report["loop"] == 8 and report["lengths"] == [6, 8]


def test_odd_photos_fit_a_video_file_unless_told_otherwise(report: dict) -> None:
    assert report["odd"] == [[62, 68], [61, 67]]


def test_a_model_file_of_the_same_size_and_time_is_not_the_one_that_is_loaded(report: dict) -> None:
    first, second, again = report["fingerprints"]
    assert first == again != second


def test_a_clip_far_larger_than_the_model_knows_is_remarked_on(report: dict) -> None:
    assert report["large"] and all(
        "trained at 64x64" in text and "256x256" in text for text in report["large"]
    )


def test_control_and_mask_show_the_still_in_frame_0_and_grey_where_it_moves_later(report: dict) -> None:
    whole, grey, masks = report["control"]
    assert whole < 1e-6 and grey < 1e-6
    assert masks == [0.0] + [1.0] * 8


def test_the_core_ksampler_keeps_what_a_masked_latent_knows(report: dict) -> None:
    assert report["held"] < 0.1 and report["made"] > 20


def test_an_overlay_stays_in_its_mask_and_behind_its_matte(report: dict) -> None:
    shape, fps, least = report["overlaid"]
    assert shape == [6, 256, 256, 3] and fps == 16.0 and least > 0.02
    assert report["overlay kept"] and report["overlay seen"] > 0.02


def test_a_camera_begins_with_the_photo_and_says_that_the_depth_was_fitted(report: dict) -> None:
    assert report["moved"] == [[6, 256, 256, 3], True, 3]
    assert report["depth told"] == ["depth fitted from 40x40 to 256x256"]
