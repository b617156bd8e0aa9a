"""Noise levels of the continuous-time cosine process."""

from __future__ import annotations

import math

import pytest
import torch

from lumiere_core.config import DiffusionSpec
from lumiere_core.schedules import TABLE, sigma_of, time_of, uniform

SHIFTS = (1.0, 2.0, 4.0)


@pytest.mark.parametrize("shift", SHIFTS)
def test_time_and_noise_level_are_each_others_inverse(shift):
    u = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    torch.testing.assert_close(time_of(sigma_of(u, shift), shift), u)


def test_half_way_there_is_as_much_noise_as_picture():
    assert sigma_of(torch.tensor(0.5)).item() == pytest.approx(1)
    assert time_of(torch.tensor(1.0)).item() == pytest.approx(0.5)


def test_sigma_is_the_ratio_of_the_cosine_process():
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    torch.testing.assert_close(sigma_of(t), torch.sin(math.pi * t / 2) / torch.cos(math.pi * t / 2))


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_only_spaces_the_steps(shift):
    """The level at a spaced time is a level of the same process: the network is told its true time."""
    u = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    sigma = sigma_of(u, shift)
    torch.testing.assert_close(sigma_of(time_of(sigma)), sigma)
    torch.testing.assert_close(sigma, shift * sigma_of(u))
    assert (time_of(sigma) >= u - 1e-12).all()  # a clip spends more of its steps in noise than a picture


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_steps_fall_from_the_largest_level_to_zero(steps, shift):
    spec = DiffusionSpec(shift=shift)
    sigmas = uniform(steps, spec)
    assert len(sigmas) == steps + 1 and sigmas.dtype == torch.float32
    assert sigmas[0].item() == pytest.approx(spec.sigma_max, rel=1e-5)
    assert sigmas[-1] == 0
    assert (sigmas[1:] < sigmas[:-1]).all()


def test_steps_are_equal_in_spaced_time():
    spec = DiffusionSpec(shift=2.0)
    u = time_of(uniform(10, spec)[:-1].double(), 2.0)
    gaps = u[:-1] - u[1:]
    torch.testing.assert_close(gaps, gaps[:1].expand_as(gaps), atol=1e-6, rtol=1e-4)
    # As the host has it: from the largest level to the smallest, which is one part of a thousand, left out.
    assert gaps[0].item() == pytest.approx(u[0].item() * (1 - 1 / TABLE) / 10, rel=1e-4)


def test_editing_starts_down_the_same_levels():
    spec = DiffusionSpec(shift=2.0)
    whole = uniform(10, spec)
    assert torch.equal(uniform(10, spec, strength=1.0), whole)
    assert torch.equal(uniform(10, spec, strength=0.6), whole[4:])
    assert torch.equal(uniform(10, spec, strength=0.01), whole[-2:])  # one step at least


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(steps):
    with pytest.raises(ValueError, match=rf"steps is {steps}, but sampling takes at least 1\. Try 20\."):
        uniform(steps, DiffusionSpec(steps=20))


@pytest.mark.parametrize("strength", [0, -0.5, 1.2])
def test_a_strength_that_is_none_is_refused(strength):
    with pytest.raises(ValueError, match=rf"strength is {strength:g}, but .*Try 0\.6"):
        uniform(10, DiffusionSpec(), strength)
