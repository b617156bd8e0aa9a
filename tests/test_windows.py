"""Temporal MultiDiffusion: windows that cover a clip and are fused at every step."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.windows import fuse, shares, starts, triangle, windowed

SIGMA = torch.tensor(2.0)


@pytest.mark.parametrize("window", [1, 3, 8, 16])
def test_windows_cover_every_frame_and_the_last_ends_on_the_last_frame(window):
    for frames in range(1, 50):
        for overlap in range(window):
            places = starts(frames, window, overlap)
            ends = [s + min(window, frames) for s in places]
            assert places[0] == 0 and ends[-1] == frames
            assert all(e - s >= overlap for e, s in zip(ends, places[1:], strict=False))


def test_the_paper_s_overlap_of_2_is_mixed_two_thirds_to_one_third():
    (_, a), (s, b) = shares(14, 8, 2)
    assert s == 6
    torch.testing.assert_close(a[-2:], torch.tensor([2 / 3, 1 / 3]))
    torch.testing.assert_close(b[:2], torch.tensor([1 / 3, 2 / 3]))


def test_the_shares_of_a_frame_add_up_to_one():
    for frames, window, overlap in ((80, 16, 2), (9, 4, 3), (5, 8, 0), (33, 10, 9)):
        total = torch.zeros(frames)
        for s, share in shares(frames, window, overlap):
            total[s : s + len(share)] += share
        torch.testing.assert_close(total, torch.ones(frames))
    assert triangle(5).tolist() == [1, 2, 3, 2, 1]


def test_windows_that_agree_come_back_unchanged():
    target, x = torch.randn(1, 3, 23, 4, 4), torch.randn(1, 3, 23, 4, 4)
    out = fuse(lambda part, c: c["target"], x, {"target": target}, 8, 3)
    torch.testing.assert_close(out, target, atol=1e-6, rtol=0)


def frame_local(x, sigma, scale, **_):
    return (x * scale).tanh() / sigma


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_denoiser_that_looks_at_single_frames_does_not_notice_windows(device):
    x, scale = torch.randn(2, 3, 21, 4, 4), torch.rand(2, 1, 21, 1, 1)
    out = windowed(frame_local, 8, 2, device)(x, SIGMA, scale=scale)
    torch.testing.assert_close(out, frame_local(x, SIGMA, scale), atol=1e-6, rtol=0)


def test_a_streamed_clip_equals_the_one_in_memory(tiny):
    context = tiny.text.encode(["a red balloon"])
    x, t = torch.randn(1, 3, 12, 8, 8), torch.tensor(0.5)

    def network(part, sigma, context):
        return tiny.network(part, sigma.expand(1), context)

    in_memory = windowed(network, 8, 2)(x, t, context=context)
    streamed = windowed(network, 8, 2, "cpu")(x, t, context=context)
    torch.testing.assert_close(streamed, in_memory, atol=1e-6, rtol=0)


def test_what_has_the_time_axis_is_cut_and_nothing_else():
    seen = []

    def call(part, c):
        seen.append((part.shape[2], c["low_res"].shape[2], c["context"].shape))
        return part

    condition = {"low_res": torch.zeros(1, 3, 10, 2, 2), "context": torch.zeros(1, 10, 4)}
    done = []
    fuse(call, torch.zeros(1, 3, 10, 8, 8), condition, 4, 1, lambda *progress: done.append(progress))
    assert seen == [(4, 4, (1, 10, 4))] * 3
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_a_window_longer_than_the_clip_is_one_window():
    assert starts(5, 16, 15) == [0]
    assert len(shares(5, 16, 2)) == 1


@pytest.mark.parametrize(("window", "overlap", "words"), [(0, 0, "window is 0"), (4, 4, "overlap is 4"), (4, -1, "-1")])
def test_windows_that_cannot_be_are_refused_with_the_number(window, overlap, words):
    with pytest.raises(ValueError, match=words):
        shares(20, window, overlap)


def test_an_interrupt_comes_out_at_the_window_it_was_raised_in():
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    calls = []
    with pytest.raises(KeyboardInterrupt):
        fuse(lambda part, c: calls.append(1) or part, torch.zeros(1, 3, 40, 2, 2), {}, 8, 2, stop)
    assert len(calls) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_long_clip_takes_no_more_of_the_gpu_than_a_short_one():
    def peak(frames: int) -> int:
        torch.cuda.reset_peak_memory_stats()
        x = torch.randn(1, 3, frames, 64, 64)
        out = windowed(frame_local, 8, 2, "cuda")(x, SIGMA, scale=torch.tensor(2.0))
        assert out.device.type == "cpu"
        torch.testing.assert_close(out, frame_local(x, SIGMA, 2.0), atol=1e-5, rtol=0)
        return torch.cuda.max_memory_allocated()

    assert peak(160) == peak(16)
