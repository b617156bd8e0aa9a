"""What can be measured on a clip alone."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.media.measure import (
    block_steps,
    difference_chart,
    frame_differences,
    loop_seam_score,
    psnr,
    seam_score,
    xt_slice,
)


def moving_edge(frames: int = 12, width: int = 24) -> torch.Tensor:
    """A white half that grows by one pixel a frame. (3, T, 4, W)"""
    x, t = torch.arange(width), torch.arange(frames)[:, None]
    return (x[None] < t + 4).float()[None, :, None].expand(3, frames, 4, width)


def test_a_moving_edge_is_a_slanted_line_in_the_slice():
    traced = xt_slice(moving_edge())
    assert traced.shape == (3, 12, 24)
    assert traced[0].sum(1).tolist() == [t + 4 for t in range(12)]


@pytest.mark.parametrize(("row", "traced"), [(0.0, 0), (0.24, 0), (0.26, 1), (0.5, 2), (0.99, 3), (1.0, 3)])
def test_every_row_from_top_to_bottom_can_be_traced(row, traced):
    clip = torch.arange(4.0).view(1, 1, 4, 1).expand(3, 2, 4, 5)  # each row has its number as its brightness
    assert xt_slice(clip, row).eq(traced).all()


def test_steady_motion_has_no_seam_and_a_jump_has_one():
    clip = moving_edge().clone()
    assert seam_score(clip, [4, 8]) == pytest.approx(1)
    clip[:, 6:] = 1 - clip[:, 6:]
    assert seam_score(clip, [6]) > 5
    assert seam_score(clip, [3]) < 1


def test_a_closed_loop_scores_one_and_an_open_one_more():
    t = torch.arange(20) / 20 * 2 * torch.pi
    closed = torch.stack([t.sin(), t.cos(), t.sin()]).view(3, 20, 1, 1)
    assert loop_seam_score(closed) == pytest.approx(1, abs=0.2)
    assert loop_seam_score(closed[:, :12]) > 3


def test_differences_are_one_less_than_frames():
    assert frame_differences(moving_edge()).shape == (11,)


def test_psnr_of_a_known_error():
    a = torch.zeros(3, 2, 4, 4)
    assert psnr(a, a + 0.2) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize("borders", [[], [0], [12]])
def test_borders_outside_the_clip_are_refused(borders):
    with pytest.raises(ValueError, match="borders are"):
        seam_score(moving_edge(), borders)


def test_a_row_outside_the_picture_is_refused():
    with pytest.raises(ValueError, match="row is 1.5"):
        xt_slice(moving_edge(), 1.5)


def test_the_chart_shows_the_tallest_step_at_full_height_and_marks_seams():
    clip = torch.zeros(3, 6, 4, 4)
    clip[:, 3:] = 1.0  # one jump, between frames 2 and 3
    chart = difference_chart(clip, borders=[3], height=20, bar=4)
    assert chart.shape == (3, 20, 24) and 0 <= chart.min() and chart.max() <= 1
    top = chart[:, 0, 2::4]  # one column of each bar
    assert (top[0] > 0.5).tolist() == [False, False, True, False, False, False], "orange, at the jump"
    assert (top[2] > 0.9).tolist() == [False] * 5 + [True], "blue, back to the first frame"
    assert (chart[:, -1, 2::4].amax(0) > 0.5).all(), "every step has a bar"
    assert difference_chart(torch.zeros(3, 5, 4, 4)).isfinite().all()


@pytest.mark.parametrize("counted", [True, False])
def test_the_progress_of_comparing_steps_ends_full_also_where_nobody_knows_the_length(counted):
    clip, told = torch.rand(5, 16, 16, 3), []
    block_steps(clip if counted else iter(clip), lambda done, total, what: told.append((done, total)))
    assert told == ([(i, 5) for i in range(1, 6)] if counted else [(1, 2), (2, 3), (3, 4), (4, 5), (5, 5)])
