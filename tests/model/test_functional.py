"""Views of clips, and the small functions on them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from lumiere_core.model.functional import (
    attention,
    depth_to_space,
    frames_as_batch,
    frames_as_time,
    half_waves,
    normalise,
    over_channels,
    over_time,
    pad_frames,
    pad_rows,
    per_frame,
    repeat_frames,
    rms_normalised,
    rotary,
    space_to_depth,
    thinned,
    timestep_embedding,
)


def channels_last(x: torch.Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def clip() -> torch.Tensor:
    return torch.randn(2, 6, 5, 4, 3, generator=torch.Generator().manual_seed(0))  # (B, C, T, H, W)


def test_frames_go_into_the_batch_and_back(clip):
    x = frames_as_batch(clip)
    assert x.shape == (10, 6, 4, 3)
    assert torch.equal(x, rearrange(clip, "b c t h w -> (b t) c h w"))
    assert torch.equal(frames_as_time(x, 5), clip)


def test_frames_in_the_batch_lie_channels_last_and_come_back_as_a_view(clip):
    x = frames_as_batch(clip)
    assert channels_last(x)
    assert frames_as_time(x, 5).data_ptr() == x.data_ptr()


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_over_time_equals_conv1d_at_every_pixel(clip, stride):
    weight, bias = torch.randn(7, 6, 3), torch.randn(7)
    x = frames_as_batch(clip)
    ours = over_time(
        lambda v: F.conv2d(v, weight[..., None], bias, stride=(stride, 1), padding=(1, 0)), x, clip.shape[2]
    )
    pixels = rearrange(clip, "b c t h w -> (b h w) c t")
    known = F.conv1d(pixels, weight, bias, stride=stride, padding=1)
    known = rearrange(known, "(b h w) c t -> (b t) c h w", b=2, h=4)
    torch.testing.assert_close(ours, known, atol=1e-5, rtol=1e-5)


def test_convolution_over_time_copies_nothing_but_what_it_computes(clip):
    x, inside = frames_as_batch(clip), []

    def conv(v):
        inside.append(v)
        inside.append(F.conv2d(v, torch.ones(7, 6, 3, 1), padding=(1, 0)))
        return inside[-1]

    y = over_time(conv, x, clip.shape[2])
    seen, made = inside
    assert seen.data_ptr() == x.data_ptr() and seen.shape == (2, 6, 5, 12) and channels_last(seen)
    assert y.data_ptr() == made.data_ptr() and channels_last(y)


def test_a_linear_layer_over_channels_is_a_1x1_convolution_on_a_view(clip):
    x, weight, seen = frames_as_batch(clip), torch.randn(7, 6), []
    y = over_channels(lambda v: seen.append(v) or F.linear(v, weight), x)
    torch.testing.assert_close(y, F.conv2d(x, weight[..., None, None]), atol=1e-5, rtol=1e-5)
    assert seen[0].data_ptr() == x.data_ptr() and seen[0].is_contiguous()
    assert channels_last(y)


def test_attention_is_a_weighted_mean_head_by_head():
    q, k, v = torch.randn(3, 2, 4, 6).unbind()
    by_hand = []
    for head in range(2):
        s = slice(3 * head, 3 * head + 3)
        by_hand.append((q[..., s] @ k[..., s].transpose(1, 2) / 3**0.5).softmax(-1) @ v[..., s])
    torch.testing.assert_close(attention(q, k, v, 3), torch.cat(by_hand, -1), atol=1e-5, rtol=1e-5)


def test_rotary_positions_show_attention_distances_and_no_places():
    q, k = torch.randn(2, 1, 5, 16).unbind()
    places = torch.arange(5)

    def scores(shift: int) -> torch.Tensor:
        return rotary(q, places + shift, 8) @ rotary(k, places + shift, 8).transpose(1, 2)

    torch.testing.assert_close(scores(0), scores(37), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(scores(0), q @ k.transpose(1, 2), atol=1e-2)


def test_rotary_positions_by_hand():
    """Four channels are two pairs, (0, 2) and (1, 3): a frame turns one by 1 radian and the other by a tenth."""
    x = torch.tensor([[[1.0, 1.0, 0.0, 0.0]] * 4])  # (1, T, C)
    turned = rotary(x, torch.arange(4), 4)
    for place, row in enumerate(turned[0].tolist()):
        fast, slow = float(place), 0.1 * place
        wanted = [math.cos(fast), math.cos(slow), math.sin(fast), math.sin(slow)]
        assert row == pytest.approx(wanted, abs=1e-5)


def test_rotary_positions_turn_and_never_stretch():
    x = torch.randn(2, 5, 16)
    turned = rotary(x, torch.arange(5), 8)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, 0], x[:, 0])


@pytest.mark.parametrize(("frames", "padded"), [(1, 4), (3, 4), (4, 4), (5, 8), (9, 12)])
def test_a_clip_is_made_longer_by_its_last_frame(frames, padded):
    x = torch.randn(3, 2, frames, 2, 2)
    y = pad_frames(x, 4)
    assert y.shape[2] == padded
    assert torch.equal(y[:, :, :frames], x)
    assert torch.equal(y[:, :, frames:], x[:, :, -1:].expand_as(y[:, :, frames:]))


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_pixels_go_into_channels_and_back(patch):
    x = torch.randn(2, 3, 8, 16)
    grid = space_to_depth(x, patch)
    assert grid.shape == (2, 3 * patch**2, 8 // patch, 16 // patch)
    assert torch.equal(depth_to_space(grid, patch), x)
    assert patch == 1 or channels_last(grid)


def test_rows_are_repeated_for_the_frames_of_their_own_clip():
    rows = torch.tensor([[1.0], [2.0]])
    assert per_frame(rows, torch.zeros(6, 1, 1, 1)).tolist() == [[1], [1], [1], [2], [2], [2]]


def test_each_picture_is_repeated_where_it_stands_and_stays_channels_last(clip):
    x = frames_as_batch(clip)
    y = repeat_frames(x, 3)
    assert torch.equal(y, x.repeat_interleave(3, 0)) and channels_last(y)


@pytest.mark.parametrize("size", [(4, 3), (40, 30)])
@pytest.mark.parametrize("channels", [8, 64])
def test_a_norm_is_the_same_in_half_precision_and_keeps_channels_last(channels, size):
    x = torch.randn(2, channels, *size).contiguous(memory_format=torch.channels_last)
    norm = torch.nn.GroupNorm(4, channels)
    y = normalise(norm.bfloat16(), x.bfloat16())
    assert channels_last(y)
    torch.testing.assert_close(y.float(), norm.float()(x), atol=0.05, rtol=0.02)


def test_the_time_embedding_by_hand():
    """A thousandth of the time is one radian of the fastest wave; of four channels the slower one runs at 1 / 100."""
    (row,) = timestep_embedding(torch.tensor([0.001]), 4).tolist()
    assert row == pytest.approx([math.cos(1), math.cos(0.01), math.sin(1), math.sin(0.01)], abs=1e-5)
    (row,) = timestep_embedding(torch.tensor([0.5]), 8).tolist()
    angles = [500, 50, 5, 0.5]
    assert row == pytest.approx([f(a) for f in (math.cos, math.sin) for a in angles], abs=1e-3)


def test_the_time_embedding_is_that_of_the_published_models():
    known = pytest.importorskip("diffusers.models.embeddings").get_timestep_embedding
    t = torch.tensor([0.0, 0.25, 0.9])
    torch.testing.assert_close(
        timestep_embedding(t, 32),
        known(1000 * t, 32, flip_sin_to_cos=True, downscale_freq_shift=0),
        atol=1e-4,
        rtol=1e-4,
    )


def test_a_number_becomes_a_line_and_half_waves_of_both_phases():
    x = torch.tensor([[0.0, 0.25, 1.0]])
    made = half_waves(x, 2)
    assert made.shape == (1, 3, 5)
    r = math.sqrt(0.5)
    wanted = [[-1, 1, 1, 0, 0], [-0.5, r, 0, r, 1], [1, -1, 1, 0, 0]]  # 2x - 1, cos, cos, sin, sin
    torch.testing.assert_close(made[0], torch.tensor(wanted), atol=1e-6, rtol=0)


def test_rows_come_to_a_root_mean_square_of_1_and_zeros_stay():
    rows = torch.tensor([[3.0, -4.0], [0.0, 0.0], [300.0, 400.0]])
    made = rms_normalised(rows)
    torch.testing.assert_close(made.square().mean(-1), torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(made[0], rows[0] / math.sqrt(12.5))
    assert rms_normalised(rows.bfloat16()).dtype == torch.bfloat16


def test_a_level_with_fewer_frames_is_told_of_the_frames_it_has():
    told = torch.arange(16.0).view(16, 1)  # two clips of 8 frames
    assert thinned(told, 2, 4).flatten().tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert thinned(told, 2, 8).equal(told)
    assert thinned(told[:2], 2, 4).equal(told[:2]), "one row a clip stays"


def test_what_is_told_of_each_frame_is_filled_up_as_the_clip_is():
    told = torch.arange(6.0).view(6, 1)  # two clips of 3 frames
    assert pad_rows(told, 2, 4).flatten().tolist() == [0, 1, 2, 2, 3, 4, 5, 5]
    assert pad_rows(told, 2, 3).equal(told)
    assert pad_rows(told[:2], 2, 4).equal(told[:2]), "one row a clip stays"
    assert len(pad_rows(torch.zeros(10, 2), 2, 8)) == 16
