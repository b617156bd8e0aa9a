"""The sheet of samples that a training run draws of itself: each kind of model has its own rows and columns."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.config import replace
from lumiere_core.generate import Settings, text_to_video
from lumiere_core.model.checkpoint import Lumiere
from lumiere_core.train import sheet as sheet_room
from lumiere_core.train.sheet import sheet_of, tiles
from lumiere_core.train.world.scenes import render

GAP = 2
PROMPTS = sheet_room.PROMPTS[:2]


@pytest.fixture(autouse=True)
def two_prompts(monkeypatch):
    """Two rows show what eight would, in a quarter of the time."""
    monkeypatch.setattr(sheet_room, "PROMPTS", PROMPTS)


def tile(sheet: torch.Tensor, row: int, column: int, size: int) -> torch.Tensor:
    y, x = row * (size + GAP), column * (size + GAP)
    return sheet[:, y : y + size, x : x + size]


def test_pictures_lie_in_rows_on_white_and_nothing_leaves_the_range():
    dark, bright = torch.full((3, 4, 6), -3.0), torch.full((3, 4, 6), 0.5)
    sheet = tiles([[dark, bright], [bright]])
    assert sheet.shape == (3, 4 + GAP + 4, 6 + GAP + 6)
    assert (sheet[:, :4, :6] == -1).all() and (sheet[:, :4, 8:] == 0.5).all()
    assert (sheet[:, 6:, :6] == 0.5).all()
    assert (sheet[:, 4:6] == 1).all() and (sheet[:, :, 6:8] == 1).all() and (sheet[:, 6:, 8:] == 1).all()


def test_a_base_model_shows_each_prompt_as_a_row_from_its_first_frame_to_its_last(tiny_spec, randomise):
    model = randomise(Lumiere(replace(tiny_spec, diffusion=replace(tiny_spec.diffusion, steps=2))))
    size, last = model.spec.size, model.spec.num_frames - 1
    sheet = sheet_of(model, frames=3)
    assert sheet.shape == (3, len(PROMPTS) * (size + GAP) - GAP, 3 * (size + GAP) - GAP)
    clip = text_to_video(model, PROMPTS[1].caption, settings=Settings(seed=1))[0].clamp(-1, 1)
    for column, frame in enumerate((0, last // 2, last)):
        torch.testing.assert_close(tile(sheet, 1, column, size), clip[:, frame])


def test_an_image_model_shows_each_prompt_as_a_column_at_four_moments(tiny_spec, randomise):
    model = randomise(Lumiere(replace(tiny_spec, kind="image", temporal=None)))
    size, sheet = model.spec.size, sheet_of(model)
    assert sheet.shape == (3, 4 * (size + GAP) - GAP, len(PROMPTS) * (size + GAP) - GAP)
    assert not torch.equal(tile(sheet, 0, 0, size), tile(sheet, 0, 1, size))  # another prompt
    assert not torch.equal(tile(sheet, 0, 0, size), tile(sheet, 3, 0, size))  # another moment


def test_super_resolution_stands_beside_bicubic_and_the_true_picture(tiny_ssr):
    size, sheet = tiny_ssr.spec.size, sheet_of(tiny_ssr)
    assert sheet.shape == (3, len(PROMPTS) * (size + GAP) - GAP, 3 * (size + GAP) - GAP)
    true = render([PROMPTS[1]], 16, size, size)[0, :, 8] * 2 - 1
    smooth, _, exact = (tile(sheet, 1, column, size) for column in range(3))
    torch.testing.assert_close(exact, true.clamp(-1, 1))
    assert 0 < float((smooth - true).abs().mean()) < 0.3
