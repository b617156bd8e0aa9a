"""A region of a big picture: cut out, changed, stitched back, and nothing else touched."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from lumiere_core.media.frames import gathered
from lumiere_core.photo import region as regions
from lumiere_core.photo.region import (
    Region,
    all_of,
    change_mask,
    crop,
    crop_mask,
    feathered,
    region_for_model,
    region_of,
    stitch,
    stitch_frames,
)


def keep_pixels(*given, **settings) -> torch.Tensor:
    return gathered(regions.keep_pixels(*given, **settings))


def blob(height: int = 75, width: int = 101) -> torch.Tensor:
    """A painted patch with a grey rim."""
    mask = torch.zeros(height, width)
    mask[30:52, 40:71] = 0.5
    mask[32:50, 42:69] = 1
    return mask


@pytest.mark.parametrize("multiple", [1, 8, 16, 32])
@pytest.mark.parametrize("size", [0, 64, 128])
@pytest.mark.parametrize("margin", [0, 0.2, 3, 500])
def test_the_box_holds_the_mask_and_its_crop_fits_the_model(multiple, size, margin):
    mask = blob()
    region = region_of(mask, margin, multiple, size)
    outside = mask.clone()
    outside[region.box] = 0
    assert not outside.any()
    assert region.left >= 0 and region.left + region.width <= 101
    assert region.top >= 0 and region.top + region.height <= 75
    assert region.crop_width % multiple == 0 and region.crop_height % multiple == 0
    if size:
        assert max(region.crop_width, region.crop_height) == size


def test_a_crop_at_the_picture_s_own_scale_keeps_every_pixel():
    clip = torch.rand(2, 75, 101, 3)
    region = region_of(blob(), 4, 8)
    assert (region.width, region.height) == (region.crop_width, region.crop_height)
    assert torch.equal(crop(clip, region), clip[:, region.box[0], region.box[1]])


def test_a_scaled_box_keeps_its_aspect():
    region = region_of(blob(300, 400), 0.1, 8, 256)
    wide, high = region.crop_width / region.width, region.crop_height / region.height
    assert 0.97 < wide / high < 1.03


def test_a_picture_smaller_than_the_multiple_is_scaled_to_one():
    mask = torch.zeros(10, 20)
    mask[4:6, 5:15] = 1
    region = region_of(mask, 0, 16)
    assert (region.crop_width, region.crop_height) == (16, 16)
    assert crop_mask(mask, region).shape == (16, 16)


def test_a_moving_mask_is_held_in_all_its_frames():
    mask = torch.zeros(3, 40, 60)
    for t in range(3):
        mask[t, 10:20, 10 + 12 * t : 20 + 12 * t] = 1
    region = region_of(mask, 0, 1)
    assert (region.left, region.top, region.width, region.height) == (10, 10, 34, 10)
    assert crop_mask(mask, region).shape == (3, 10, 34)


def test_a_region_is_plain_numbers():
    region = region_of(blob(), 0.1, 8, 64)
    assert Region(**json.loads(json.dumps(asdict(region)))) == region


def test_the_feather_lies_inside_the_mask():
    mask = blob()
    soft = feathered(mask, 5)
    assert torch.equal(soft == 0, mask == 0)
    assert (soft <= mask).all() and soft[41, 55] == 1
    across = soft[41, 40:56]
    assert (across[1:] >= across[:-1]).all() and across[0] < 0.1
    assert torch.equal(feathered(mask, 0), mask)


def test_the_picture_s_border_is_no_edge():
    mask = torch.zeros(20, 20)
    mask[:, :10] = 1
    assert torch.equal(feathered(mask, 4)[:, 0], torch.ones(20))
    assert torch.equal(feathered(torch.ones(8, 8), 4), torch.ones(8, 8))


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("size", [0, 64])
@pytest.mark.parametrize("moving", [False, True])
def test_pixels_outside_the_mask_are_the_originals_bit_for_bit(frames, size, moving):
    mask, original = blob(), torch.rand(frames, 75, 101, 3)
    mask = torch.stack([mask, mask.roll(1, 0), mask.roll(2, 1)]) if moving else mask
    region = region_of(mask, 4, 8, size)
    before = original.clone()
    generated = torch.rand(3, region.crop_height, region.crop_width, 3)
    out = stitch(generated, region, original, mask, 4)
    for t in range(3):
        known = (mask[t] if moving else mask) == 0
        assert torch.equal(out[t][known], original[min(t, frames - 1)][known])
    assert torch.equal(original, before)
    assert not torch.equal(out[0, 41, 55], original[0, 41, 55])


def test_what_was_cut_out_and_not_changed_is_stitched_back_invisibly():
    clip, mask = torch.rand(2, 75, 101, 3), blob()
    region = region_of(mask, 4, 8)
    torch.testing.assert_close(stitch(crop(clip, region), region, clip, mask), clip, atol=1e-6, rtol=0)


def test_frames_come_one_at_a_time():
    mask, asked = blob(), []
    region = region_of(mask)
    frames = iter(stitch_frames(torch.rand(50, 8, 8, 3), region, torch.rand(75, 101, 3), mask))
    asked.append(next(frames))
    assert asked[0].shape == (75, 101, 3)


def test_known_pixels_are_kept_exactly_and_the_rest_is_new():
    clip, source, mask = torch.rand(4, 75, 101, 3), torch.rand(75, 101, 3), blob()
    out = keep_pixels(clip, source, mask)
    assert torch.equal(out[:, mask == 0], source[mask == 0].expand(4, -1, -1))
    assert torch.equal(out[:, mask == 1], clip[:, mask == 1])
    per_frame = keep_pixels(clip, source.expand(4, -1, -1, -1), mask.expand(4, -1, -1))
    assert torch.equal(out, per_frame)


def test_a_mask_of_another_size_is_resized():
    assert change_mask(blob(), 4, 150, 202).shape == (1, 150, 202)
    assert keep_pixels(torch.rand(2, 150, 202, 3), torch.rand(150, 202, 3), blob(), 3).shape[1:3] == (
        150,
        202,
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: region_of(torch.zeros(64, 64)), "mask is empty"),
        (lambda: region_of(blob(), size=500, multiple=8), "size is 500, but .* Try 496 or 504"),
        (lambda: region_of(blob(), margin=-1), "margin is -1, but it has to be between 0 and 4096. Try 0.25"),
        (lambda: feathered(blob(), -2), "feather is -2"),
        (lambda: crop(torch.rand(1, 75, 100, 3), region_of(blob())), "clip is 100x75, but .* 101x75"),
        (lambda: keep_pixels(torch.rand(2, 8, 8, 3), torch.rand(9, 8, 3), torch.ones(8, 8)), "source is 8x9"),
        (
            lambda: keep_pixels(torch.rand(2, 8, 8, 3), torch.rand(3, 8, 8, 3), torch.ones(8, 8)),
            "source has 3 frames, but the clip has 2",
        ),
        (lambda: change_mask(torch.ones(3, 8, 8), 2, 8, 8), "mask has 3 frames, but the clip has 2"),
        (
            lambda: stitch(
                torch.rand(1, 8, 8, 3), region_of(blob()), torch.rand(75, 101, 3), torch.ones(9, 9)
            ),
            "mask is 9x9",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_mask_that_reaches_out_of_the_region_is_cut_softly():
    mask = blob()
    region = replace(region_of(mask, 0, 1), left=45, width=20)
    out = stitch(torch.ones(1, 8, 8, 3), region, torch.zeros(75, 101, 3), mask, 6)[0, 41, :, 0]
    assert out[:45].max() == 0 and out[45] < 0.2 and out[55] > 0.9


def test_a_48_megapixel_picture_is_cut_and_stitched_frame_by_frame():
    mask = torch.zeros(6000, 8000)
    mask[2000:2400, 5000:5600] = 1
    region = region_of(mask, 0.25, 16, 832)
    picture = torch.full((1, 1, 1, 3), 0.5).expand(1, 6000, 8000, 3)  # one pixel of memory
    part = crop(picture, region)
    assert max(part.shape[1:3]) == 832
    frame = torch.from_numpy(next(iter(stitch_frames(1 - part, region, picture, mask))))
    assert frame.shape == (6000, 8000, 3) and torch.equal(frame[:2000], picture[0, :2000])


@pytest.mark.parametrize("mask", [torch.ones(75, 101), torch.ones(64, 64)])
def test_a_mask_of_everything_is_the_whole_picture(mask):
    region = region_of(change_mask(mask, 1, 75, 101), 0.25, 1)
    assert (region.left, region.top, region.width, region.height) == (0, 0, 101, 75)
    assert torch.equal(
        stitch(torch.ones(1, 75, 101, 3), region, torch.rand(75, 101, 3), change_mask(mask, 1, 75, 101)),
        torch.ones(1, 75, 101, 3),
    )


@pytest.mark.parametrize(("columns", "left"), [((0, 40), 0), ((120, 210), 90), ((200, 260), 110)])
def test_a_model_is_given_what_changes_and_the_scene_around_it_at_its_own_size(columns, left):
    change = torch.zeros(150, 260)
    change[40:100, slice(*columns)] = 1
    before = change.clone()
    found = region_for_model(change, 64, 16)
    assert (found.left, found.top, found.width, found.height) == (left, 0, 150, 150)
    assert (found.crop_width, found.crop_height) == (64, 64)
    assert torch.equal(change, before)


def test_what_is_wider_than_a_square_is_given_whole():
    change = torch.zeros(150, 260)
    change[40:100, 20:230] = 1
    found = region_for_model(change, 64, 16)
    rows, columns = found.box
    assert change[rows, columns].sum() == change.sum() and found.height == 150
    assert found.crop_width == 64 and not found.crop_height % 16


@pytest.mark.parametrize("shape", [(64, 64), (32, 48), (150, 260)])
def test_a_picture_that_fits_or_does_not_change_stays_whole(shape):
    change = torch.zeros(shape) if shape == (150, 260) else torch.ones(shape)
    assert region_for_model(change, 64, 16) == all_of(*shape)


def test_a_small_picture_off_the_grid_is_scaled_to_it():
    found = region_for_model(torch.ones(60, 60), 64, 16)
    assert (found.width, found.height, found.crop_width, found.crop_height) == (60, 60, 64, 64)


def test_a_clip_has_outgrown_its_picture_only_if_it_is_all_of_it_undistorted_and_larger():
    def whole(height: int, width: int) -> Region:
        return Region(0, 0, width, height, width, height, 64, 64)

    assert whole(100, 100).outgrown(256, 256)
    assert not whole(100, 100).outgrown(100, 100), "as large: the source and its grey pixels come back"
    assert not whole(100, 100).outgrown(96, 96), "smaller"
    assert not whole(100, 150).outgrown(256, 256), "distorted"
    assert not Region(0, 0, 50, 50, 100, 100, 64, 64).outgrown(256, 256), "a part"
