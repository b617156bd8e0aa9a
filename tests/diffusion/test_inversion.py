"""The noise behind a known picture, and how the frames that go on from it get it."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.config import DiffusionSpec
from lumiere_core.diffusion.condition import Condition
from lumiere_core.diffusion.inversion import FROM, WALK, going_on, last_known, led, noise_behind
from lumiere_core.diffusion.process import Process
from lumiere_core.diffusion.samplers import euler
from lumiere_core.diffusion.windows import shared_free_noise

PROCESS = Process(DiffusionSpec(shift=4.0, noise_share=0.9))


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_picture_the_model_makes_anyway_has_the_draw_behind_it_and_another_one_its_difference():
    expected, noise = drawn(1, 3, 1, 8, 8) * 0.3, drawn(1, 3, 1, 8, 8, seed=1)
    lowest = min(level for level in PROCESS.sigmas(WALK) if level >= FROM)
    highest = float(PROCESS.sigmas(WALK)[0])

    def denoise(x, sigma):
        return expected

    torch.testing.assert_close(
        noise_behind(denoise, PROCESS, expected, noise), noise + expected / highest, atol=1e-4, rtol=0
    )
    other = noise_behind(denoise, PROCESS, expected + 0.5, noise)
    torch.testing.assert_close(other, noise + 0.5 / lowest + expected / highest, atol=1e-4, rtol=0)


def test_a_sampler_that_begins_there_comes_back_to_the_picture():
    pictures, noise = drawn(2, 3, 1, 8, 8) * 9, drawn(2, 3, 1, 8, 8, seed=1)

    def denoise(x, sigma):  # of a world in which every pixel is drawn by itself with a spread of 9
        return x * 81 / (81 + sigma**2)

    behind = noise_behind(denoise, PROCESS, pictures, noise)
    sigmas = PROCESS.sigmas(400)
    made = euler(denoise, behind * sigmas[0], sigmas)
    chance = euler(denoise, noise * sigmas[0], sigmas)
    assert (made - pictures).abs().mean() < 0.5 * (chance - pictures).abs().mean()
    assert torch.corrcoef(torch.stack([made.flatten(), pictures.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("frames", "places"),
    [((0,), [0]), ((0, 1, 2), [2]), ((0, 5), [0, 5]), ((0, 1, 4, 5), [1, 4]), ((), []), (range(6), [])],
)
def test_frames_go_on_from_the_known_ones_beside_them(frames, places):
    known = torch.zeros(1, 1, 6, 4, 4)
    known[:, :, list(frames)] = 1
    assert last_known(known) == places
    known[:, :, :, 0, 0] = 0  # in part is not wholly
    assert last_known(known) == []


def test_led_noise_correlates_as_shared_noise_does_and_goes_over_between_two_pictures():
    noise, behind = PROCESS.shared(drawn(1, 3, 9, 64, 64)), drawn(2, 3, 1, 64, 64, seed=1)
    mixed = led(PROCESS, noise, behind, [2, 6])
    rows = mixed[0].transpose(0, 1).flatten(1)
    assert torch.allclose(rows.var(dim=1), torch.ones(9), atol=0.06)
    like = torch.corrcoef(torch.cat([rows, behind.flatten(1)]))
    assert float(like[0, 1]) == pytest.approx(0.9, abs=0.03)  # before the first known frame
    assert (like[9, :3] > 0.9).all() and (like[10, 6:9] > 0.9).all()
    assert float(like[9, 4]) == pytest.approx(float(like[10, 4]), abs=0.05) and 0.6 < like[9, 4] < 0.75
    assert like[9, 6:9].abs().max() < 0.05 and like[10, :3].abs().max() < 0.05
    assert like[9, 3] > like[9, 5] and like[10, 5] > like[10, 3], "nearer means more alike"


def test_noise_that_goes_on_from_a_picture_still_repeats_itself_over_windows():
    """Windows agree since later frames have the noise of earlier ones in another order; only what all share is new."""
    noise, behind = drawn(1, 3, 12, 16, 16), drawn(1, 3, 1, 16, 16, seed=1)
    mixed = led(PROCESS, shared_free_noise(PROCESS, noise, window=6, overlap=2), behind, [0])
    apart = (mixed[0, :, 6:, None] - mixed[0, :, None, :6]).abs().amax(dim=(0, 3, 4))  # (later, first window)
    assert (apart.amin(dim=1) < 1e-5).all() and len(set(apart[:4].argmin(dim=1).tolist())) == 4
    assert (apart > 1e-2).sum() == apart.numel() - 6


def test_known_frames_lead_by_the_noise_behind_each_and_the_model_is_asked_by_their_places():
    clip, noise, asked = drawn(1, 3, 5, 8, 8), PROCESS.shared(drawn(1, 3, 5, 8, 8, seed=1)), []
    known = torch.zeros(1, 1, 5, 8, 8)
    known[:, :, [1, 3]] = 1

    def denoise(x, sigma, places):  # a model that makes these very frames, one picture each
        asked.append((tuple(x.shape), places))
        return clip[0, :, places].transpose(0, 1)[:, :, None]

    made = going_on(denoise, PROCESS, Condition(clip, known), noise)
    assert asked and set(map(str, asked)) == {"((2, 3, 1, 8, 8), [1, 3])"}
    behind = (noise + clip / PROCESS.sigmas(WALK)[0])[0, :, [1, 3]].transpose(0, 1)[:, :, None]
    torch.testing.assert_close(made, led(PROCESS, noise, behind, [1, 3]), atol=1e-4, rtol=0)


def test_without_a_whole_known_frame_or_shared_noise_the_draw_stays_and_no_model_is_asked():
    clip, noise, known = drawn(1, 3, 5, 8, 8), drawn(1, 3, 5, 8, 8, seed=1), torch.zeros(1, 1, 5, 8, 8)
    assert going_on(None, PROCESS, Condition(clip, known), noise) is noise
    known[:, :, 1] = 1
    alone = Process(DiffusionSpec(noise_share=0.0))
    assert going_on(None, alone, Condition(clip, known), noise) is noise
