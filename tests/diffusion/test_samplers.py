"""Samplers: by hand, by what must come out, and against the schedulers of diffusers."""

from __future__ import annotations

import math

import pytest
import torch

from lumiere_core.config import DiffusionSpec
from lumiere_core.diffusion.process import Process
from lumiere_core.diffusion.samplers import SAMPLERS, ddim, dpmpp_2m, euler

SHAPE = (1, 3, 2, 4, 4)


def smooth(x, sigma):
    """A denoiser that bends: the tanh of what a network would see."""
    return torch.tanh(1.5 * x / (1 + sigma**2) ** 0.5)


def of_gaussian(x, sigma):
    """The ideal denoiser where every value of a clip is drawn from a normal distribution."""
    return x / (1 + sigma**2)


def start(sigmas, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * sigmas[0]


def test_one_euler_step_by_hand():
    """x = 10 at sigma 4, the clip is 2: (10 - 2) / 4 = 2 for each unit of noise, down to sigma 1."""
    x = euler(lambda x, s: torch.tensor([2.0]), torch.tensor([10.0]), torch.tensor([4.0, 1.0]))
    assert x.item() == pytest.approx(10 + 2 * (1 - 4))


def test_the_second_step_of_dpmpp_2m_by_hand():
    """Sigmas 4, 2, 1: h = log 2 twice, r = 1, so the second step uses 1.5 x0 - 0.5 of the one before."""
    answers = iter([2.0, 3.0])
    x = dpmpp_2m(
        lambda x, s: torch.tensor([next(answers)]), torch.tensor([10.0]), torch.tensor([4.0, 2.0, 1.0])
    )
    first = 0.5 * 10 + 0.5 * 2
    second = 0.5 * first + 0.5 * (1.5 * 3 - 0.5 * 2)
    assert x.item() == pytest.approx(second)


def test_dpmpp_2m_weighs_the_step_before_by_how_long_it_was():
    """Sigmas 8, 2, 1: the step before was twice as long in log sigma, so r = 2."""
    answers = iter([2.0, 3.0])
    x = dpmpp_2m(
        lambda x, s: torch.tensor([next(answers)]), torch.tensor([10.0]), torch.tensor([8.0, 2.0, 1.0])
    )
    first = 0.25 * 10 + 0.75 * 2
    second = 0.5 * first + 0.5 * (3 + (3 - 2) / 4)
    assert x.item() == pytest.approx(second)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_a_clip_known_from_the_start_comes_out_exactly(name, steps):
    clip = torch.randn(SHAPE)
    sigmas = Process(DiffusionSpec()).sigmas(steps)
    x = SAMPLERS[name](lambda x, s: clip, start(sigmas), sigmas)
    torch.testing.assert_close(x, clip, atol=5e-4, rtol=1e-4)  # noise of 955 is exact to 2.4e-4 in float32


@pytest.mark.parametrize("name", SAMPLERS)
def test_more_steps_come_closer_to_the_exact_clip(name):
    """The exact path of a Gaussian: x(sigma) grows with sqrt(1 + sigma^2)."""

    def error(steps):
        sigmas = Process(DiffusionSpec(sigma_max=20.0)).sigmas(steps).double()
        x = start(sigmas).double()
        exact = x / (1 + sigmas[0] ** 2) ** 0.5
        return (SAMPLERS[name](of_gaussian, x, sigmas) - exact).abs().mean().item()

    coarse, fine = error(80), error(320)
    order = math.log(coarse / fine) / math.log(4)
    assert order > (1.3 if name == "dpmpp_2m" else 0.9)
    assert fine < 0.005


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_callback_hears_of_every_step_and_can_stop_it(name):
    sigmas, heard = Process(DiffusionSpec()).sigmas(6), []
    SAMPLERS[name](smooth, start(sigmas), sigmas, lambda i, x0: heard.append((i, x0.shape)))
    assert heard == [(i, SHAPE) for i in range(6)]

    class Stop(Exception):
        pass

    def stop(i, x0):
        heard.append(i)
        if i == 2:
            raise Stop

    heard.clear()
    with pytest.raises(Stop):
        SAMPLERS[name](smooth, start(sigmas), sigmas, stop)
    assert heard == [0, 1, 2]


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_step_asks_once_at_its_own_level_and_the_noise_is_left_alone(name):
    sigmas, asked = Process(DiffusionSpec()).sigmas(5), []
    x = start(sigmas)
    before = x.clone()
    SAMPLERS[name](lambda x, s: asked.append(s.item()) or smooth(x, s), x, sigmas)
    assert asked == sigmas[:-1].tolist()
    assert torch.equal(x, before)


def test_ddim_without_noise_is_euler():
    sigmas = Process(DiffusionSpec()).sigmas(8)
    torch.testing.assert_close(
        ddim(smooth, start(sigmas), sigmas), euler(smooth, start(sigmas), sigmas), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_fresh_noise_replaces_as_much_as_was_taken(eta):
    """A clip known from the start, seen down to sigma 2: what is left is noise of that level."""
    sigmas = torch.tensor([10.0, 5.0, 2.0])
    x = start(sigmas, (100_000,))
    generator = torch.Generator().manual_seed(1)
    left = ddim(lambda x, s: torch.zeros_like(x), x, sigmas, eta=eta, generator=generator)
    assert left.std().item() == pytest.approx(2.0, rel=0.02)
    kept = torch.corrcoef(torch.stack([x, left]))[0, 1].item()
    assert kept == pytest.approx(0.2 if eta == 1 else 0.801, abs=0.02)


def test_fresh_noise_is_the_seeds_and_the_last_step_adds_none():
    sigmas = Process(DiffusionSpec()).sigmas(4)
    a, b, c = (
        ddim(smooth, start(sigmas), sigmas, eta=1.0, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(a, b) and not torch.allclose(a, c, atol=1e-3)
    assert a.abs().max() <= 1  # the last x0, a tanh, and nothing on top


# Parity: diffusers keeps clips at variance 1 (x / sqrt(1 + sigma^2)) and reads the noise levels from a table of betas.


def betas_of(sigmas):
    products = 1 / (1 + sigmas[:-1].double().flip(0) ** 2)
    return (1 - products / torch.cat([torch.ones(1, dtype=torch.float64), products[:-1]])).tolist()


def by_diffusers(scheduler, sigmas, **step):
    variance_preserving = start(sigmas) / (1 + sigmas[0] ** 2) ** 0.5
    scheduler.set_timesteps(len(sigmas) - 1)
    assert scheduler.timesteps.tolist() == list(reversed(range(len(sigmas) - 1)))
    x = variance_preserving
    for t in scheduler.timesteps:
        x = scheduler.step(torch.tanh(1.5 * x), t, x, **step).prev_sample
    return x


SPECS = [DiffusionSpec(), DiffusionSpec(shift=3.0, sigma_max=80.0)]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("steps", [4, 20])
def test_euler_and_ddim_equal_diffusers_ddim(spec, steps):
    diffusers = pytest.importorskip("diffusers")
    sigmas = Process(spec).sigmas(steps)
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=steps, trained_betas=betas_of(sigmas), clip_sample=False, prediction_type="sample"
    )
    known = by_diffusers(scheduler, sigmas)
    for sampler in (euler, ddim):
        torch.testing.assert_close(sampler(smooth, start(sigmas), sigmas), known, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_ddim_with_fresh_noise_equals_diffusers(spec):
    diffusers = pytest.importorskip("diffusers")
    sigmas = Process(spec).sigmas(12)
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=12, trained_betas=betas_of(sigmas), clip_sample=False, prediction_type="sample"
    )
    known = by_diffusers(scheduler, sigmas, eta=1.0, generator=torch.Generator().manual_seed(5))
    ours = ddim(smooth, start(sigmas), sigmas, eta=1.0, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(ours, known, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("steps", [4, 20])
def test_dpmpp_2m_equals_diffusers_multistep_solver(spec, steps):
    diffusers = pytest.importorskip("diffusers")
    sigmas = Process(spec).sigmas(steps)
    scheduler = diffusers.DPMSolverMultistepScheduler(
        num_train_timesteps=steps,
        trained_betas=betas_of(sigmas),
        prediction_type="sample",
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        timestep_spacing="trailing",
        final_sigmas_type="zero",
    )
    known = by_diffusers(scheduler, sigmas)
    torch.testing.assert_close(dpmpp_2m(smooth, start(sigmas), sigmas), known, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_euler_equals_diffusers_euler(spec):
    diffusers = pytest.importorskip("diffusers")
    sigmas = Process(spec).sigmas(10)
    scheduler = diffusers.EulerDiscreteScheduler(prediction_type="sample")
    scheduler.set_timesteps(sigmas=sigmas.tolist())
    torch.testing.assert_close(scheduler.sigmas, sigmas)
    x = start(sigmas)
    for i, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)
        x = scheduler.step(smooth(x, sigmas[i]), t, x).prev_sample
    torch.testing.assert_close(euler(smooth, start(sigmas), sigmas), x, atol=2e-4, rtol=1e-4)
