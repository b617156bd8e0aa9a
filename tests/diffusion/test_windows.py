"""Temporal MultiDiffusion: windows that cover a clip and are fused at every step."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise

import pytest
import torch

from lumiere_core.config import DiffusionSpec
from lumiere_core.diffusion.process import Process
from lumiere_core.diffusion.windows import (
    Windows,
    cut,
    free_noise,
    fuse,
    fuse_tiles,
    moments,
    shared_free_noise,
    shift_of,
    starts,
    starts_around,
    tiles_of,
    triangle,
    windowed,
)

SIGMA = torch.tensor(2.0)
WAYS = (starts, starts_around)


@pytest.mark.parametrize("window", [1, 3, 8, 16])
def test_windows_cover_every_frame_and_the_last_ends_on_the_last_frame(window):
    for frames in range(1, 50):
        for overlap in range(window):
            places = starts(frames, window, overlap)
            ends = [s + min(window, frames) for s in places]
            assert places[0] == 0 and ends[-1] == frames
            assert all(e - s >= overlap for e, s in zip(ends, places[1:], strict=False))


def test_the_paper_s_overlap_of_2_is_mixed_two_thirds_to_one_third():
    (_, a), (frames, b) = Windows(8, 2).parts(14)
    assert frames.tolist() == list(range(6, 14))
    torch.testing.assert_close(a[-2:], torch.tensor([2 / 3, 1 / 3]))
    torch.testing.assert_close(b[:2], torch.tensor([1 / 3, 2 / 3]))


@pytest.mark.parametrize("weights", ["triangle", "flat"])
@pytest.mark.parametrize("around", [{}, {"closed": True}, {"roll": 3}])
def test_the_shares_of_a_frame_add_up_to_one(weights, around):
    sizes = ((80, 16, 2), (9, 4, 3), (33, 10, 9)) + (() if "closed" in around else ((5, 8, 0), (6, None, 0)))
    for frames, window, overlap in sizes:
        total = torch.zeros(frames)
        for covered, share in Windows(window, overlap, weights, **around).parts(frames, 1.5, multiple=4):
            total.index_add_(0, covered, share)
        torch.testing.assert_close(total, torch.ones(frames))
    assert triangle(5).tolist() == [1, 2, 3, 2, 1]


def test_borders_lie_where_a_window_begins_or_has_ended():
    assert Windows(4, 0).borders(12) == [4, 8]
    assert Windows(4, 1).borders(7) == [3, 4]
    assert Windows(16, 2).borders(16) == [], "one window has none"


def test_windows_that_agree_come_back_unchanged():
    target, x = torch.randn(1, 3, 23, 4, 4), torch.randn(1, 3, 23, 4, 4)
    out = fuse(lambda part, frames: target[:, :, frames], x, Windows(8, 3).parts(23))
    torch.testing.assert_close(out, target, atol=1e-6, rtol=0)


def frame_local(x, sigma, scale, **_):
    return (x * scale).tanh() / sigma


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(
    "windows",
    [Windows(), Windows(8, 2), Windows(8, 2, "flat", closed=True), Windows(roll=5), Windows(8, 2, roll=5)],
)
def test_a_denoiser_that_looks_at_single_frames_does_not_notice_windows_nor_a_loop(device, windows):
    x, scale = torch.randn(2, 3, 21, 4, 4), torch.rand(2, 1, 21, 1, 1)
    out = windowed(frame_local, windows, device, multiple=4)(x, SIGMA, scale=scale)
    torch.testing.assert_close(out, frame_local(x, SIGMA, scale), atol=1e-6, rtol=0)


def test_a_streamed_clip_equals_the_one_in_memory(tiny):
    context = tiny.text.encode(["a red balloon"])
    x, t = torch.randn(1, 3, 12, 8, 8), torch.tensor(0.5)

    def network(part, sigma, context):
        return tiny.network(part, sigma.expand(1), context)

    in_memory = windowed(network, Windows(8, 2))(x, t, context=context)
    streamed = windowed(network, Windows(8, 2), "cpu")(x, t, context=context)
    torch.testing.assert_close(streamed, in_memory, atol=1e-6, rtol=0)


def test_with_a_device_one_window_at_a_time_is_there_and_the_clip_stays():
    where = []

    def call(x, sigma, low_res, strength):
        where.append((x.device.type, sigma.device.type, low_res.device.type, strength))
        return torch.zeros(x.shape)

    clip = torch.zeros(1, 3, 10, 2, 2)
    assert windowed(call, Windows(4, 1), "meta")(clip, SIGMA, low_res=clip, strength=0.5).device.type == "cpu"
    assert where == [("meta", "meta", "meta", 0.5)] * 3


def test_what_has_the_time_axis_is_cut_and_nothing_else():
    seen = []

    def call(x, sigma, low_res, context):
        seen.append((x.shape[2], low_res.shape[2], context.shape))
        return x

    condition = {"low_res": torch.zeros(1, 3, 10, 2, 2), "context": torch.zeros(1, 10, 4)}
    done = []
    denoise = windowed(call, Windows(4, 1), each=lambda *progress: done.append(progress))
    denoise(torch.zeros(1, 3, 10, 8, 8), SIGMA, **condition)
    assert seen == [(4, 4, (1, 10, 4))] * 3
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_a_window_longer_than_the_clip_is_one_window():
    assert starts(5, 16, 15) == starts_around(5, 16, 15) == starts_around(16, 16, 15) == [0]
    ((frames, share),) = Windows(16, 15).parts(5)
    assert frames.tolist() == [0, 1, 2, 3, 4] and share.eq(1).all()


@pytest.mark.parametrize("frames", [2, 5, 16])
def test_a_window_that_goes_on_round_the_end_has_to_be_shorter_than_the_clip(frames):
    with pytest.raises(ValueError, match=f"clip has {frames} frames and the window 16"):
        Windows(16, 2, closed=True).parts(frames)
    assert len(Windows(16, 2, closed=True).parts(1)) == 1  # a picture has no end


@pytest.mark.parametrize(
    ("window", "overlap", "words"), [(0, 0, "window is 0"), (4, 4, "overlap is 4"), (4, -1, "-1")]
)
def test_windows_that_cannot_be_are_refused_with_the_number(window, overlap, words):
    for call in (Windows(window, overlap).parts, *(partial(f, window=window, overlap=overlap) for f in WAYS)):
        with pytest.raises(ValueError, match=words):
            call(20)


def test_weights_with_no_row_are_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="'round'.*triangle, flat"):
        Windows(8, 2, "round").parts(20)


def test_windows_round_the_end_leave_no_frame_at_a_border_alone():
    for frames, window, overlap in ((80, 16, 4), (33, 10, 3), (20, 8, 1)):
        places = starts_around(frames, window, overlap)
        gaps = [(b - a) % frames for a, b in zip(places, [*places[1:], places[0]], strict=True)]
        assert sum(gaps) == frames and max(gaps) <= window - overlap
    (last, _) = Windows(8, 2, closed=True).parts(20)[-1]
    assert 19 in last and 0 in last


def test_a_loop_begins_elsewhere_at_every_noise_level_and_a_sampler_may_ask_again():
    shifts = [shift_of(7, sigma, 80) for sigma in (955.0, 40.0, 3.2, 1.1, 0.4, 0.02)]
    assert len(set(shifts)) > 4 and shifts == [shift_of(7, s, 80) for s in (955.0, 40.0, 3.2, 1.1, 0.4, 0.02)]
    assert shifts != [shift_of(8, s, 80) for s in (955.0, 40.0, 3.2, 1.1, 0.4, 0.02)]


def test_a_rolled_clip_begins_where_its_seed_and_noise_level_say():
    seen, x = [], torch.arange(12.0).view(1, 1, 12, 1, 1)
    call = windowed(lambda part, sigma: seen.append(part.flatten().tolist()) or part, Windows(roll=4))
    levels = (30.0, 5.0, 2.0, 0.7)
    for level in levels:
        call(x, torch.tensor(level))
    begins = [shift_of(4, level, 12) for level in levels]
    assert len(set(begins)) > 2 and begins[2] not in (0, 6)  # or it would not show which way it is rolled
    assert seen == [[(begin + i) % 12 for i in range(12)] for begin in begins]
    begin = begins[2]
    ((frames, _),) = Windows(roll=4).parts(12, 2.0, multiple=8)
    assert frames.tolist() == [(begin + i) % 12 for i in range(16)]


def test_a_loop_of_any_length_is_filled_with_its_own_beginning():
    ((frames, share),) = Windows(roll=1).parts(10, 2.0, multiple=4)
    assert len(frames) == 12 and frames[10:].tolist() == frames[:2].tolist()
    assert share.tolist() == [1.0] * 10 + [0.0] * 2
    ((frames, _),) = Windows(roll=1).parts(12, 2.0, multiple=4)
    assert sorted(frames.tolist()) == list(range(12))


def test_a_network_that_knows_no_ends_makes_a_loop_that_does_not_depend_on_the_roll():
    def circular(x, sigma):
        return (x + x.roll(1, 2) + x.roll(-1, 2)) / sigma

    x = torch.randn(1, 3, 12, 4, 4)
    out = windowed(circular, Windows(roll=4))(x, SIGMA)
    torch.testing.assert_close(out, circular(x, SIGMA), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("frames", "window", "overlap"), [(20, 8, 2), (160, 80, 16), (23, 8, 3), (33, 10, 9)]
)
def test_every_window_holds_all_of_the_shared_noise_and_none_of_it_twice(frames, window, overlap):
    """Also where windows are spread evenly: 160 frames in windows of 80 that share 16 begin at 0, 40 and 80."""
    noise = torch.randn(1, 2, frames, 2, 2)
    shared = free_noise(noise, window, overlap)
    assert torch.equal(shared[:, :, :window], noise[:, :, :window]) and not torch.equal(shared, noise)
    draws = [tuple(shared[0, :, i].flatten().tolist()) for i in range(frames)]
    for start in starts(frames, window, overlap):
        assert set(draws[start : start + window]) == set(draws[:window]), start
    if window - overlap > 2:  # in another order, or the clip would repeat itself
        assert draws[window : 2 * window] != draws[:window][: frames - window]
    assert torch.equal(free_noise(noise, window, overlap), shared)


@pytest.mark.parametrize(("frames", "last"), [(1, 0.0), (20, 19 / 80), (80, 79 / 80), (160, 159 / 160)])
def test_frames_lie_a_sixteenth_of_a_second_apart_and_a_longer_clip_is_told_slower(frames, last):
    when = moments(frames, 80)
    assert when.shape == (1, 1, frames, 1, 1)
    torch.testing.assert_close(when.flatten(), torch.linspace(0, last, frames))


def test_a_loop_goes_there_and_back_over_the_middle_half():
    when = moments(80, 80, loop=True)
    assert when.shape == (1, 1, 80, 1, 1)
    quarters = [when[0, 0, i].item() for i in (0, 20, 40, 60)]
    assert quarters == pytest.approx([0.25, 0.5, 0.75, 0.5], abs=1e-6)
    torch.testing.assert_close(when.flatten()[1:], when.flatten()[1:].flip(0))  # back as it came, and closed


def test_windows_of_shared_noise_hold_the_first_ones_and_its_frames_share_theirs():
    noise, process = torch.randn(1, 3, 20, 64, 64), Process(DiffusionSpec(noise_share=0.9))
    shared = shared_free_noise(process, noise, 8, 2)
    torch.testing.assert_close(shared[:, :, :8], process.shared(noise[:, :, :8]))
    torch.testing.assert_close(shared, free_noise(shared, 8, 2))  # later frames are earlier ones
    together = torch.corrcoef(shared[0, :, :8].transpose(0, 1).flatten(1))[~torch.eye(8, dtype=torch.bool)]
    torch.testing.assert_close(together, torch.full((56,), 0.9), atol=0.03, rtol=0)


def test_a_clip_no_longer_than_its_window_keeps_its_noise():
    noise = torch.randn(1, 2, 23, 2, 2)
    assert torch.equal(free_noise(noise, 30, 2), noise) and torch.equal(free_noise(noise, 23, 2), noise)


def test_only_whole_clips_are_cut():
    frames = torch.tensor([3, 1])
    assert cut(torch.arange(10).view(1, 1, 10, 1, 1), frames, 10).flatten().tolist() == [3, 1]
    several = torch.arange(10).view(1, 1, 1, 10, 1, 1).expand(2, 3, 4, 10, 1, 1)
    assert cut(several, frames, 10)[1, 2, 3].flatten().tolist() == [3, 1]
    short, number = torch.zeros(1, 1, 9, 1, 1), 0.5
    assert cut(short, frames, 10) is short and cut(number, frames, 10) is number


def test_an_interrupt_comes_out_at_the_window_it_was_raised_in():
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    calls = []
    with pytest.raises(KeyboardInterrupt):
        fuse(
            lambda part, _: calls.append(1) or part,
            torch.zeros(1, 3, 40, 2, 2),
            Windows(8, 2).parts(40),
            stop,
        )
    assert len(calls) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_long_clip_takes_no_more_of_the_gpu_than_a_short_one():
    def peak(frames: int) -> int:
        torch.cuda.reset_peak_memory_stats()
        x = torch.randn(1, 3, frames, 64, 64)
        out = windowed(frame_local, Windows(8, 2), "cuda")(x, SIGMA, scale=torch.tensor(2.0))
        assert out.device.type == "cpu"
        torch.testing.assert_close(out, frame_local(x, SIGMA, 2.0), atol=1e-5, rtol=0)
        return torch.cuda.max_memory_allocated()

    assert peak(160) == peak(16)


def test_windows_are_made_when_their_turn_comes():
    """An overlap of 4095 in 8192 frames: 4097 windows of 4096 frames would take 200 MB and seconds at every step."""
    began = time.monotonic()
    parts = Windows(4096, 4095).parts(8192)
    frames, share = parts[4096]
    assert time.monotonic() - began < 1
    assert len(parts) == 4097 and torch.equal(frames, torch.arange(4096, 8192))
    assert share[-1] == 1 and 0 < share[0] < 0.001  # the last frame is in no other window


def pixel_local(x, where):
    return (x * 3).tanh() + x.square()


@pytest.mark.parametrize(("height", "width", "tile"), [(40, 75, 32), (32, 33, 32), (9, 50, 16), (8, 8, 64)])
def test_tiles_do_not_change_what_looks_at_single_pixels(height, width, tile):
    x, seen = torch.randn(2, 3, 4, height, width), []

    def call(part, area):
        rows, columns = area
        seen.append((len(rows), len(columns)))
        assert torch.equal(part, x[..., rows, :][..., columns])
        return pixel_local(part, area)

    torch.testing.assert_close(fuse_tiles(call, x, tile), pixel_local(x, None), atol=1e-5, rtol=0)
    assert set(seen) == {(min(tile, height), min(tile, width))}


def test_tiles_overlap_by_a_quarter_and_fall_towards_their_edges():
    rows, columns = tiles_of(128, 300, 128)
    assert len(rows) == 1 and torch.equal(rows[0][1], torch.ones(128))
    for (left, a), (right, b) in pairwise(columns):
        both = sorted(set(left.tolist()) & set(right.tolist()))
        assert len(both) >= 32
        assert a[-1] < b[len(both) - 1] and b[0] < a[-len(both)]
