"""Pictures in, and the door to OpenCV, which is imported where it is used and asked for where it is missing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np


def opencv() -> ModuleType:
    """The module cv2, imported late. Raises ValueError where it is missing or broken."""
    try:
        import cv2
    except ImportError as error:
        raise ValueError(
            f"OpenCV cannot be imported ({error}). Install it: python -m pip install opencv-python==4.11.0.86"
        ) from error
    return cv2


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture file as uint8 `(H, W, 3)`, turned upright as its camera says. Raises ValueError."""
    cv2 = opencv()
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no picture {path}.")
    # By its bytes: cv2.imread knows no Unicode paths on Windows.
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ValueError(f"{path.name} cannot be read as a picture. Convert it to PNG or JPEG and try again.")
    return np.ascontiguousarray(image[..., ::-1])


def read_mask(path: str | Path) -> np.ndarray:
    """A picture file as a mask `(H, W)` in [0, 1], 1 moves: what is transparent, or else what is white."""
    image = read_image(path)
    whole = opencv().imdecode(np.fromfile(path, np.uint8), opencv().IMREAD_UNCHANGED)
    if whole.ndim == 3 and whole.shape[2] == 4 and whole.dtype == np.uint8 and whole[..., 3].min() < 255:
        return 1 - whole[..., 3].astype(np.float32) / 255
    return image.astype(np.float32).mean(-1) / 255
