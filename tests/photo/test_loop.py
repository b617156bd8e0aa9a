"""Loops: the frame after the last is the first, and nobody sees where it closes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.media.frames import TensorFrames, gathered
from lumiere_core.photo.loops import loop as loops
from lumiere_core.photo.loops import shots, ways
from lumiere_core.photo.loops.loop import loop_pad, loop_unpad
from lumiere_core.photo.loops.ways import LOOPS


def make_loop(clip: torch.Tensor, how: str = "cut", **settings) -> torch.Tensor:
    return gathered(ways.make_loop(TensorFrames(clip), how, **settings))


def cut_loop(clip: torch.Tensor, min_frames: int = 8, max_frames: int = 0) -> torch.Tensor:
    return make_loop(clip, "cut", min_frames=min_frames, max_frames=max_frames)


def dissolve_loop(clip: torch.Tensor, overlap: int = 8) -> torch.Tensor:
    return make_loop(clip, "dissolve", overlap=overlap)


def ping_pong_loop(clip: torch.Tensor) -> torch.Tensor:
    return make_loop(clip, "ping-pong")


def best_cut(clip: torch.Tensor, *given: int) -> tuple[int, int]:
    plan = loops.best_cut(shots.looked_at(TensorFrames(clip)), *given)
    return plan.start, plan.stop


def scene_cuts(clip: torch.Tensor) -> list[int]:
    return shots.scene_cuts(shots.looked_at(TensorFrames(clip)))


def swing(frames: int, period: float, size: int = 48) -> torch.Tensor:
    """A soft ball that goes to and fro, `(T, size, size, 3)`."""
    x = torch.arange(size, dtype=torch.float32)
    centre = size / 2 + size / 4 * torch.sin(2 * torch.pi * torch.arange(frames) / period)
    ball = torch.exp(
        -((x[None, None] - centre[:, None, None]) ** 2 + (x[None, :, None] - size / 2) ** 2) / 30
    )
    return ball[..., None].expand(-1, -1, -1, 3).contiguous()


def steps(clip: torch.Tensor) -> torch.Tensor:
    """Mean differences of neighbours, the last one from the end to the beginning."""
    return (clip - clip.roll(-1, 0)).abs().mean(dim=(1, 2, 3))


def test_the_best_cut_finds_the_period():
    start, stop = best_cut(swing(40, 16), 10, 20)
    assert stop - start == 16


def test_the_best_cut_heeds_the_direction_and_not_only_the_place():
    # Half a period on, the ball is in the same place and goes the other way.
    start, stop = best_cut(swing(40, 24), 6, 26)
    assert stop - start == 24


def test_of_cuts_as_good_the_longest_is_taken():
    assert best_cut(swing(40, 12))[1] - best_cut(swing(40, 12))[0] == 36


def test_the_best_cut_is_as_good_as_any_of_its_length():
    """Against all numbers of all frames, which the search looks at for a few cuts only."""
    r = np.random.default_rng(4)
    looks = [frame.numpy() + 0.02 * r.standard_normal((48, 48, 3), np.float32) for frame in swing(150, 18.4)]
    looks = [look + np.float32(1e-3 * t) for t, look in enumerate(looks)]  # it drifts, so early is not late

    def apart(start: int, length: int) -> float:
        near = [k for k in range(-2, 3) if 0 <= start + k and start + length + k < 150]
        far = [float(np.square(looks[start + length + k] - looks[start + k]).sum()) for k in near]
        return float(np.average(far, weights=[(6, 4, 1)[abs(k)] for k in near]))

    plan = loops.best_cut(looks, 20, 60, cuts=[])
    costs = {(s, n): apart(s, n) for n in range(20, 61) for s in range(150 - n)}
    least = min(costs.values())
    longest = max(n for (_, n), cost in costs.items() if cost <= 1.05 * least)
    assert plan.count == longest
    assert costs[plan.start, plan.count] <= 1.01 * min(cost for (_, n), cost in costs.items() if n == longest)


def test_a_cut_loop_closes_like_any_other_step():
    loop = cut_loop(swing(50, 18.4), 12, 40)
    assert steps(loop)[-1] < 1.25 * steps(loop)[:-1].max()
    assert steps(swing(50, 18.4)[:27])[-1] > 1.25 * steps(loop)[:-1].max()  # a cut elsewhere would be seen


def test_ping_pong_shows_no_end_twice():
    clip = swing(6, 24)
    loop = ping_pong_loop(clip)
    assert len(loop) == 10
    assert torch.equal(loop[6], clip[4]) and torch.equal(loop[-1], clip[1])


def test_a_dissolved_loop_closes_and_shows_nothing_twice():
    clip = swing(26, 80)  # ends far from where it began
    loop = dissolve_loop(clip, 10)
    assert len(loop) == 16
    assert torch.equal(loop[10:], clip[10:16])
    # A cross-fade would show two balls of half the brightness.
    faded = (clip[16:26] + clip[:10])[5] / 2
    assert loop[:10].amax(dim=(1, 2, 3)).min() > 0.9 > faded.max() + 0.1
    assert steps(loop)[-1] < 2 * steps(loop)[:-1].max()


def test_a_clip_played_backwards_dissolves_into_the_same_loop_backwards():
    clip = swing(14, 60)
    forwards, backwards = dissolve_loop(clip, 4), dissolve_loop(clip.flip(0), 4)
    torch.testing.assert_close(backwards[:4].flip(0), forwards[:4], atol=1e-3, rtol=0)


def test_a_still_clip_dissolves_into_itself():
    still = torch.from_numpy(
        cv2.GaussianBlur(np.random.default_rng(0).random((40, 40, 3), np.float32), (0, 0), 2)
    )
    torch.testing.assert_close(dissolve_loop(still.repeat(8, 1, 1, 1), 3), still.repeat(5, 1, 1, 1))


@pytest.mark.parametrize("k", [1, 3, 7])
def test_padding_goes_round_and_comes_off_again(k):
    clip = torch.rand(5, 4, 4, 3)
    padded = loop_pad(clip, k)
    assert torch.equal(padded[k - 1], clip[-1]) and torch.equal(padded[k + 5], clip[0])
    assert torch.equal(loop_unpad(padded, k), clip)


@pytest.mark.parametrize("last", [True, False])
def test_padding_comes_off_after_an_interpolator_and_an_upscaler(last):
    clip = torch.arange(6.0).view(6, 1, 1, 1).expand(-1, 4, 4, 3)
    padded = loop_pad(clip, 2).repeat_interleave(3, 0)
    padded = padded if last else padded[:-2]  # some give N * 3 frames, some (N - 1) * 3 + 1
    out = loop_unpad(padded.repeat(1, 2, 2, 1), 2, 3)
    assert out.shape == (18, 8, 8, 3)
    assert torch.equal(out[::3, :4, :4], clip)


@pytest.mark.parametrize("how", LOOPS)
def test_every_way_has_a_name_and_leaves_its_input_alone(how):
    clip = swing(20, 10)
    before = clip.clone()
    assert make_loop(clip, how).shape[1:] == clip.shape[1:]
    assert torch.equal(clip, before)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda clip: make_loop(clip, "magic"),
            "loop is 'magic', but it has to be one of auto, per pixel, cut",
        ),
        (
            lambda clip: cut_loop(clip, 30),
            "min_frames is 30, but a loop cut from 10 frames has from 2 to 9. Try 5",
        ),
        (lambda clip: cut_loop(clip, 6, 4), "max_frames is 4, which lies below min_frames 6"),
        (lambda clip: cut_loop(clip[:2]), "number of frames is 2, but a loop is cut from 3"),
        (lambda clip: dissolve_loop(clip, 6), "overlap is 6 frames, but it has to be from 1 to 5"),
        (lambda clip: ping_pong_loop(clip[:1]), "the clip has 1 frame"),
        (lambda clip: loop_pad(clip, 0), "padding is 0"),
        (lambda clip: loop_unpad(clip, 5), "10 frames cannot come from"),
        (lambda clip: loop_unpad(clip, 1, 4), "10 frames cannot come from"),
        (lambda clip: loop_unpad(clip, 0), "padding is 0 and factor 1"),
        (lambda clip: loop_unpad(clip, 1, 0), "padding is 1 and factor 0"),
    ],
)
def test_loops_that_cannot_be_are_refused_with_the_numbers(call, words):
    with pytest.raises(ValueError, match=words):
        call(swing(10, 10))


def scene(seed: int, size: int = 96) -> np.ndarray:
    """A picture with detail of several sizes and colours of its own, `(size, size, 3)`."""
    r = np.random.default_rng(seed)
    layers = [
        cv2.GaussianBlur(r.standard_normal((size, size, 3)).astype(np.float32), (0, 0), s) * s
        for s in (1, 4, 12)
    ]
    return (r.uniform(0.3, 0.6, 3) + 0.2 * sum(layers)).clip(0, 1).astype(np.float32)


def walk(seed: int, frames: int, step: float = 1.0) -> torch.Tensor:
    """A camera that moves along a scene, so many pixels a frame, `(T, 64, 64, 3)`."""
    wide = scene(seed, 64 + 2 + int(step * frames))
    return torch.from_numpy(
        np.stack([wide[:64, round(step * t) : round(step * t) + 64] for t in range(frames)])
    )


@pytest.mark.parametrize("cuts", [[], [31], [12, 31], [1], [39]])
def test_cuts_between_scenes_are_found(cuts):
    ends = [0, *cuts, 40]
    clip = torch.cat([walk(5 + i, b - a) for i, (a, b) in enumerate(zip(ends, ends[1:], strict=False))])
    assert scene_cuts(clip) == cuts


def test_a_flickering_candle_is_no_cut():
    night = torch.from_numpy(scene(1)) * 0.15
    flame = torch.exp(-((torch.arange(96)[:, None] - 40) ** 2 / 300 + (torch.arange(96) - 48) ** 2 / 60))[
        ..., None
    ]
    light = torch.rand(40, generator=torch.Generator().manual_seed(2)).view(-1, 1, 1, 1)
    assert scene_cuts((night * (0.3 + 2 * light) + flame * (0.2 + 0.8 * light)).clamp(0, 1)) == []


def test_a_flash_is_no_cut():
    clip = walk(2, 20)
    clip[9] = 1
    assert scene_cuts(clip) == []


@pytest.mark.parametrize("step", [6, 12])
def test_a_fast_pan_is_no_cut(step):
    """Up to a fifth of the picture from frame to frame, after a camera at rest."""
    pan = walk(3, 20, step)
    assert scene_cuts(torch.cat([pan[:1].repeat(10, 1, 1, 1), pan, pan[-1:].repeat(10, 1, 1, 1)])) == []


def test_a_hard_shake_is_no_cut():
    wide, r = scene(4), np.random.default_rng(0)
    places = r.integers(0, 14, (40, 2)) * (np.arange(40) > 20)[:, None]  # it begins all of a sudden
    assert scene_cuts(torch.from_numpy(np.stack([wide[y : y + 64, x : x + 64] for y, x in places]))) == []


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_grey_and_noise_have_no_cuts(value):
    assert scene_cuts(torch.full((12, 20, 30, 3), value)) == []
    assert scene_cuts(torch.rand(12, 20, 30, 3)) == []
    assert scene_cuts(torch.rand(1, 20, 30, 3)) == []


def test_a_loop_is_cut_from_one_scene():
    clip = torch.cat([swing(20, 9) * 0.5, torch.from_numpy(scene(6, 48)) * 0.6 + swing(40, 13) * 0.4]).clamp(
        0, 1
    )
    assert scene_cuts(clip) == [20]
    start, stop = best_cut(clip, 8)
    assert start >= 20 and (stop - start) % 13 == 0


def test_a_scene_too_short_and_a_dissolve_across_a_cut_are_refused():
    clip = torch.cat([walk(5, 31), walk(6, 20)])
    with pytest.raises(
        ValueError, match="a cut at frame 31, and the longest part without one has 31 .* loop of 40"
    ):
        cut_loop(clip, 40)
    with pytest.raises(
        ValueError, match="a cut at frame 31, .* the 31 frames before it or the 20 from it on"
    ):
        dissolve_loop(clip)


def test_a_grey_clip_is_refused():
    with pytest.raises(ValueError, match=r"\(20, 48, 48, 1\), but it has to be \(T, H, W, 3\)"):
        cut_loop(swing(20, 10)[..., :1])


@pytest.mark.parametrize("how", ["cut", "dissolve"])
def test_a_cancel_is_heard_at_the_next_frame(how):
    class Stopped(Exception):
        pass

    def stop(done: int, total: int, what: str) -> None:
        assert (done, total, what) <= (3, 20, "looking")
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        ways.make_loop(TensorFrames(swing(20, 10)), how, stop)


class Passes:
    """A clip that counts how often it is gone through; `count` may be unknown."""

    height, width, fps = 48, 48, 16.0

    def __init__(self, clip: torch.Tensor, count: int | None = None) -> None:
        self.clip, self.count, self.begun = clip, count, 0

    def __iter__(self):
        self.begun += 1
        yield from self.clip.numpy()


@pytest.mark.parametrize(
    ("how", "settings"), [("cut", {"min_frames": 30}), ("dissolve", {"overlap": 9}), ("ping-pong", {})]
)
def test_a_clip_too_short_for_its_loop_is_refused_before_it_is_looked_at(how, settings):
    clip = Passes(swing(1 if how == "ping-pong" else 12, 6), 1 if how == "ping-pong" else 12)
    with pytest.raises(ValueError, match="1 frame|12 frames|from 1 to 6"):
        ways.make_loop(clip, how, **settings)
    assert not clip.begun


def test_a_clip_of_unknown_length_is_counted_and_that_is_told():
    told = []
    made = ways.make_loop(Passes(swing(5, 6)), "ping-pong", lambda *step: told.append(step))
    assert made.count == 8 and len(list(made)) == 8
    assert [(done, what) for done, _, what in told] == [(i, "counting") for i in range(1, 6)]


@pytest.mark.parametrize("held", [1, 2, 3, 7, 100])
def test_backwards_is_the_same_however_few_frames_are_held(monkeypatch, held):
    """Bit for bit, and in as many passes as it takes to hold no more."""
    monkeypatch.setattr(loops, "HELD", held * 3 * 48 * 48)
    clip = Passes(swing(9, 7), 9)
    made = list(ways.make_loop(clip, "ping-pong"))
    assert np.array_equal(np.stack(made), clip.clip[[*range(9), *range(7, 0, -1)]].numpy())
    assert clip.begun == 1 + -(-7 // held)
