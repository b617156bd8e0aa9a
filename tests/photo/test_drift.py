"""Slow changes of light are taken out, told from somebody who walks in; what flickers stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.media.frames import TensorFrames, gathered
from lumiere_core.photo import drift


def match_drift(clip: torch.Tensor, *given, **settings) -> torch.Tensor:
    return gathered(drift.match_drift(TensorFrames(clip), *given, **settings))


def picture(height: int = 120, width: int = 160) -> np.ndarray:
    """Blurred noise with plenty of corners."""
    noise = np.random.default_rng(3).random((height, width, 3), np.float32)
    return np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 0.5) * 4 + 0.5, 0, 1)


def drifted(frames: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """A still clip, and the same going redder and flatter."""
    still = torch.from_numpy(picture(40, 60)).repeat(frames, 1, 1, 1) * 0.6 + 0.2
    t = torch.linspace(0, 1, frames).view(-1, 1, 1, 1)
    return still, still * (1 - 0.3 * t) + t * torch.tensor([0.2, 0.1, 0.1])


def test_drift_in_colour_and_contrast_is_taken_out():
    still, clip = drifted()
    assert (clip - still).abs().mean() > 0.02
    assert (match_drift(clip) - still).abs().mean() < 0.003
    half = (match_drift(clip, strength=0.5) - still).abs().mean() / (clip - still).abs().mean()
    assert 0.4 < half < 0.6


def test_a_candle_in_the_mask_goes_on_flickering():
    still, clip = drifted()
    mask = torch.zeros(40, 60)
    mask[10:30, 20:40] = 1
    flicker = 0.1 * torch.sin(torch.arange(40.0) * 1.7).view(-1, 1, 1, 1) * mask[..., None]
    out = match_drift((clip + flicker).clamp(0, 1), mask)
    inside = (out - still)[:, mask > 0].mean(dim=(1, 2))
    assert 0.9 < inside.std() / flicker[:, mask > 0].mean(dim=(1, 2)).std() < 1.5
    assert (out - still)[:, mask == 0].abs().mean() < 0.003


def test_without_a_mask_fast_changes_of_light_stay_too():
    still, _ = drifted()
    flash = 0.1 * torch.sin(torch.arange(40.0) * 2.5).view(-1, 1, 1, 1)
    out = match_drift(still + flash, still=still[0])
    assert (out - still).mean(dim=(1, 2, 3)).std() > 0.9 * flash.std()


def test_another_still_sets_the_colours():
    still, clip = drifted()
    out = match_drift(clip, still=still[0] * 0.5)
    assert (out.mean(dim=(1, 2)) - (still * 0.5).mean(dim=(1, 2))).abs().max() < 0.005


def test_refusals_name_the_number():
    with pytest.raises(ValueError, match="strength is 2, but it has to be between 0 and 1"):
        match_drift(torch.rand(3, 8, 8, 3), strength=2)


def test_masks_that_say_nothing_do_no_harm():
    _, clip = drifted(6)
    everywhere = match_drift(clip)
    for mask in (torch.zeros(64, 64), torch.ones(40, 60), torch.ones(64, 64)):
        assert torch.equal(match_drift(clip, mask), everywhere)
    assert torch.equal(match_drift(clip[:1]), clip[:1])


@pytest.mark.parametrize("shape", [(3, 20, 30, 4), (3, 20, 30, 1), (20, 30, 3), (0, 20, 30, 3)])
def test_what_is_no_clip_is_refused_in_a_sentence(shape):
    with pytest.raises(
        ValueError, match="but it has to be .*T, H, W, 3.*Drop an alpha channel, or repeat a grey one"
    ):
        match_drift(torch.rand(shape))
