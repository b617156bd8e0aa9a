"""The diffusion process: noise levels, how a clip is noised, and what a network predicts turned into the clip."""

from __future__ import annotations

import math

import pytest
import torch

from lumiere_core.config import DiffusionSpec
from lumiere_core.diffusion.process import (
    PREDICTIONS,
    TABLE,
    Denoiser,
    Process,
    augmented,
    check_noise_level,
    from_v,
    initial_noise,
    noised,
    time_of,
    v_of,
)

SHIFTS = (1.0, 2.0, 4.0)
PLAIN = Process(DiffusionSpec(shift=1.0))


def shifted(shift):
    return Process(DiffusionSpec(shift=shift))


def shifted_prediction(name):
    return Process(DiffusionSpec(prediction=name, shift=4.0))


def clip_and_noise(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(1, 3, 4, 2, 2, dtype=dtype), torch.randn(1, 3, 4, 2, 2, dtype=dtype)


@pytest.mark.parametrize("t", [0.001, 0.25, 0.5, 0.75, 0.999])
def test_v_holds_the_clip_at_every_time(t):
    x0, eps = clip_and_noise()
    t = torch.tensor(t, dtype=torch.float64)
    sigma = PLAIN.sigma_of(t)
    noisy, v = noised(x0, eps, t), PLAIN.target(x0, eps, sigma)
    x = noisy * (1 + sigma**2).sqrt()  # outside the network a clip is x0 + sigma noise
    torch.testing.assert_close(x, x0 + sigma * eps)
    torch.testing.assert_close(from_v(v, x, sigma), x0)


def test_v_turns_from_the_noise_to_minus_the_clip():
    x0, eps = clip_and_noise()
    zero, one, endless = (torch.tensor(n, dtype=torch.float64) for n in (0, 1, 1e9))
    for t, sigma, noisy, v in ((zero, zero, x0, eps), (one, endless, eps, -x0)):
        torch.testing.assert_close(noised(x0, eps, t), noisy)
        torch.testing.assert_close(PLAIN.target(x0, eps, sigma), v)


@pytest.mark.parametrize("pair", [noised, v_of])
def test_a_time_is_broadcast_over_its_clip(pair):
    x0, eps = torch.randn(2, 1, 3, 4, 4), torch.randn(2, 1, 3, 4, 4)
    t = torch.tensor([0.1, 0.9])
    both = pair(x0, eps, t.view(-1, 1, 1, 1, 1))
    for i in range(2):
        torch.testing.assert_close(both[i], pair(x0[i], eps[i], t[i]))


@pytest.mark.parametrize("sigma", [0.01, 1.0, 30.0, 955.0])
def test_the_algebra_is_the_hosts(sigma):
    """ComfyUI's V_PREDICTION with sigma_data 1."""
    x, v = clip_and_noise()
    s = torch.tensor(sigma, dtype=torch.float64)
    host = x * 1.0**2 / (s**2 + 1.0**2) - v * s * 1.0 / (s**2 + 1.0**2) ** 0.5
    torch.testing.assert_close(from_v(v, x, s), host)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_eps_v_and_x0_say_the_same(sigma):
    x0, eps = clip_and_noise()
    s = torch.tensor(sigma, dtype=torch.float64)
    x = x0 + s * eps
    alpha = 1 / (1 + s**2).sqrt()
    said = {"x0": x0, "eps": eps, "v": alpha * eps - s * alpha * x0}
    for name, value in said.items():
        torch.testing.assert_close(shifted_prediction(name).x0(value, x, s), x0)
        torch.testing.assert_close(shifted_prediction(name).target(x0, eps, s), value)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_a_network_that_is_right_gives_the_clip(prediction, sigma):
    x0, eps = clip_and_noise(torch.float32)
    told = {}

    def network(noisy, t, context):
        told.update(noisy=noisy, t=t, context=context)
        alpha, s = torch.cos(math.pi / 2 * t), torch.sin(math.pi / 2 * t)
        return {"x0": x0, "eps": eps, "v": alpha * eps - s * x0}[prediction]

    denoise = Denoiser(network, DiffusionSpec(prediction=prediction, shift=4.0))
    context = torch.ones(1, 2, 3)
    out = denoise(x0 + sigma * eps, torch.tensor(sigma), context=context, condition=None)
    torch.testing.assert_close(out, x0, atol=1e-4 * max(1, sigma), rtol=1e-4)
    # The network sees a clip of variance 1 and the true time, whatever the shift.
    torch.testing.assert_close(told["noisy"], (x0 + sigma * eps) / (1 + sigma**2) ** 0.5)
    torch.testing.assert_close(told["t"], time_of(torch.tensor([sigma])))
    assert torch.equal(told["context"], context)


def test_the_network_runs_in_its_dtype_and_the_clip_stays_float32():
    seen = []

    def network(noisy, t, context):
        seen.extend([noisy.dtype, t.dtype, context.dtype])
        return noisy

    denoise = Denoiser(network, DiffusionSpec(), torch.bfloat16)
    out = denoise(torch.ones(1, 3, 1, 2, 2), 1.0, context=torch.ones(1, 2, 3))
    assert seen == [torch.bfloat16, torch.float32, torch.bfloat16]  # time is too fine for half precision
    assert out.dtype == torch.float32


def test_each_clip_may_have_its_own_noise_level():
    network = lambda noisy, t, context: noisy * t.view(-1, 1, 1, 1, 1)  # noqa: E731
    denoise = Denoiser(network, DiffusionSpec())
    x, sigma, context = torch.randn(2, 3, 1, 2, 2), torch.tensor([0.3, 5.0]), torch.zeros(2, 1, 1)
    both = denoise(x, sigma, context=context)
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], denoise(x[i : i + 1], sigma[i], context=context[:1]))


def test_a_prediction_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="prediction is 'flow', but it has to be one of v, eps, x0"):
        Denoiser(None, DiffusionSpec(prediction="flow"))


@pytest.mark.parametrize("shift", SHIFTS)
def test_time_and_noise_level_are_each_others_inverse(shift):
    u = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    torch.testing.assert_close(shifted(shift).spaced(shifted(shift).sigma_of(u)), u)


def test_half_way_there_is_as_much_noise_as_picture():
    assert PLAIN.sigma_of(torch.tensor(0.5)).item() == pytest.approx(1)
    assert time_of(torch.tensor(1.0)).item() == pytest.approx(0.5)


def test_sigma_is_the_ratio_of_the_cosine_process():
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    torch.testing.assert_close(PLAIN.sigma_of(t), torch.sin(math.pi * t / 2) / torch.cos(math.pi * t / 2))


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_only_spaces_the_steps(shift):
    """The level at a spaced time is a level of the same process: the network is told its true time."""
    u = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    sigma = shifted(shift).sigma_of(u)
    torch.testing.assert_close(PLAIN.sigma_of(time_of(sigma)), sigma)
    torch.testing.assert_close(sigma, shift * PLAIN.sigma_of(u))
    assert (time_of(sigma) >= u - 1e-12).all()  # a clip spends more of its steps in noise than a picture


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_steps_fall_from_the_largest_level_to_zero(steps, shift):
    spec = DiffusionSpec(shift=shift)
    sigmas = Process(spec).sigmas(steps)
    assert len(sigmas) == steps + 1 and sigmas.dtype == torch.float32
    assert sigmas[0].item() == pytest.approx(spec.sigma_max, rel=1e-5)
    assert sigmas[-1] == 0
    assert (sigmas[1:] < sigmas[:-1]).all()


def test_steps_are_equal_in_spaced_time():
    spec = DiffusionSpec(shift=2.0)
    u = Process(spec).spaced(Process(spec).sigmas(10)[:-1].double())
    gaps = u[:-1] - u[1:]
    torch.testing.assert_close(gaps, gaps[:1].expand_as(gaps), atol=1e-6, rtol=1e-4)
    # As the host has it: from the largest level to the smallest, which is one part of a thousand, left out.
    assert gaps[0].item() == pytest.approx(u[0].item() * (1 - 1 / TABLE) / 10, rel=1e-4)


def test_editing_takes_as_many_steps_over_the_last_share_of_the_way():
    process = Process(DiffusionSpec(shift=2.0))
    assert torch.equal(process.sigmas(10, strength=1.0), process.sigmas(10))
    assert torch.equal(process.sigmas(6, strength=0.6), process.sigmas(10)[4:])
    for strength in (0.01, 0.33, 0.8):
        sigmas = process.sigmas(20, strength)
        assert len(sigmas) == 21 and sigmas[-1] == 0
        assert float(process.spaced(sigmas[0])) / process.u_max == pytest.approx(strength, abs=0.005)


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(steps):
    with pytest.raises(ValueError, match=rf"steps is {steps}, but it has to be between 1 and 1000\. Try 20"):
        Process(DiffusionSpec(steps=20)).sigmas(steps)


@pytest.mark.parametrize("strength", [0, -0.5, 1.2, 1e-9])
def test_a_strength_that_is_none_is_refused(strength):
    with pytest.raises(ValueError, match=rf"strength is {strength:g}, but .*Try 0\.6"):
        Process(DiffusionSpec()).sigmas(10, strength)


# ------------------------------------------------------------------------------------------------- shared noise
def sharing(share):
    return Process(DiffusionSpec(noise_share=share))


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("frames", [2, 5, 16])
def test_any_two_frames_share_that_much_noise_at_the_same_variance(share, frames):
    noise = torch.randn(40000, 1, frames, 1, 1, generator=torch.Generator().manual_seed(0))
    covariance = sharing(share).shared(noise).flatten(1).T.cov()
    wanted = torch.full((frames, frames), share).fill_diagonal_(1.0)
    torch.testing.assert_close(covariance, wanted, atol=0.03, rtol=0)


def test_the_map_by_hand():
    """Two frames 1 and -1 at share 0.5: their mean is 0, so each keeps sqrt(0.5) of itself. Two ones: sqrt(1.5)."""
    noise = torch.tensor([1.0, -1.0]).view(1, 1, 2, 1, 1)
    torch.testing.assert_close(sharing(0.5).shared(noise), noise * 0.5**0.5)
    torch.testing.assert_close(sharing(0.5).shared(noise.abs()), noise.abs() * 1.5**0.5)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_one_frame_keeps_its_noise(share):
    noise = torch.randn(1, 3, 1, 4, 4)
    torch.testing.assert_close(sharing(share).shared(noise), noise)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_shared_noise_can_be_undone(share):
    noise = torch.randn(2, 3, 7, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(sharing(share).unshared(sharing(share).shared(noise)), noise)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=rf"noise share is {share:g}, but .*Try 0\.9"):
        sharing(share)


def test_the_second_of_a_frame_is_not_rounded_with_the_clip():
    seen = {}

    def network(noisy, t, context, when):
        seen["when"] = when
        return noisy

    when = torch.linspace(0, 1, 80).view(1, 1, 80, 1, 1)
    denoise = Denoiser(network, DiffusionSpec(), torch.bfloat16)
    denoise(torch.ones(1, 3, 80, 1, 1), 1.0, context=torch.ones(1, 2, 3), when=when)
    assert torch.equal(seen["when"], when)


def test_the_noise_on_a_small_clip_is_of_the_next_seed_and_not_the_clips_own():
    """Of the clip and of the noise as much as a fifth of the way to noise has; the last seed is followed by 0."""
    clip = torch.ones(1, 3, 2, 4, 4)
    for seed, next_seed in ((3, 4), (2**64 - 1, 0)):
        noise = initial_noise(tuple(clip.shape), next_seed)
        wanted = math.cos(math.pi / 10) * clip + math.sin(math.pi / 10) * noise
        torch.testing.assert_close(augmented(clip, 0.2, seed), wanted)


def test_an_error_of_x0_is_weighed_as_the_error_of_v_it_makes():
    """v read off a wrong x0 is wrong by as much more as the noise level says, up to five times."""
    true, noise = torch.randn(2, 1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    wrong = true + 0.1
    for level in (0.2, 1.0, 4.0, 900.0):
        sigma = torch.tensor(level)
        x = true + sigma * noise

        def v_said(x0, x=x, sigma=sigma):
            return v_of(x0, (x - x0) / sigma, sigma)

        error = Process(DiffusionSpec("x0")).as_v(wrong - true, sigma)
        torch.testing.assert_close(error.abs(), (v_said(wrong) - v_said(true)).abs(), atol=1e-3, rtol=1e-3)
    assert Process(DiffusionSpec("x0")).as_v(wrong - true, torch.tensor(0.01)).max() < 0.51
    assert torch.equal(Process(DiffusionSpec("v")).as_v(noise, torch.tensor(0.5)), noise)


@pytest.mark.parametrize("level", [-0.1, 0.41, float("nan")])
def test_a_noise_level_that_super_resolution_never_saw_is_refused(level):
    with pytest.raises(ValueError, match=rf"noise level is {level:g}, but it has to be between 0 and 0\.4"):
        check_noise_level(level)
    check_noise_level(0.4)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed is {seed}, but it has to be between 0 and"):
        initial_noise((1,), seed)
