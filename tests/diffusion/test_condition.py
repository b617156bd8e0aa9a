"""The condition <C, M>: what of a clip is known, and that it survives a latent's grid."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.config import DiffusionSpec
from lumiere_core.diffusion.condition import (
    Condition,
    bridge,
    chosen_frames,
    cinemagraph,
    cut_out,
    differential,
    extend,
    first_and_last,
    first_frame,
    held,
    inpaint,
    lead_in,
    on_canvas,
    outpaint,
    packed,
)
from lumiere_core.diffusion.process import Process
from lumiere_core.train.masks import drawn_condition


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


@pytest.mark.parametrize(
    ("made", "height", "width"),
    [
        (lambda: cinemagraph(pictures(), outside(), 9), 8, 8),
        (lambda: inpaint(pictures(), outside(), 9), 8, 8),
        (lambda: inpaint(pictures(9), outside(), 9), 8, 8),
        (lambda: outpaint(pictures(), (1, 2, 3, 4), 9), 14, 12),
        (lambda: outpaint(pictures(9), (0, 6, 0, 0), 9), 14, 8),
        (lambda: chosen_frames(pictures(3), [8, 0, 5], 9), 8, 8),
        (lambda: first_frame(pictures(), 9), 8, 8),
        (lambda: first_and_last(pictures(), 9, 4), 8, 8),
        (lambda: extend(pictures(9), 5, 9, 4), 8, 8),
        (lambda: lead_in(pictures(9), 4, 9, 4), 8, 8),
        (lambda: bridge(pictures(4), 9), 8, 8),
    ],
)
def test_every_task_gives_a_clip_and_a_mask_of_its_length_and_size(made, height, width):
    assert made().clip.shape == (1, 3, 9, height, width)
    assert made().known.shape == (1, 1, 9, height, width)


@pytest.mark.parametrize(
    "task",
    [
        lambda clip: inpaint(clip[:, :, :1], outside(), 9),
        lambda clip: outpaint(clip[:, :, :1], (1, 2, 3, 4), 9),
        lambda clip: chosen_frames(clip[:, :, :3], [8, 0, 5], 9),
        lambda clip: first_frame(clip[:, :, :1], 9),
        lambda clip: first_and_last(clip[:, :, :1], 9),
        lambda clip: cinemagraph(clip[:, :, :1], outside(), 9),
        lambda clip: extend(clip, 5, 9),
        lambda clip: lead_in(clip, 4, 9),
        lambda clip: bridge(clip[:, :, :4], 9),
    ],
)
def test_two_clips_at_once_are_each_what_they_are_alone(task):
    one, other = pictures(9), 1 - pictures(9)
    made = task(torch.cat([one, other])).clip
    assert made.equal(torch.cat([task(one).clip, task(other).clip]))


@pytest.mark.parametrize("sides", [(2, 0, 4, 1), (0, 3, 0, 2), (1, 0, 0, 0)])
def test_new_room_lies_on_the_sides_it_was_asked_for(sides):
    left, top, right, bottom = sides
    made = outpaint(pictures(), sides, 2)
    height, width = 8 + top + bottom, 8 + left + right
    known = torch.zeros(height, width)
    known[top : height - bottom, left : width - right] = 1
    assert torch.equal(made.known[0, 0, 1], known)
    torch.testing.assert_close(made.clip, torch.full((1, 3, 2, height, width), 0.1))  # its edge goes on


def test_extending_may_keep_a_single_frame_and_all_but_the_last():
    assert extend(pictures(3), 1, 9).known[0, 0, :, 0, 0].tolist() == [1] + [0] * 8
    assert extend(pictures(8), 8, 9).known[0, 0, :, 0, 0].tolist() == [1] * 8 + [0]
    assert extend(pictures(9), 8, 9).clip[0, 0, :, 0, 0].tolist() == pytest.approx(
        [0.2 + i / 10 for i in range(8)] + [0.9]
    )


def test_a_mask_of_the_clips_size_is_taken_as_it_is_and_another_is_scaled():
    stripes = torch.ones(1, 1, 1, 8, 8)
    stripes[..., ::2] = 0
    assert torch.equal(inpaint(pictures(), stripes, 3).known, stripes.expand(-1, -1, 3, -1, -1))
    small = torch.tensor([[1.0, 0.0]]).expand(1, 1, 1, 2, 2)
    scaled = inpaint(pictures(), small, 3).known[0, 0, 1]
    assert scaled[:, :2].eq(1).all() and scaled[:, 6:].eq(0).all()
    moving = torch.ones(1, 1, 3, 8, 8)
    moving[:, :, 1] = 0  # a region in one frame alone
    assert inpaint(pictures(), moving, 3).known[0, 0, :, 0, 0].tolist() == [1, 0, 1]


def test_a_network_reads_what_it_was_trained_on():
    """The order and the polarity of `drawn_condition`, found again from the clip and its M."""
    clips = torch.rand(12, 3, 6, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    drawn = drawn_condition(clips, torch.Generator().manual_seed(3))
    told = [Condition(clip[None], m[None]).stacked for clip, m in zip(clips, drawn[:, 3:], strict=True)]
    assert any(v is None for v in told) and not all(v is None for v in told)
    for trained, read in zip(drawn, told, strict=True):
        assert torch.equal(trained[None], torch.zeros(1, 4, 6, 8, 8) if read is None else read)


def test_a_pixel_known_in_part_is_unknown_to_the_network():
    soft = outside()
    soft[..., 3] = 0.9
    told = inpaint(pictures(), soft, 2).stacked
    assert told.shape == (1, 4, 2, 8, 8)
    assert told[..., 3:].eq(0).all() and told[:, 3, ..., :3].eq(1).all()


def test_where_nothing_is_known_there_is_nothing_to_tell():
    assert inpaint(pictures(), torch.full((1, 1, 1, 8, 8), 0.5), 2).stacked is None


def test_a_mask_of_one_colour_is_allowed_and_remarked_on():
    assert "nothing will change" in cinemagraph(pictures(), torch.ones(1, 1, 1, 8, 8), 5).remark
    assert "nothing of the picture is kept" in inpaint(pictures(), torch.zeros(1, 1, 1, 8, 8), 5).remark
    assert not inpaint(pictures(), outside(), 5).remark


def test_what_came_before_a_clip_ends_with_its_first_frames():
    made = lead_in(pictures(4), 2, 5)
    assert made.known[0, 0, :, 0, 0].tolist() == [0, 0, 0, 1, 1]
    torch.testing.assert_close(made.clip[0, 0, :, 0, 0], torch.tensor([0.1, 0.1, 0.1, 0.1, 0.2]))
    assert lead_in(pictures(8), 4, 9, 4).known[0, 0, :, 0, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_a_bridge_begins_with_one_half_and_ends_with_the_other():
    made = bridge(pictures(4), 8)
    assert made.known[0, 0, :, 0, 0].tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    torch.testing.assert_close(
        made.clip[0, 0, :, 0, 0], torch.tensor([0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.4])
    )
    assert bridge(pictures(9), 17, 4).known[0, 0, :, 0, 0].tolist() == [1] * 5 + [0] * 8 + [1] * 4


def test_what_a_canvas_lacks_is_unknown_and_what_is_too_much_is_cut():
    short = on_canvas(pictures(2), torch.ones(1, 1, 1, 8, 8), 5, 8, 8)
    assert short.known[0, 0, :, 0, 0].tolist() == [1, 1, 0, 0, 0] and short.clip[:, :, 2:].eq(0).all()
    long = on_canvas(pictures(6), outside().expand(1, 1, 6, 8, 8), 3, 8, 8)
    assert long.clip.shape == (1, 3, 3, 8, 8) and long.known.shape == (1, 1, 3, 8, 8)


def test_a_canvas_has_its_own_height_and_width_for_every_clip_of_a_batch():
    clips = torch.cat([pictures(2), 1 - pictures(2)])
    made = on_canvas(clips, outside(), 3, 16, 24)
    assert made.clip.shape == (2, 3, 3, 16, 24) and made.known.shape == (2, 1, 3, 16, 24)
    torch.testing.assert_close(made.clip[:, 0, :2, 0, 0], torch.tensor([[0.1, 0.2], [0.9, 0.8]]))
    assert made.known[:, :, :2, :, :9].eq(1).all() and made.known[:, :, 2].eq(0).all()
    alone = on_canvas(clips, outside().expand(2, 1, 2, 8, 8), 2, 8, 8)
    assert alone.known.equal(outside().expand(2, 1, 2, 8, 8)) and alone.clip.equal(clips)


@pytest.mark.parametrize("side", [5, 8, 12, 31])
def test_a_pixel_is_known_at_another_size_where_all_it_is_made_of_is(side):
    made = on_canvas(pictures(1), outside(4), 1, side, side)
    assert made.known[..., : int(side * 0.3)].eq(1).all(), "to the bit"
    assert made.known[..., side // 2 + 1 :].lt(1).all()


def test_a_part_is_cut_out_with_its_mask():
    part = cut_out(inpaint(pictures(), outside(), 2), (slice(0, 4), slice(2, 6)), 12, 8)
    assert part.clip.shape == (1, 3, 2, 12, 8) and part.known.shape == (1, 1, 2, 12, 8)
    assert part.known[..., :2].eq(1).all() and part.known[..., 4:].lt(1).all()
    torch.testing.assert_close(part.clip, torch.full_like(part.clip, 0.1))


def test_held_pixels_follow_the_clips_own_path_whatever_the_network_says():
    task, noise = inpaint(pictures(), outside(), 3), torch.randn(1, 3, 3, 8, 8)
    seen = []

    def network(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return torch.full_like(x, 9.0)

    x = torch.full((1, 3, 3, 8, 8), -5.0)
    x0 = held(network, task, noise)(x, torch.tensor(2.0))
    torch.testing.assert_close(seen[0][..., :4], (task.clip + 2 * noise)[..., :4])
    assert seen[0][..., 4:].eq(-5).all()
    torch.testing.assert_close(x0[..., :4], task.clip[..., :4])
    assert x0[..., 4:].eq(9).all()
    made = torch.full_like(x, float("nan"))
    assert task.kept(made)[..., :4].eq(0.1).all() and task.kept(made)[..., 4:].isnan().all()


def test_each_pixel_is_let_go_at_its_own_share_of_the_way():
    process = Process(DiffusionSpec(shift=2.0))
    sigmas = process.sigmas(10, 0.8)
    own = differential(process, sigmas)
    share = torch.tensor([1.0, 0.51, 0.25, 0.0, 0.4995])  # of the strength: 1 - M
    freed = torch.stack([1 - own(1 - share, sigma) for sigma in sigmas[:-1]])  # (steps, pixels)
    assert freed[:, 0].all() and not freed[:, 3].any()
    assert freed[:, 1].tolist() == [0] * 5 + [1] * 5
    assert freed[:, 2].tolist() == [0] * 8 + [1] * 2
    assert (
        freed[:, 4].tolist() == [0] * 6 + [1] * 4
    )  # half of the way is left before step 5, and not a thousandth less


def test_what_is_held_may_change_with_the_noise_level():
    task, noise = inpaint(pictures(), outside(), 3), torch.randn(1, 3, 3, 8, 8)
    asked = []

    def own(known: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        asked.append((known, float(sigma)))
        return torch.zeros_like(known)

    x = torch.full((1, 3, 3, 8, 8), -5.0)
    x0 = held(lambda x, sigma: x, task, noise, own)(x, torch.tensor(2.0))
    assert len(asked) == 1 and asked[0][0].equal(task.known) and asked[0][1] == 2
    assert x0.equal(x), "nothing is held where `own` lets go"


def test_grey_is_unknown_in_a_firm_condition_and_its_clip_stays():
    soft = outside()
    soft[..., 3] = 0.9
    task = inpaint(pictures(), soft, 2)
    assert task.firm.clip.equal(task.clip)
    assert task.firm.known[..., :3].eq(1).all() and task.firm.known[..., 3:].eq(0).all()


@pytest.mark.parametrize(("frames", "steps"), [(9, 9), (9, 3), (9, 2), (2, 2), (17, 5)])
def test_a_mask_on_a_latents_grid_has_its_size(frames, steps):
    assert packed(torch.ones(1, 1, frames, 8, 8), steps, 2, 4).shape == (1, 1, steps, 2, 4)


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
        (lambda: bridge(pictures(1), 5), "1 frames were given for 5.*such as 2 frames of each"),
        (lambda: bridge(pictures(5), 5), "5 frames were given for 5"),
        (lambda: bridge(pictures(4), 9, 4), "2 frames of the clip are to be kept.*Try 1 or 5"),
        (lambda: bridge(pictures(2), 9, 4), "1 frames at the end.*holds 4 at a time there. Try 4 or 8"),
        (lambda: lead_in(pictures(3), 4, 9), "4 frames of the clip are to be kept, but it has 3"),
        (lambda: lead_in(pictures(6), 6, 9, 4), "6 frames at the end.*Try 4 or 8"),
        (lambda: on_canvas(pictures(5), torch.ones(1, 1, 3, 8, 8), 5, 8, 8), "mask has 3 frames"),
        (lambda: inpaint(pictures(4), outside(), 5), "has 4 frames, but 5"),
        (lambda: inpaint(pictures(5), outside().expand(1, 1, 3, 8, 8), 5), "mask has 3 frames"),
        (lambda: outpaint(pictures(), (0, 0, 0, 0), 5), "one has to be above 0"),
        (lambda: chosen_frames(pictures(2), [0], 5), "2 pictures and 1 places"),
        (lambda: outpaint(pictures(), (8, -1, 0, 0), 5), "none below"),
        (lambda: chosen_frames(pictures(0), [], 5), "0 pictures and 0 places"),
        (lambda: chosen_frames(pictures(2), [-1, 3], 5), "-1, 3, but they have to differ"),
        (lambda: chosen_frames(pictures(2), [3, 3], 5), "3, 3, but they have to differ"),
        (lambda: extend(pictures(2), 0, 5), "0 frames of the clip are to be kept, but it has 2"),
        (lambda: extend(pictures(9), 5, 5), "5 frames of the clip are to be kept.*Try 4"),
        (lambda: packed(torch.ones(1, 1, 12, 4, 4), 1, 2, 2), "1 latent steps of 12 frames.*Try 9"),
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
