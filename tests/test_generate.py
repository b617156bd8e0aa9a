"""A prompt becomes a clip, a clip becomes a larger one."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.config import replace
from lumiere_core.diffusion.condition import Condition
from lumiere_core.diffusion.joining import GUIDED_ABOVE
from lumiere_core.diffusion.process import augmented, initial_noise
from lumiere_core.generate import Settings, resolved, text_to_video, upscale
from lumiere_core.model.checkpoint import Lumiere

SMALL = {"width": 8, "height": 8, "steps": 2}


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_any_number_of_frames_runs(tiny, frames):
    clip = text_to_video(tiny, "a red balloon", settings=Settings(num_frames=frames, **SMALL))
    assert clip.shape == (1, 3, frames, 8, 8)
    assert clip.isfinite().all() and clip.std() > 0.01


def test_the_same_seed_gives_the_same_frames_and_another_other_ones(tiny):
    one, again, other = (
        text_to_video(tiny, "a boat", settings=Settings(num_frames=4, seed=seed, **SMALL))
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-2)


def test_the_prompt_changes_the_clip_and_an_empty_one_is_allowed(tiny):
    settings = Settings(num_frames=4, **SMALL)
    clips = [
        text_to_video(tiny, prompt, settings=settings) for prompt in ("", "a red balloon", "the blue sea")
    ]
    assert not torch.allclose(clips[0], clips[1], atol=1e-3)
    assert not torch.allclose(clips[1], clips[2], atol=1e-3)


def test_guidance_goes_to_the_prompt_and_away_from_the_negative(tiny):
    def made(cfg_scale: float, *texts: str) -> torch.Tensor:
        return text_to_video(tiny, *texts, settings=Settings(num_frames=4, cfg_scale=cfg_scale, **SMALL))

    boat = made(1, "a boat")
    torch.testing.assert_close(made(1, "a boat", "a red balloon"), boat)  # at 1 nothing is held against it
    torch.testing.assert_close(made(0, "a red balloon", "a boat"), boat)  # at 0 only the negative counts
    torch.testing.assert_close(made(7, "a boat", "a boat"), boat, atol=1e-4, rtol=1e-4)  # they cancel out


def test_windows_are_used_only_when_asked_for(tiny):
    whole = text_to_video(tiny, "a boat", settings=Settings(num_frames=12, **SMALL))
    longer = text_to_video(tiny, "a boat", settings=Settings(num_frames=12, window=99, **SMALL))
    cut = text_to_video(tiny, "a boat", settings=Settings(num_frames=12, window=8, **SMALL))
    torch.testing.assert_close(whole, longer)
    assert not torch.allclose(whole, cut, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 60}, "width is 60, .* Try 56 or 64"),
        ({"height": 3}, "height is 3, .* Try 8"),
        ({"num_frames": 0}, "frames is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"cfg_scale": 99.0}, "cfg is 99"),
        ({"rescale": 2.0}, "rescale is 2"),
        ({"sampler": "heun"}, "sampler is 'heun'.*dpmpp_2m"),
        ({"seed": -1}, "seed is -1"),
        ({"window": 4, "overlap": 4}, "overlap is 4"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_number_and_remedy(tiny, changes, words):
    with pytest.raises(ValueError, match=words):
        text_to_video(tiny, "a boat", settings=Settings(**({"num_frames": 4} | SMALL | changes)))


def test_super_resolution_is_four_times_larger(tiny_ssr):
    clip = torch.rand(1, 3, 9, 8, 12) * 2 - 1
    large = upscale(tiny_ssr, clip, "a boat", Settings(steps=2))
    assert large.shape == (1, 3, 9, 32, 48)
    assert torch.equal(large, upscale(tiny_ssr, clip, "a boat", Settings(steps=2)))


def test_super_resolution_tells_of_every_window(tiny_ssr):
    told = []
    upscale(
        tiny_ssr, torch.zeros(1, 3, 10, 4, 4), settings=Settings(steps=2), progress=lambda *p: told.append(p)
    )
    assert told == [(i + 1, 4, "super-resolution") for i in range(4)]  # two windows of 6, two steps


def test_the_noise_on_the_small_clip_is_one_draw_for_all_frames():
    clip = torch.zeros(1, 3, 12, 4, 4)
    whole = augmented(clip, 0.2, 3)
    assert torch.equal(whole, augmented(clip, 0.2, 3))
    assert whole.std() == pytest.approx(float(torch.sin(torch.tensor(0.1) * torch.pi)), rel=0.1)
    assert not torch.equal(initial_noise((1, 3, 12, 4, 4), 3), initial_noise((1, 3, 12, 4, 4), 4))
    assert torch.equal(augmented(clip + 1, 0.0, 3), clip + 1)


@pytest.mark.parametrize("level", [-0.1, 0.5])
def test_a_noise_level_outside_its_range_is_refused(tiny_ssr, level):
    with pytest.raises(ValueError, match="noise level"):
        upscale(tiny_ssr, torch.zeros(1, 3, 1, 4, 4), noise_level=level)


def test_each_model_does_its_own_work_only(tiny, tiny_ssr):
    with pytest.raises(ValueError, match="takes a super-resolution model"):
        upscale(tiny, torch.zeros(1, 3, 1, 4, 4))
    with pytest.raises(ValueError, match="takes a base model"):
        text_to_video(tiny_ssr, "a boat")


def frame_local(model: Lumiere) -> Lumiere:
    """The same weights in a model whose frames do not see each other: a fresh temporal part without strides."""
    spec = replace(model.spec, temporal=replace(model.spec.temporal, strides=(1, 1)))
    new = Lumiere(spec).eval().requires_grad_(False)
    fresh = {k: v for k, v in new.state_dict().items() if ".temporal." in k}
    new.load_state_dict(model.state_dict() | fresh)
    return new


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_frames_that_do_not_see_each_other_do_not_notice_windows(tiny, tiny_ssr, sampler):
    base, ssr = frame_local(tiny), frame_local(tiny_ssr)
    options = {"steps": 3, "sampler": sampler, "free_noise": False}
    whole = text_to_video(base, "a boat", settings=Settings(num_frames=13, width=8, height=8, **options))
    for window, overlap in ((4, 2), (5, 0), (8, 7)):
        cut = Settings(num_frames=13, width=8, height=8, window=window, overlap=overlap, **options)
        torch.testing.assert_close(text_to_video(base, "a boat", settings=cut), whole, atol=1e-4, rtol=1e-4)

    # Where frames share noise, the windows' noise is the first window's: compared where they share none.
    base.spec = replace(base.spec, diffusion=replace(base.spec.diffusion, noise_share=0.0))
    whole = text_to_video(base, "a boat", settings=Settings(num_frames=13, width=8, height=8, **options))
    shared = Settings(num_frames=13, width=8, height=8, window=4, overlap=2, **options | {"free_noise": True})
    made = text_to_video(base, "a boat", settings=shared)
    torch.testing.assert_close(made[:, :, :4], whole[:, :, :4], atol=1e-4, rtol=1e-4)  # its noise stays
    assert not torch.allclose(made, whole, atol=1e-2)

    large = upscale(ssr, whole, "a boat", Settings(window=99, **options))
    torch.testing.assert_close(
        upscale(ssr, whole, "a boat", Settings(**options)), large, atol=1e-4, rtol=1e-4
    )


def test_every_window_sees_its_part_of_one_noisy_small_clip(tiny_ssr):
    clip, seen = torch.rand(1, 3, 10, 4, 4) * 2 - 1, []

    def look(module, args, kwargs):
        seen.append((kwargs["low_res"], kwargs["noise_level"]))

    hook = tiny_ssr.network.register_forward_pre_hook(look, with_kwargs=True)
    upscale(tiny_ssr, clip, settings=Settings(steps=2, seed=5), noise_level=0.2)
    hook.remove()
    noisy = augmented(clip, 0.2, 5)
    assert len(seen) == 4  # two windows of 6 frames, two steps
    for (part, level), start in zip(seen, [0, 4, 0, 4], strict=True):
        assert torch.equal(part, noisy[:, :, start : start + 6])
        assert level.item() == pytest.approx(0.2)


def test_progress_counts_to_the_end_and_can_stop_the_work(tiny):
    told = []

    def stop(done, total, what):
        told.append((done, total, what))
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        text_to_video(tiny, "", settings=Settings(num_frames=1, width=8, height=8, steps=5), progress=stop)
    assert told == [(1, 5, "base"), (2, 5, "base")]


def test_a_setting_left_open_is_the_weights_own(tiny, tiny_ssr):
    s = resolved(Settings(steps=3), tiny.spec)
    assert (s.steps, s.num_frames, s.width, s.cfg_scale) == (3, 80, 64, tiny.spec.diffusion.cfg_scale)
    assert resolved(None, tiny_ssr.spec).window == 6
    assert resolved(Settings(steps=0), tiny.spec).steps == 0  # a zero is an answer, and refused later


@pytest.mark.parametrize("size", [(3, 4), (4, 6)])
def test_a_small_clip_of_a_size_that_does_not_fit_is_refused(tiny_ssr, size):
    with pytest.raises(
        ValueError, match=r"(height|width) is [36], but this model takes multiples of 4\. Try 4"
    ):
        upscale(tiny_ssr, torch.zeros(1, 3, 2, *size))


# ------------------------------------------------------------------------------------------------- known pixels
@pytest.fixture(scope="module")
def plain(tiny_spec, randomise) -> Lumiere:
    """A random model that makes whole clips: it is told nothing."""
    temporal = replace(tiny_spec.temporal, condition_channels=0)
    return randomise(Lumiere(replace(tiny_spec, temporal=temporal)))


def half_known(frames: int = 4, size: int = 8) -> Condition:
    clip = torch.rand(1, 3, frames, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    known = torch.zeros(1, 1, frames, size, size)
    known[:, :, 0] = known[..., : size // 2] = 1
    return Condition(clip, known)


@pytest.mark.parametrize("sampler", ["euler", "ddim", "dpmpp_2m"])
def test_known_pixels_come_back_to_the_bit(tiny, sampler):
    task = half_known()
    made = text_to_video(tiny, "a boat", settings=Settings(steps=2, sampler=sampler), task=task)
    known = (task.known == 1).expand_as(made)
    assert torch.equal(made[known], task.clip[known])
    assert (made[~known] - task.clip[~known]).abs().mean() > 0.05


def test_the_network_is_told_what_is_known(tiny):
    task, settings = half_known(), Settings(steps=2)
    made = text_to_video(tiny, "a boat", settings=settings, task=task)
    weight = tiny.network.temporal["condition"].weight
    kept = weight.clone()
    try:
        weight.zero_()
        deaf = text_to_video(tiny, "a boat", settings=settings, task=task)
    finally:
        weight.copy_(kept)
    assert not torch.allclose(made, deaf, atol=1e-2)


def test_frames_that_go_on_from_a_known_one_begin_with_its_noise_and_keep_it(tiny, monkeypatch):
    task = half_known()
    first = Condition(task.clip, torch.zeros_like(task.known))
    first.known[:, :, 0] = 1
    in_part = Condition(task.clip, first.known.clone())
    in_part.known[..., 0, 0] = 0

    def made(task: Condition, **more):
        return text_to_video(tiny, "a boat", settings=Settings(steps=2, **more), task=task)

    asked = first, in_part
    led, edited = [made(task) for task in asked], made(first, strength=0.5)
    monkeypatch.setattr("lumiere_core.generate.going_on", lambda denoise, process, task, noise: noise)
    chance = [made(task) for task in asked]
    assert torch.equal(led[0][:, :, 0], task.clip[:, :, 0])
    assert not torch.allclose(led[0][:, :, 1:], chance[0][:, :, 1:], atol=1e-2)
    assert torch.equal(led[1], chance[1])  # no frame is wholly known
    assert torch.equal(edited, made(first, strength=0.5))  # it begins with the clip itself


@pytest.mark.parametrize("loop", [False, True])
def test_frames_go_on_with_what_a_known_one_shows_of_pure_noise_alone(tiny, monkeypatch, loop):
    task, told = half_known(), []
    task = Condition(task.clip, torch.zeros_like(task.known))
    task.known[:, :, 0] = 1

    def carrying(denoise, task, closed):
        told.append(closed)
        return lambda *given, **named: denoise(*given, **named) * 0

    monkeypatch.setattr("lumiere_core.generate.carrying", carrying)
    made = text_to_video(tiny, "a boat", settings=Settings(steps=2, loop=loop), task=task)
    assert told == [loop] and torch.equal(made[:, :, 0], task.clip[:, :, 0]) and not made[:, :, 1:].any()
    text_to_video(tiny, "a boat", settings=Settings(steps=2, strength=0.5), task=task)
    assert told == [loop], "a clip that is changed begins with its own frames"


def test_guidance_stops_where_surfaces_are_decided_if_frames_are_known_in_part(tiny, monkeypatch):
    asked = []

    def guided(denoise, positive, negative, scale, rescale, interval):
        asked.append(interval[0])
        return lambda x, sigma: denoise(x, sigma, **positive)

    monkeypatch.setattr("lumiere_core.generate.guided", guided)
    task = half_known()
    first, in_part = (Condition(task.clip, torch.zeros_like(task.known)) for _ in range(2))
    first.known[:, :, 0], in_part.known[..., 0] = 1, 1
    for given, strength in ((None, 1.0), (first, 1.0), (in_part, 1.0), (in_part, 0.5)):
        text_to_video(tiny, "a boat", settings=Settings(steps=2, strength=strength), task=given)
    assert asked == [0, 0, GUIDED_ABOVE, 0]


def test_the_size_and_length_are_those_of_the_task(tiny):
    assert text_to_video(tiny, settings=Settings(steps=1), prompt="", task=half_known(6, 16)).shape[2:] == (
        6,
        16,
        16,
    )
    with pytest.raises(ValueError, match="frames is 9, but the clip has 4"):
        text_to_video(tiny, "", settings=Settings(num_frames=9), task=half_known())


def test_a_model_that_is_told_nothing_refuses_known_pixels_and_still_edits(plain):
    task = half_known()
    with pytest.raises(ValueError, match="cannot be told of known pixels"):
        text_to_video(plain, "a boat", settings=Settings(steps=1), task=task)
    draft = Condition(task.clip, torch.zeros_like(task.known))
    moved = [
        float(
            (
                text_to_video(plain, "a boat", settings=Settings(steps=4, strength=strength), task=draft)
                - draft.clip
            )
            .abs()
            .mean()
        )
        for strength in (0.05, 0.3, 1.0)
    ]
    assert moved[0] < 0.5 * min(moved[1:])


def test_a_part_is_changed_at_its_own_strength(tiny):
    clip = half_known().clip
    share = torch.ones(1, 1, 4, 8, 8)
    share[..., :4] = 0.1  # of a strength of 0.9
    settings = Settings(steps=20, strength=0.9, each_its_own=True)
    apart = (
        (text_to_video(tiny, "a boat", settings=settings, task=Condition(clip, 1 - share)) - clip)
        .abs()
        .mean((0, 1, 2, 3))
    )
    assert apart[:4].mean() < 0.8 * apart[4:].mean()


def test_known_pixels_of_the_large_clip_are_held_and_exact(tiny_ssr):
    clip, large = torch.rand(1, 3, 6, 4, 4) * 2 - 1, half_known(6, 16)
    made = upscale(tiny_ssr, clip, "a boat", Settings(steps=2), task=large)
    free = upscale(tiny_ssr, clip, "a boat", Settings(steps=2))
    known = (large.known == 1).expand_as(made)
    assert torch.equal(made[known], large.clip[known])
    assert not torch.allclose(made[~known], free[~known], atol=1e-3), "what is made sees what is kept"
    double = half_known(6, 32)
    assert upscale(tiny_ssr, clip, "", Settings(steps=1), task=double).shape[-2:] == (16, 16)


def test_a_strength_without_a_clip_is_refused(tiny):
    with pytest.raises(ValueError, match="strength is 0.5, but there is no clip to begin with"):
        text_to_video(tiny, "a red balloon", settings=Settings(num_frames=4, steps=1, strength=0.5))
