"""The door to OpenCV: pictures by any name, flow that points the right way, warps that follow it."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from lumiere_core.opencv import flow_between, opencv, read_image, sampled


def picture(height: int = 80, width: int = 100) -> np.ndarray:
    noise = np.random.default_rng(1).random((height, width, 3), np.float32)
    return np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 0.5) * 4 + 0.5, 0, 1)


def test_flow_points_from_the_first_picture_to_the_second():
    a = picture()
    flow = flow_between(a, np.roll(a, (2, 3), (0, 1)))[20:60, 20:80]
    assert abs(flow[..., 0].mean() - 3) < 0.2 and abs(flow[..., 1].mean() - 2) < 0.2


def test_a_warp_along_the_flow_undoes_the_motion():
    a = picture()
    b = np.roll(a, (2, 3), (0, 1))
    back = sampled(b, flow_between(a, b))
    assert np.abs(back - a)[20:60, 20:80].mean() < 0.1 * np.abs(b - a)[20:60, 20:80].mean()


def test_no_flow_changes_no_pixel():
    a = picture()
    assert np.array_equal(sampled(a, np.zeros((80, 100, 2), np.float32)), a)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5), (33, 64)])
def test_flow_runs_at_any_size(size):
    assert flow_between(picture(*size), picture(*size)).shape == (*size, 2)


def test_a_picture_is_read_by_any_name_in_rgb(tmp_path):
    path = tmp_path / "caf\u00e9 \u6d77.png"
    pixels = (picture() * 255).astype(np.uint8)
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
