"""The condition <C, M>: what of a clip is known, and that it survives a latent's grid."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.diffusion.condition import (
    chosen_frames,
    cinemagraph,
    extend,
    first_and_last,
    first_frame,
    inpaint,
    outpaint,
    packed,
)


def pictures(count: int = 1) -> torch.Tensor:
    """Each a shade of its own: picture n is n / 10. (1, 3, N, 8, 8)"""
    return (torch.arange(1, count + 1) / 10).view(1, 1, -1, 1, 1).expand(1, 3, count, 8, 8)


def outside(left: int = 4) -> torch.Tensor:
    """Known but for the right part. (1, 1, 1, 8, 8)"""
    known = torch.ones(1, 1, 1, 8, 8)
    known[..., left:] = 0
    return known


def test_a_cinemagraph_knows_all_of_its_first_frame_and_later_what_lies_outside():
    made = cinemagraph(pictures(), outside(), 5)
    assert made.known[:, :, 0].eq(1).all()
    assert made.known[:, :, 1:, :, :4].eq(1).all() and made.known[:, :, 1:, :, 4:].eq(0).all()
    assert made.blanked[:, :, 1:, :, 4:].eq(0).all() and made.blanked[:, :, 0].eq(0.1).all()
    assert made.clip.eq(0.1).all()


def test_a_pixel_is_blank_as_soon_as_it_is_not_wholly_known():
    soft = outside()
    soft[..., 3] = 0.9
    assert inpaint(pictures(), soft, 2).blanked[..., 3].eq(0).all()


def test_image_to_video_knows_frame_0_alone():
    made = first_frame(pictures(), 6)
    assert made.known[0, 0, :, 0, 0].tolist() == [1, 0, 0, 0, 0, 0]


def test_one_picture_at_both_ends_is_a_loop_and_two_are_a_way():
    assert first_and_last(pictures(), 5).known[0, 0, :, 0, 0].tolist() == [1, 0, 0, 0, 1]
    way = first_and_last(pictures(2), 5)
    torch.testing.assert_close(way.clip[0, 0, :, 0, 0], torch.tensor([0.1, 0.1, 0.1, 0.2, 0.2]))


def test_in_a_causal_grid_a_chosen_frame_fills_its_step():
    made = chosen_frames(pictures(2), [0, 6], 9, stride=4)
    assert made.known[0, 0, :, 0, 0].tolist() == [1, 0, 0, 0, 0, 1, 1, 1, 1]
    torch.testing.assert_close(made.clip[0, 0, 5:, 0, 0], torch.full((4,), 0.2))
    assert packed(made.known, 3, 1, 1)[0, 0, :, 0, 0].tolist() == [1, 0, 1]


def test_extending_begins_with_the_end():
    made = extend(pictures(6), 2, 5)
    torch.testing.assert_close(made.clip[0, 0, :3, 0, 0], torch.tensor([0.5, 0.6, 0.6]))
    assert made.known[0, 0, :, 0, 0].tolist() == [1, 1, 0, 0, 0]


def test_a_thin_stroke_in_a_large_mask_is_not_lost():
    known = torch.ones(1, 1, 1, 1000, 1000)
    known[..., 500:503, :] = 0
    still = torch.zeros(1, 3, 1, 64, 64)
    assert packed(cinemagraph(still, known, 3).known, 3, 8, 8)[0, 0, 1].min() < 1


def test_outpainting_knows_the_picture_inside_its_new_room():
    made = outpaint(pictures(), (2, 0, 4, 1), 3)
    assert made.clip.shape == (1, 3, 3, 9, 14)
    assert made.known[0, 0, 2].sum() == 64 and made.known[0, 0, 2, :8, 2:10].eq(1).all()


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_frame_0_stays_known_on_every_time_grid_and_a_region_stays_open(stride):
    frames = 2 * stride + 1
    made = cinemagraph(pictures(), outside(3), frames)
    mask = packed(made.known, 3, 2, 2)
    assert mask[:, :, 0].eq(1).all()
    assert mask[:, :, 1:, :, 0].eq(0).all() and mask[:, :, 1:, :, 1].eq(0).all(), (
        "a cell with one open pixel is open"
    )
    closed = packed(inpaint(pictures(), outside(4), frames).known, 3, 2, 2)
    assert closed[..., 0].eq(1).all() and closed[..., 1].eq(0).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cinemagraph(pictures(3), outside(), 5), "takes one picture, but 3"),
        (lambda: cinemagraph(pictures(), torch.ones(1, 1, 1, 8, 8), 5), "mask is empty"),
        (lambda: inpaint(pictures(4), outside(), 5), "has 4 frames, but 5"),
        (lambda: inpaint(pictures(5), outside().expand(1, 1, 3, 8, 8), 5), "mask has 3 frames"),
        (lambda: outpaint(pictures(), (0, 0, 0, 0), 5), "one has to be above 0"),
        (lambda: chosen_frames(pictures(2), [0], 5), "2 pictures and 1 places"),
        (lambda: chosen_frames(pictures(2), [0, 5], 5), "0, 5, but they have to differ and lie in 0 to 4"),
        (lambda: extend(pictures(2), 3, 5), "3 frames of the clip are to be kept, but it has 2"),
        (lambda: extend(pictures(8), 3, 9, 4), "holds 1 and then 4 at a time. Try 1 or 5"),
        (
            lambda: chosen_frames(pictures(3), [0, 5, 7], 9, 4),
            "5 and 7 lie in one latent step .* Move one of them to 9",
        ),
        (lambda: packed(torch.ones(1, 1, 12, 4, 4), 4, 2, 2), "4 latent steps of 12 frames"),
    ],
)
def test_what_cannot_be_is_refused_with_its_numbers(call, words):
    with pytest.raises(ValueError, match=words):
        call()
