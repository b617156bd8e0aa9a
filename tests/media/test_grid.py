"""Pictures side by side: each in its place, in its own shape, with words above."""

from __future__ import annotations

import torch

from lumiere_core.media.grid import GAP, HEAD, LEAST_SIDE, fitted_in, labelled


def plain(value: float, height: int = 40, width: int = 40) -> torch.Tensor:
    return torch.full((height, width, 3), value)


def test_small_pictures_are_shown_in_whole_squares_at_their_place():
    sheet = labelled([[plain(0.1), plain(0.2)], [plain(0.3)]], ["one", "two"])
    side = LEAST_SIDE // 40 * 40
    assert sheet.shape == (HEAD + 2 * side + GAP, 2 * side + GAP, 3)
    assert (sheet[HEAD : HEAD + side, :side] == 0.1).all()
    assert (sheet[HEAD + side + GAP :, :side] == 0.2).all()
    assert (sheet[HEAD : HEAD + side, side + GAP :] == 0.3).all()
    assert (sheet[HEAD + side + GAP :, side + GAP :] == 1).all(), "nothing was there"


def test_words_stand_above_their_column_only():
    words = labelled([[plain(0.5)], [plain(0.5)]], ["alpha 1", ""])[:HEAD]
    side = LEAST_SIDE // 40 * 40
    assert (words[:, :side] < 0.6).any() and (words[:, side:] == 1).all()


def test_a_picture_of_another_shape_keeps_it():
    sheet = labelled([[plain(0.5, 200, 200)], [plain(0.2, 100, 400)]], ["", ""])
    second = sheet[HEAD:, 200 + GAP :]
    dark = (second[..., 0] < 0.9).nonzero()
    assert dark[:, 0].max() - dark[:, 0].min() + 1 == 50 and dark[:, 1].max() + 1 == 200


def test_enlarging_by_a_whole_number_invents_no_colours():
    picture = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fitted_in(picture, 6, 6)[::2, ::2], picture)
    assert fitted_in(picture, 7, 7).shape == (7, 7, 3)
