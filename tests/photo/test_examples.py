"""The pictures to try things on: of the right kind, always the same, and good for what they are shown with."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.media.frames import TensorFrames, gathered
from lumiere_core.photo.cinemagraph import cinemagraph_from_clip
from lumiere_core.photo.examples import EXAMPLE_FPS, EXAMPLES, candle, coffee, example, lake, shaky_lake


@pytest.mark.parametrize("paint", [lake, candle])
def test_a_photo_has_detail_everywhere_it_moves_and_is_painted_alike_each_time(paint):
    picture, mask = paint(192, 128)
    assert picture.shape == (128, 192, 3) and mask.shape == (128, 192)
    assert 0 <= picture.min() and picture.max() <= 1 and 0.1 < mask.mean() < 0.6
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert picture[mask > 0].std() > 0.05
    torch.testing.assert_close(paint(192, 128)[0], picture)


def test_the_coffee_is_dark_round_and_masked():
    picture, mask = coffee(192, 108)
    assert picture.shape == (108, 192, 3) and 0.003 < mask.mean() < 0.05
    assert picture[mask > 0].mean() < 0.5 * picture[mask == 0].mean()
    torch.testing.assert_close(coffee(192, 108)[0], picture)


def test_the_clip_shakes_and_fades_and_a_cinemagraph_cures_both():
    clip, mask = shaky_lake(192, 128, 16)
    sky = clip[:, :60]
    assert (sky[1:] - sky[:-1]).abs().mean() > 0.003, "the camera shakes"
    assert clip[-1].mean() < 0.97 * clip[0].mean(), "the light fades"
    made = gathered(cinemagraph_from_clip(TensorFrames(clip), mask, loop="none"))
    assert torch.equal(made[:, mask == 0], clip[:1, mask == 0].expand(16, -1, -1))
    assert (made[-1].mean() / made[0].mean() - 1).abs() < 0.02


def test_every_example_is_named_and_another_name_is_refused():
    assert all(what for what in EXAMPLES.values())
    frames, mask, fps = example("candle (photo)")
    assert frames.shape[0] == 1 and mask.shape == frames.shape[1:3] and fps == EXAMPLE_FPS
    with pytest.raises(ValueError, match="'cat'.*lake"):
        example("cat")
