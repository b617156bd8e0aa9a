"""Pictures by any name, and the door to OpenCV."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from lumiere_core.media.pictures import opencv, read_image


def test_a_picture_is_read_by_any_name_in_rgb(tmp_path):
    path = tmp_path / "caf\u00e9 \u6d77.png"
    pixels = np.random.default_rng(1).integers(0, 256, (80, 100, 3), np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    assert np.array_equal(read_image(path), pixels)


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_what_is_no_picture_is_refused(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match="a.png cannot be read as a picture"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match="there is no picture"):
        read_image(tmp_path / "b.png")


def test_without_opencv_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match="python -m pip install opencv-python"):
        opencv()
