"""Loops per pixel and the choice of a way, on drawn clips whose answer is known: what real footage does to a loop."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import torch

from benchmarks import scenes
from lumiere_core.media.frames import Rendered, TensorFrames, gathered
from lumiere_core.media.measure import loop_seam_score, never_seen, seam_picture, worst_step
from lumiere_core.photo.cinemagraph import cinemagraph_from_clip
from lumiere_core.photo.loops import pixelwise, ways
from lumiere_core.photo.loops.borders import torn
from lumiere_core.photo.loops.loop import LoopPlan
from lumiere_core.photo.loops.periods import PixelLoop, pixel_loops, shown_at
from lumiere_core.photo.loops.pixelwise import pixels_looped

HEIGHT, WIDTH, FRAMES = 96, 160, 72


@functools.cache
def filmed(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A scene as an artist has it, in the 8 bits of a file: `(T, H, W, 3)`, and the mask."""
    clip, mask = scenes.SCENES[name](HEIGHT, WIDTH, FRAMES)
    return torch.from_numpy(np.rint(clip * 255).astype(np.float32) / 255), torch.from_numpy(mask)


@functools.cache
def made(name: str, loop: str, motion: float = 1.0, length: int = 0) -> tuple[torch.Tensor, str]:
    """The scene's cinemagraph from a tripod, and what it says."""
    clip, mask = filmed(name)
    settings = {"loop": loop, "motion": motion, "length": length}
    out = cinemagraph_from_clip(TensorFrames(clip), mask, stabilise=False, drift=False, **settings)
    return gathered(out), out.said


def score(clip: torch.Tensor) -> float:
    return loop_seam_score(clip.permute(3, 0, 1, 2))


def join(said: str) -> float:
    return float(re.search(r"join ([\d.]+)x", said)[1])


@pytest.mark.parametrize("name", ["noise", "passer-by", "fence and cars", "water"])
def test_outside_the_mask_it_is_the_still_and_the_join_is_clean(name):
    (clip, mask), (out, said) = filmed(name), made(name, "auto")
    assert torch.equal(out[:, mask == 0], clip[0, mask == 0].expand(len(out), -1, -1))
    assert score(out) < 1.25 and f"; loop: {len(out)} frames, " in said
    assert join(said) <= max(1.2, join(made(name, "crossfade")[1]))


@pytest.mark.parametrize("name", ["noise", "passer-by"])
@pytest.mark.parametrize("loop", ["auto", "per pixel"])
def test_a_true_period_is_kept(name, loop):
    out, _ = made(name, loop)
    assert len(out) % scenes.PERIOD == 0
    steps = (out - out.roll(-scenes.PERIOD, 0)).abs().mean(dim=(1, 2, 3))
    noise = 0.02 if name == "noise" else 0
    assert steps.max() < 2.5 * noise / 2 + 0.002 or loop == "auto"


def test_who_passes_by_is_not_in_the_loop():
    """The walker is the only thing that dark; he stands in a third of the clip's frames and in none of the loop's."""
    (clip, mask), (out, _) = filmed("passer-by"), made("passer-by", "per pixel")

    def walkers(frames: torch.Tensor) -> torch.Tensor:
        return ((frames - torch.tensor([0.10, 0.13, 0.22])).abs().amax(-1) < 0.02)[:, mask > 0].sum(1)

    assert (walkers(clip) > 20).sum() >= 6
    assert walkers(out).max() == walkers(clip[50:]).max()
    assert out.std(0)[mask > 0].max() > 0.1  # the ball goes round


def test_the_pole_stands_while_cars_pass_behind_it():
    clip, _ = filmed("fence and cars")
    pole = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    pole[40:88, 87:89] = True

    def away(out: torch.Tensor) -> float:
        return float((out - clip.median(0).values)[:, pole].abs().amax())

    assert away(made("fence and cars", "per pixel")[0]) < 0.06  # the noise of the clip
    # 2.1 where ghosts cost nothing: a car fades where it stands, over a road that is empty
    assert join(made("fence and cars", "auto")[1]) < 1.8 < 2 < join(made("fence and cars", "dissolve")[1])


@pytest.mark.parametrize("name", ["grass", "walker and bricks"])
def test_nothing_is_cut_in_two_where_loops_meet(name):
    clip, mask = filmed(name)
    small = ways.small_clip(iter(clip.numpy()), FRAMES, 16.0, mask.numpy())
    assert (
        ways.per_pixel(small, None).pixels.torn < 3
    )  # 3.1 and 11 where borders cost what they tear on average


@pytest.fixture(scope="module")
def gusts() -> ways.SmallClip:
    """A flag that hangs and flies, as loops are looked for in it."""
    clip, mask = filmed("flag in gusts")
    box = np.s_[4:76, 40:124]
    still = clip[0].numpy()[box]
    return ways.small_clip((frame.numpy()[box] for frame in clip), FRAMES, 16.0, mask.numpy()[box], still)


def test_dearer_borders_tear_a_flag_less(gusts):
    some = gusts.frames.astype(np.float32) / 255
    loops = list(pixel_loops(some, 46, 8, gusts.wanted, gusts.still))
    tears = [loop.torn for loop in loops]
    assert len(loops) == 3 and tears == sorted(tears, reverse=True) and tears[-1] < 0.3 * tears[0]
    joins = [ways.weighed(LoopPlan(0, FRAMES, pixels=loop), "per pixel", gusts).join for loop in loops]
    assert ways.per_pixel(gusts, None, 46).join == min(joins)


def test_a_loop_that_shows_what_never_was_is_said_to():
    """A ball that goes round in every other square, and stands still in those between."""
    clip, _ = filmed("noise")
    small = ways.small_clip(iter(clip.numpy()), FRAMES, 16.0)
    rows, columns = np.indices(small.frames.shape[1:3]) // 6
    squares = ((rows + columns) % 2).astype(np.uint8)
    kinds = ((18, 10, 0), (1, 15, 0))
    whole, mixed = (PixelLoop(18, FRAMES, kinds, cells) for cells in (0 * squares, squares))
    joins = [
        ways.weighed(LoopPlan(0, FRAMES, pixels=loop), "per pixel", small).join for loop in (whole, mixed)
    ]
    assert joins[0] < 1.2 < 1.5 < joins[1]


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("walker and bricks", True),
        ("fence and cars", True),
        ("smoke", True),
        ("grass", False),
        ("stars", False),
    ],
)
def test_what_passes_by_is_told_from_what_sways(name, passes):
    clip, mask = filmed(name)
    small = ways.small_clip(iter(clip.numpy()), FRAMES, 16.0, mask.numpy())
    assert ways.travels(small) == passes
    turned = ways.weighed(ways.ping_pong(FRAMES, None), "ping-pong", small)
    assert ("what passes here goes backwards" in turned.said) == passes
    assert turned.join >= 2.5 or not passes  # auto takes a still before it


def test_a_border_that_cuts_through_what_passes_is_torn():
    between = np.full((40, 60, 2, 2), 100.0, np.float32) * (1 - np.eye(2, dtype=np.float32))
    halves = np.repeat(np.arange(60)[None] >= 30, 40, 0).astype(int)
    free = np.ones((40, 60), bool)
    assert torn(halves, between, free) == pytest.approx(10)
    assert torn(halves, between / 100, free) == pytest.approx(1)
    assert torn(halves, between, halves > 0) == 0  # the artist's own border
    assert torn(halves * 0, between, free) == 0


@pytest.mark.parametrize("name", ["water", "smoke"])
def test_what_never_repeats_moves_on_as_sharp_as_it_was(name):
    (clip, mask), (out, said) = filmed(name), made(name, "per pixel")

    def sharp(frames: torch.Tensor) -> torch.Tensor:
        return (frames[:, 1:] - frames[:, :-1]).abs()[:, mask[1:] > 0].mean(dim=(1, 2))

    assert (sharp(out) / sharp(clip).mean() - 1).abs().max() < 0.25
    assert (out.std(0) / clip.std(0))[mask > 0].amax() > 0.8
    assert join(said) < join(made(name, "dissolve")[1])


def test_where_nothing_can_loop_it_stands_still_and_says_so():
    still = torch.from_numpy(scenes.wall(HEIGHT, WIDTH))
    # Every pixel changes once and for all, at its own time: a tide that comes in.
    level = torch.linspace(0, 1, WIDTH)[None, :, None]
    clip = torch.stack([torch.where(level < t / 47, 1 - still, still) for t in range(48)])
    out = cinemagraph_from_clip(
        TensorFrames(clip), torch.ones(HEIGHT, WIDTH), loop="per pixel", stabilise=False, drift=False
    )
    frames = gathered(out)
    assert (frames - frames[0]).abs().max() < 1e-6
    assert "nothing here loops: a still" in out.said


def test_less_motion_is_fewer_loops_and_never_a_smear():
    clip, _ = filmed("grass")
    moving = []
    for motion in (1.0, 0.5, 0.2, 0.0):
        out, _ = made("grass", "per pixel", motion)
        moving.append(float(out.std(0).mean()))
        contrast = (out[:, :, 1:] - out[:, :, :-1]).abs()[:, 60:].mean(dim=(1, 2, 3))
        assert contrast.min() > 0.9 * (clip[:, 60:, 1:] - clip[:, 60:, :-1]).abs().mean(), (
            "nothing is smeared"
        )
    assert moving[0] > 1.2 * moving[1] > 1.2 * moving[2] > 0 and moving[3] == 0


def test_a_grey_half_of_the_mask_is_calmer():
    clip, mask = filmed("water")
    mask = mask.clone()
    mask[:, : WIDTH // 2] *= 0.2
    out = gathered(
        cinemagraph_from_clip(TensorFrames(clip), mask, loop="per pixel", stabilise=False, drift=False)
    )
    left, right = out.std(0)[60:, : WIDTH // 2 - 12].mean(), out.std(0)[60:, WIDTH // 2 + 12 :].mean()
    assert left < 0.6 * right


@pytest.mark.parametrize("length", [36, 54])
@pytest.mark.parametrize("how", ["per pixel", "cut", "crossfade", "dissolve", "auto"])
def test_a_loop_is_as_long_as_is_wanted(how, length):
    assert len(made("noise", how, length=length)[0]) == length


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("0", 0),
        ("", 0),
        ("48", 48),
        (48, 48),
        ("3 s", 48),
        ("1.5s", 24),
        ("20 frames", 20),
        ("2 seconds", 32),
        ("0.01 s", 1),
        ("0 s", 0),
    ],
)
def test_a_length_is_frames_or_seconds(text, frames):
    assert ways.loop_length(text, 16) == frames


@pytest.mark.parametrize("text", ["-3", "long", "3 m", "1.5", "nan", "1e9", "\u0663"])
def test_another_length_is_refused(text):
    with pytest.raises(ValueError, match="length is .*, but it has to be frames, such as 48, or seconds"):
        ways.loop_length(text, 16)


@pytest.mark.parametrize(
    ("how", "frames", "settings", "words"),
    [
        ("per pixel", 2, {}, "the clip has 2 frames, but a loop takes at least 3"),
        ("auto", 1, {}, "the clip has 1 frame, but a loop takes at least 2"),
        ("per pixel", 20, {"length": 1}, "length is 1 frame, but a loop has at least 2"),
        ("per pixel", 20, {"length": 23}, "length is 23 frames, but no period from 6 to 19 .* Try 22"),
        ("cut", 20, {"length": 20}, "length is 20 frames, but a loop cut from 20 frames has from 2 to 19"),
        ("crossfade", 20, {"length": 15}, "length is 15 frames, .* has from 8 to 12. Try 8?"),
        ("auto", 20, {"length": 997}, "there is no loop of 997 frames in a clip of 20. Try 0"),
    ],
)
def test_loops_that_cannot_be_are_refused(how, frames, settings, words):
    clip = filmed("noise")[0][:frames]
    with pytest.raises(ValueError, match=words):
        ways.make_loop(TensorFrames(clip), how, **settings)


def test_two_frames_are_a_loop_of_two():
    out = ways.make_loop(TensorFrames(filmed("noise")[0][:2]))
    assert out.count == 2 and "ping-pong" in out.said


def test_a_pixel_shows_its_period_from_its_start_on():
    kind = (5, 3, 0)
    assert [shown_at(kind, t, 20)[0][0] for t in range(10)] == [5, 6, 7, 3, 4, 5, 6, 7, 3, 4]
    assert all(weight == 1 for t in range(10) for _, weight in shown_at(kind, t, 20))


@pytest.mark.parametrize(("start", "late"), [(0, 2), (3, 2), (8, 2), (14, 0)])
def test_a_fade_leads_from_before_the_start_to_after_the_end(start, late):
    shares = []
    for t in range(start, start + 6):
        parts = shown_at((6, start, 2), t, 20)
        assert sum(weight for _, weight in parts) == pytest.approx(1)
        assert all(0 <= frame < 20 for frame, _ in parts)
        shares.append(sum(weight for frame, weight in parts if frame >= start + 6))  # of what follows the end
    assert shares == sorted(shares, reverse=True) and sum(share > 0 for share in shares) == late


def test_where_four_kinds_meet_somebody_is_seen():
    clip = TensorFrames(torch.ones(4, 3, 3, 3))
    loop = PixelLoop(2, 4, tuple((1, k, 0) for k in range(4)), np.arange(4, dtype=np.uint8).reshape(2, 2))
    for frame in pixels_looped(clip, loop, lambda i, frame: frame, None):
        np.testing.assert_allclose(frame, 1, atol=1e-5)


def test_a_small_budget_makes_the_same_frames_in_more_passes(monkeypatch):
    clip = TensorFrames(torch.rand(12, 9, 14, 3))
    kinds = ((0, 0, 0), (6, 2, 2), (3, 4, 1), (1, 5, 0))
    loop = PixelLoop(6, 12, kinds, np.random.default_rng(0).integers(0, 4, (3, 5)).astype(np.uint8))
    still, passes = np.random.default_rng(1).random((9, 14, 3), np.float32), []

    def render(done=None):
        return np.stack(list(pixels_looped(clip, loop, lambda i, frame: frame, still, done)))

    whole = render()
    monkeypatch.setattr(pixelwise, "MADE", 2 * 12 * 9 * 14)
    parts = render(lambda done, total, what: passes.append((done, what)))
    assert np.array_equal(whole, parts) and [done for done, _ in passes].count(1) == 3
    corner = clip.clip[shown_at(kinds[loop.cells[0, 0]], 0, 12)[0][0], 0, 0].numpy()
    assert loop.cells[0, 0] == 0 or np.array_equal(whole[0, 0, 0], corner)


def test_a_cancel_is_heard_while_loops_are_looked_for():
    class Stopped(Exception):
        pass

    said = []

    def stop(done: int, total: int, what: str) -> None:
        said.append(what)
        if what == "fitting loops together":
            raise Stopped

    with pytest.raises(Stopped):
        ways.make_loop(TensorFrames(filmed("noise")[0][:24]), "per pixel", stop)
    assert {"looking", "comparing", "measuring periods", "measuring loops"} <= set(said)


@pytest.mark.parametrize("name", ["fence and cars", "water", "smoke", "head in a car", "walker and bricks"])
def test_the_judge_sees_what_a_dissolve_breaks(name):
    clip, _ = filmed(name)
    broken = gathered(ways.make_loop(TensorFrames(clip[:62]), "dissolve", overlap=8))
    assert score(broken) > 2


def test_a_flag_that_shows_twice_is_seen_where_somebody_hides_the_step():
    """He passes the flag, so a large step is usual there; two flags on one another are not."""
    clip, mask = filmed("walker and flag")
    frames = ways.small_clip(iter(clip.numpy()), FRAMES, 16.0, mask.numpy()).frames
    frames = torch.from_numpy(frames[:, 4:40, 96:]).float() / 255  # flag and wall
    double, single = (frames[20:28] + frames[29:37]) / 2, frames[20:28]
    assert never_seen(double, frames) > 1.5
    assert never_seen(single, frames) == 1


def test_a_van_half_seen_over_somebody_who_stands_is_told():
    """It rushes by in a third of the frames, all of them unlike; what it is laid over stood still."""
    rng = np.random.default_rng(0)
    still, van = rng.random((48, 80, 3)), rng.random((48, 400, 3))
    clip = np.stack([van[:, 12 * (t - 20) :][:, :80] if 20 <= t < 40 else still for t in range(60)])
    clip = torch.from_numpy(clip + rng.normal(0, 0.005, clip.shape)).float()
    mixed = (2 * clip[10:12] + clip[30:32]) / 3
    assert never_seen(mixed, clip) > 3  # 1.0 against what is usual over the clip
    assert never_seen(clip[30:32], clip) == 1


def test_auto_rather_stands_still_than_shows_a_walker_twice_or_backwards():
    (out, said), (faded, _) = made("walker and bricks", "auto"), made("walker and bricks", "crossfade")
    assert score(out) < 1.3 < 2 < score(faded)
    assert "backwards" not in said


@pytest.mark.parametrize("frames", [18, 36, 54])
def test_the_judge_passes_a_true_period(frames):
    assert score(filmed("noise")[0][5 : 5 + frames]) < 1.2


def test_the_judge_shows_where():
    still = torch.from_numpy(scenes.wall(64, 96)).expand(20, -1, -1, -1)
    clip = (still + 0.01 * torch.randn(still.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    # One place in a hundred grows brighter step by step, and falls back at the join.
    clip[:, 30:36, 60:66] = 0.3 + 0.5 * torch.arange(20.0).view(20, 1, 1, 1) / 19
    from lumiere_core.media.measure import block_steps, loop_seam

    worst, where = loop_seam(clip.permute(3, 0, 1, 2))
    steps = block_steps(clip)
    assert steps.shape[0] == 20 and steps.sqrt().mean() < 0.02  # the mean of the frame passes it
    assert worst > 4
    picture = seam_picture(clip[0], where)
    red = (picture[..., 0] - picture[..., 1] > 0.5).nonzero()
    assert len(red) and red[:, 0].min() >= 24 and red[:, 0].max() < 40
    assert red[:, 1].min() >= 54 and red[:, 1].max() < 72


def test_a_step_like_any_other_scores_one():
    steps = torch.rand(40, 8, 12, generator=torch.Generator().manual_seed(0)) * 0.01 + 0.01
    assert worst_step(steps[:1], steps[1:])[0] == pytest.approx(1, abs=0.15)
    assert worst_step(9 * steps[:1], steps[1:])[0] == pytest.approx(3, abs=0.4)


def test_a_clip_of_many_frames_is_judged_smaller():
    parts = (np.zeros((90, 160, 3), np.uint8) for _ in range(40))
    assert ways.small_clip(parts, 40, 16).frames.shape[1:3] == (90, 160)
    parts = (np.zeros((90, 160, 3), np.uint8) for _ in range(40))
    assert ways.small_clip(parts, 12_000, 16).frames[0].size * 12_000 < 1.05 * ways.SMALL


def test_a_frame_count_that_a_file_does_not_say_is_counted():
    clip = filmed("noise")[0][:20].numpy()
    unknown = Rendered(None, HEIGHT, WIDTH, 16.0, lambda: iter(clip))
    assert ways.make_loop(unknown, "cut", length=18).count == 18
    assert ways.make_loop(unknown, "ping-pong").count == 38
