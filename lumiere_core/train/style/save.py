"""A tuned style's files: the LoRA, and beside it a picture of what it was tuned on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...media.files import to_pixels
from ...media.pictures import write_image
from ...model.style import LowRank, save_style
from ..sheet import tiles
from .tune import Examples

COLUMNS = 4


def save_tuned(
    path: Path,
    changes: Mapping[str, LowRank],
    examples: Examples,
    *,
    license: str,
    trained_on: str,
    made_for: str,
    overwrite: bool = False,
) -> Path:
    """Write both, whole or not at all; where the style went. Raises ValueError where they cannot be written."""
    facts = {"license": license, "trained_on": trained_on, "made_for": made_for}
    written = save_style(path, changes, **facts, overwrite=overwrite)
    pictures = list(examples.pictures.float().cpu())
    rows = [pictures[i : i + COLUMNS] for i in range(0, len(pictures), COLUMNS)]
    sheet = to_pixels(tiles(rows)[:, None])[0]
    write_image(written.with_suffix(".png"), sheet, f"{trained_on}; licence: {license}", overwrite=True)
    return written
