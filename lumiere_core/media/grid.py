"""Pictures side by side on a white sheet, with words above the columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .pictures import pillow

GAP = 4  # pixels between two pictures
HEAD = 22  # pixels above a column, for its words
LEAST_SIDE = 160  # pixels a side, at least: smaller pictures are shown larger, in whole squares


def labelled(columns: Sequence[Sequence[Tensor]], words: Sequence[str]) -> Tensor:
    """Columns of pictures `(H, W, 3)` in [0, 1], words above each: one picture `(h, w, 3)` on white.

    The first picture gives the size; others are fitted into it without a change of their shape.
    """
    height, width, _ = columns[0][0].shape
    by = max(1, LEAST_SIDE // max(height, width))
    height, width = height * by, width * by
    most = max(len(column) for column in columns)
    sheet = torch.ones(HEAD + most * (height + GAP) - GAP, len(columns) * (width + GAP) - GAP, 3)
    for j, (column, said) in enumerate(zip(columns, words, strict=True)):
        x = j * (width + GAP)
        sheet[:HEAD, x : x + width] = heading(said, width)
        for i, picture in enumerate(column):
            y = HEAD + i * (height + GAP)
            cell = fitted_in(picture.float().cpu(), height, width)
            top, left = y + (height - cell.shape[0]) // 2, x + (width - cell.shape[1]) // 2
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def fitted_in(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture as large as fits; enlarged pixels stay squares, where the factor is a whole number."""
    by = min(height / picture.shape[0], width / picture.shape[1])
    if by == int(by):
        return picture.repeat_interleave(int(by), 0).repeat_interleave(int(by), 1)
    size = max(1, round(picture.shape[0] * by)), max(1, round(picture.shape[1] * by))
    how = {"mode": "area"} if by < 1 else {"mode": "bicubic", "align_corners": False}
    return F.interpolate(picture.permute(2, 0, 1)[None], size, **how)[0].permute(1, 2, 0).clamp(0, 1)


def heading(said: str, width: int) -> Tensor:
    """Words in the middle of a white line, `(HEAD, width, 3)`."""
    from PIL import ImageDraw

    line = pillow().new("RGB", (width, HEAD), "white")
    ImageDraw.Draw(line).text((width / 2, HEAD / 2), said, fill=(60, 60, 60), anchor="mm", font_size=13)
    return torch.from_numpy(np.asarray(line).astype(np.float32) / 255)
