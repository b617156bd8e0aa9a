"""Pictures in and out, and the door to OpenCV, which is imported where it is used and asked for where it is missing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..outputs import place, unfinished


def opencv() -> ModuleType:
    """The module cv2. Raises ValueError, saying how to install it, if it is missing or broken."""
    try:
        import cv2
    except ImportError as error:
        raise ValueError(
            f"OpenCV cannot be imported ({error}). Install it: python -m pip install opencv-python==4.11.0.86"
        ) from error
    return cv2


def pillow() -> ModuleType:
    """The module PIL.Image, imported late. Raises ValueError where it is missing or broken."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ValueError(
            f"Pillow cannot be imported ({error}). ComfyUI brings it; elsewhere: python -m pip install pillow"
        ) from error
    return Image


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The picture, rotated as its metadata says. Raises ValueError."""
    Image = pillow()
    from PIL import ImageOps

    if not path.is_file():
        raise ValueError(f"there is no picture {path}.")
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")  # of large pictures: what is far too large is an error
            yield ImageOps.exif_transpose(picture)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path.name} has too many pixels ({error}). Make it smaller and try again."
        ) from error
    except (OSError, SyntaxError, EOFError) as error:  # Pillow's word for a broken PNG is SyntaxError
        raise ValueError(
            f"{path.name} cannot be read as a picture: it is none, or cut, or damaged. Convert it to PNG or JPEG and "
            "try again."
        ) from error


def _deep(picture: Any) -> np.ndarray | None:
    """The greys of a picture with 16 or 32 bits a pixel in [0, 1]; None for any other."""
    if not picture.mode.startswith(("I", "F")):
        return None
    values = np.asarray(picture).astype(np.float32)
    return np.clip(values if picture.mode == "F" else values / 65535, 0, 1)


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture file as uint8 `(H, W, 3)`, turned upright as its camera says; an alpha channel is left out.

    Raises ValueError.
    """
    with _opened(Path(path)) as picture:
        grey = _deep(picture)
        if grey is not None:
            return np.repeat((grey * 255).round().astype(np.uint8)[..., None], 3, 2)
        return np.array(picture.convert("RGB"))


def read_mask(path: str | Path) -> np.ndarray:
    """A picture file as a mask `(H, W)` in [0, 1], 1 moves: what is transparent, or else what is white.

    Greys keep their 16 bits. Raises ValueError.
    """
    with _opened(Path(path)) as picture:
        grey = _deep(picture)
        if grey is not None:
            return grey
        if picture.has_transparency_data:
            alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
            if alpha.min() < 255:
                return 1 - alpha.astype(np.float32) / 255
        return np.asarray(picture.convert("RGB")).astype(np.float32).mean(-1) / 255


def picture_comment(path: Path) -> str:
    """What a picture file says in its comment; empty where there is none, or no picture."""
    with contextlib.suppress(ValueError), _opened(path) as picture:
        said = picture.info.get("Comment") or picture.info.get("comment") or ""
        return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return ""


def save_png(path: Path, image: np.ndarray, comment: str = "") -> None:
    """Write a uint8 `(H, W, 3)` picture as PNG to `path` as it stands, the comment in an iTXt chunk."""
    from PIL.PngImagePlugin import PngInfo

    said = PngInfo()
    if comment:
        said.add_itxt("Comment", comment)
    picture = pillow().fromarray(np.ascontiguousarray(image))
    picture.save(path, "PNG", pnginfo=said, compress_level=1)  # as quick as OpenCV's


def write_image(path: str | Path, image: np.ndarray, comment: str = "", overwrite: bool = False) -> Path:
    """Write one uint8 `(H, W, 3)` picture as PNG, whole or not at all; where it went. Raises ValueError."""
    path = Path(path)
    with unfinished(path) as part:
        save_png(part, image, comment)
        return place(part, path, overwrite)
