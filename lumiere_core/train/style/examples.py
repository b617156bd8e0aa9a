"""The pictures a style is tuned on: from a folder, or drawn in one of the looks of the drawn world."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...limits import LIMITS
from ...media.pictures import read_image
from ..data import SECONDS
from ..world.looks import draw_look
from ..world.scenes import WORLDS, held_out_list
from .tune import Examples, check_examples

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
DRAWN = 16  # pictures of a bundled style


def squares(pictures: Sequence[Tensor], size: int) -> Tensor:
    """The middle squares of pictures `(H, W, 3)` in [0, 1], at the model's size: `(n, 3, size, size)` in [-1, 1]."""
    made = []
    for picture in pictures:
        side = min(picture.shape[:2])
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        middle = picture[top : top + side, left : left + side].permute(2, 0, 1)[None]
        # Smaller ones are enlarged softly, larger ones averaged: both without patterns of their own.
        how = {"mode": "area"} if side >= size else {"mode": "bicubic", "align_corners": False}
        made.append(F.interpolate(middle.float(), (size, size), **how).clamp(0, 1) * 2 - 1)
    return torch.cat(made)


def read_examples(folder: Path, size: int) -> Examples:
    """The pictures of a folder, by name. A text file of the same name is a picture's caption, else its own name is.

    Raises ValueError where there are none, or too many, or one that cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}. Name one with the style's pictures.")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)
    if not paths:
        raise ValueError(
            f"there is no picture in {folder}. Put 1 to {LIMITS['pictures'].high} into it: {', '.join(ENDINGS)}."
        )
    check_examples(len(paths), 0)
    pictures = [torch.from_numpy(read_image(path)) / 255 for path in paths]
    return Examples(squares(pictures, size), [caption_of(path) for path in paths])


def how_many(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def caption_of(path: Path) -> str:
    """What a text file beside a picture says, else the picture's own name."""
    words = path.with_suffix(".txt")
    return read_caption(words) if words.is_file() else path.stem.replace("_", " ").replace("-", " ")


def read_caption(words: Path) -> str:
    """A text file as one line. Raises ValueError for what is no text."""
    try:
        return " ".join(words.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{words} cannot be read as a caption. Save it as UTF-8 text.") from error


def drawn_examples(look: str, size: int, world: str = "small", count: int = DRAWN, seed: int = 5) -> Examples:
    """Scenes of the drawn world in a look, each subject equally often; none is held out of training."""
    rng, exclude = random.Random(seed), frozenset(held_out_list(world))
    subjects = list(WORLDS[world].subjects)
    scenes = [WORLDS[world].scene(rng, exclude, subjects[i % len(subjects)]) for i in range(count)]
    seconds = [rng.uniform(0, SECONDS) for _ in scenes]
    pictures = draw_look(look, scenes, seconds, size) * 2 - 1
    return Examples(pictures, [scene.caption for scene in scenes], torch.tensor(seconds) / SECONDS)
