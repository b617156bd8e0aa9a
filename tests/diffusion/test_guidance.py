"""Classifier-free guidance."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.diffusion.guidance import guided, rescaled, thresholded

YES, NO = {"context": torch.full((1, 1, 1), 3.0)}, {"context": torch.full((1, 1, 1), 1.0)}


class Echo:
    """A denoiser that answers with its prompt's number times the clip, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, x, sigma, context):
        self.asked.append(context.flatten().tolist())
        return x * context.view(-1, 1, 1, 1, 1)


X = torch.ones(1, 3, 2, 2, 2)


def test_scale_1_asks_once_and_for_the_prompt_alone():
    echo = Echo()
    assert torch.equal(guided(echo, YES, NO, 1.0)(X, torch.tensor(1.0)), 3 * X)
    assert echo.asked == [[3.0]]


@pytest.mark.parametrize(("scale", "value"), [(0.0, 1.0), (2.0, 5.0), (7.5, 16.0)])
def test_guidance_goes_past_the_prompt_away_from_its_opposite(scale, value):
    echo = Echo()
    out = guided(echo, YES, NO, scale)(X, torch.tensor(1.0))
    torch.testing.assert_close(out, value * X)  # 1 + scale * (3 - 1)
    assert echo.asked == [[3.0, 1.0]]  # both in one call


def test_rescaling_in_full_gives_the_contrast_of_the_prompts_own_clip():
    torch.manual_seed(0)
    guided_clip, reference = 4 * torch.randn(2, 3, 4, 5, 5), torch.randn(2, 3, 4, 5, 5)
    for clip, like in zip(rescaled(guided_clip, reference, 1.0), reference, strict=True):
        assert clip.std().item() == pytest.approx(like.std().item(), rel=1e-4)
    assert torch.equal(rescaled(guided_clip, reference, 0.0), guided_clip)


def test_rescaling_by_half_lies_half_way():
    clip, like = 3 * torch.randn(1, 3, 4, 5, 5), torch.randn(1, 3, 4, 5, 5)
    half = (rescaled(clip, like, 1.0) + clip) / 2
    torch.testing.assert_close(rescaled(clip, like, 0.5), half)


def test_rescaling_turns_one_knob_for_the_whole_clip_so_brightness_does_not_flicker():
    clip, like = (
        torch.randn(1, 3, 4, 5, 5) * torch.arange(1, 5).view(1, 1, 4, 1, 1),
        torch.randn(1, 3, 4, 5, 5),
    )
    factor = rescaled(clip, like, 0.7) / clip
    torch.testing.assert_close(factor, factor.mean().expand_as(factor))


def test_a_clip_of_one_grey_is_no_reason_to_divide_by_zero():
    assert rescaled(torch.zeros(1, 3, 2, 2, 2), torch.randn(1, 3, 2, 2, 2), 1.0).isfinite().all()


def test_rescale_acts_inside_guidance():
    clip = torch.randn(1, 3, 4, 5, 5)
    out = guided(Echo(), YES, NO, 6.0, rescale=1.0)(clip, torch.tensor(1.0))
    torch.testing.assert_close(out, 3 * clip, atol=1e-4, rtol=1e-4)  # here guidance only stretched it


@pytest.mark.parametrize(("sigma", "asked"), [(0.1, 1), (0.5, 2), (3.0, 2), (10.0, 2), (10.1, 1)])
def test_guidance_acts_only_between_two_noise_levels(sigma, asked):
    echo = Echo()
    guided(echo, YES, NO, 5.0, interval=(0.5, 10.0))(X, torch.tensor(sigma))
    assert len(echo.asked[0]) == asked


def test_what_is_no_tensor_goes_through_as_it_is():
    seen = []
    yes, no = {**YES, "frames": 5}, {**NO, "frames": 5}
    guided(lambda x, s, context, frames: seen.append(frames) or x, yes, no, 5.0)(X, torch.tensor(1.0))
    assert seen == [5]


@pytest.mark.parametrize("scale", [-1, 31, float("nan")])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match=rf"cfg is {scale:g}, but it has to be between 0 and 30\. Try 3\."):
        guided(Echo(), YES, NO, scale)


@pytest.mark.parametrize("rescale", [-0.1, 1.5])
def test_a_rescale_out_of_range_is_refused(rescale):
    with pytest.raises(
        ValueError, match=rf"rescale is {rescale:g}, but it has to be between 0 and 1\. Try 0\.7"
    ):
        guided(Echo(), YES, NO, 3.0, rescale)


def test_thresholding_takes_one_limit_for_the_whole_clip_and_leaves_calm_clips_alone():
    calm = torch.rand(1, 3, 4, 8, 8) * 2 - 1
    torch.testing.assert_close(thresholded(calm, 0.995), calm)
    loud = 3 * torch.randn(2, 3, 4, 8, 8)
    loud[1] *= 2
    out = thresholded(loud, 0.9)
    assert out.abs().max() <= 1
    for clip, limited in zip(loud, out, strict=True):
        inside = clip.abs() < clip.abs().flatten().quantile(0.89)
        factors = (limited / clip)[inside]
        assert factors.max() - factors.min() < 1e-5, "one factor for all frames of a clip"


def test_thresholding_acts_inside_guidance_also_outside_its_interval():
    clip = 4 * torch.randn(1, 3, 4, 8, 8)
    for interval in ((0.0, float("inf")), (10.0, 20.0)):
        out = guided(Echo(), YES, NO, 6.0, interval=interval, quantile=0.9)(clip, torch.tensor(1.0))
        assert out.abs().max() <= 1


@pytest.mark.parametrize("quantile", [-0.1, 1.5])
def test_a_threshold_out_of_range_is_refused_with_the_number(quantile):
    with pytest.raises(ValueError, match=f"threshold is {quantile}"):
        guided(Echo(), YES, NO, 3.0, quantile=quantile)


def test_a_threshold_of_next_to_nothing_is_the_smallest_pixel():
    pixels = torch.tensor([2.0, 3.0, 4.0, 5.0]).view(1, 1, 1, 2, 2)
    torch.testing.assert_close(thresholded(pixels, 0.001), torch.ones_like(pixels))
