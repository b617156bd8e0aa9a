"""A prompt becomes a clip, a clip becomes a larger one."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.generate import Settings, augmented, noise, text_to_video, upscale

SMALL = {"width": 8, "height": 8, "steps": 2}


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_any_number_of_frames_runs(tiny, frames):
    clip = text_to_video(tiny, "a red balloon", settings=Settings(num_frames=frames, **SMALL))
    assert clip.shape == (1, 3, frames, 8, 8)
    assert clip.isfinite().all() and clip.std() > 0.01


def test_the_same_seed_gives_the_same_frames_and_another_other_ones(tiny):
    one, again, other = (
        text_to_video(tiny, "a boat", settings=Settings(num_frames=4, seed=seed, **SMALL)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-2)


def test_the_prompt_changes_the_clip_and_an_empty_one_is_allowed(tiny):
    settings = Settings(num_frames=4, **SMALL)
    clips = [text_to_video(tiny, prompt, settings=settings) for prompt in ("", "a red balloon", "the blue sea")]
    assert not torch.allclose(clips[0], clips[1], atol=1e-3)
    assert not torch.allclose(clips[1], clips[2], atol=1e-3)


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
    upscale(tiny_ssr, torch.zeros(1, 3, 10, 4, 4), settings=Settings(steps=2), progress=lambda *p: told.append(p))
    assert told == [(i + 1, 4, "super-resolution") for i in range(4)]  # two windows of 6, two steps


def test_the_noise_on_the_small_clip_is_one_draw_for_all_frames():
    clip = torch.zeros(1, 3, 12, 4, 4)
    whole = augmented(clip, 0.2, 3)
    assert torch.equal(whole, augmented(clip, 0.2, 3))
    assert whole.std() == pytest.approx(float(torch.sin(torch.tensor(0.1) * torch.pi)), rel=0.1)
    assert not torch.equal(noise((1, 3, 12, 4, 4), 3), noise((1, 3, 12, 4, 4), 4))
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
