"""What a network predicts, turned into the clean clip."""

from __future__ import annotations

import math

import pytest
import torch

from lumiere_core.config import DiffusionSpec
from lumiere_core.denoise import PREDICTIONS, Denoiser, from_v, v_target
from lumiere_core.schedules import sigma_of, time_of


def clip_and_noise(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(1, 3, 4, 2, 2, dtype=dtype), torch.randn(1, 3, 4, 2, 2, dtype=dtype)


@pytest.mark.parametrize("t", [0.001, 0.25, 0.5, 0.75, 0.999])
def test_v_holds_the_clip_at_every_time(t):
    x0, eps = clip_and_noise()
    t = torch.tensor(t, dtype=torch.float64)
    noisy, v = v_target(x0, eps, t)
    sigma = sigma_of(t)
    x = noisy * (1 + sigma**2).sqrt()  # outside the network a clip is x0 + sigma noise
    torch.testing.assert_close(x, x0 + sigma * eps)
    torch.testing.assert_close(from_v(v, x, sigma), x0)


def test_v_turns_from_the_noise_to_minus_the_clip():
    x0, eps = clip_and_noise()
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    for t, noisy, v in ((zero, x0, eps), (one, eps, -x0)):
        ours = v_target(x0, eps, t)
        torch.testing.assert_close(ours[0], noisy)
        torch.testing.assert_close(ours[1], v)


def test_v_target_is_broadcast_over_clips():
    x0, eps = torch.randn(2, 1, 3, 4, 4), torch.randn(2, 1, 3, 4, 4)
    t = torch.tensor([0.1, 0.9])
    noisy, v = v_target(x0, eps, t.view(-1, 1, 1, 1, 1))
    for i in range(2):
        alone = v_target(x0[i], eps[i], t[i])
        torch.testing.assert_close(noisy[i], alone[0])
        torch.testing.assert_close(v[i], alone[1])


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
        torch.testing.assert_close(PREDICTIONS[name](value, x, s), x0)


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
