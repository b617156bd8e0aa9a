"""Optical flow that points the right way, warps that follow it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lumiere_core.photo.warp import flow_between, warped


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
    back = warped(b, flow_between(a, b))
    assert np.abs(back - a)[20:60, 20:80].mean() < 0.1 * np.abs(b - a)[20:60, 20:80].mean()


def test_no_flow_changes_no_pixel():
    a = picture()
    assert np.array_equal(warped(a, np.zeros((80, 100, 2), np.float32)), a)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5), (33, 64)])
def test_flow_runs_at_any_size(size):
    assert flow_between(picture(*size), picture(*size)).shape == (*size, 2)
