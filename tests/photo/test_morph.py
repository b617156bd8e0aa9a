"""What a dissolved loop shows between two frames (`photo/loop.py`)."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lumiere_core.photo.loop import flow_midway, morph


def blobs(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).random((48, 48, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 3)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_moves_steadily_apart_stands_where_its_own_way_took_it(share):
    """A flow of a tenth of x and a fifth of y: what stands at x came from x / (1 + share / 10)."""
    y, x = np.mgrid[:40, :60].astype(np.float32)
    midway = flow_midway(np.stack([0.1 * x, 0.2 * y], 2), share)
    there = np.stack([0.1 * x / (1 + 0.1 * share), 0.2 * y / (1 + 0.2 * share)], 2)
    np.testing.assert_allclose(midway[2:30, 2:50], there[2:30, 2:50], atol=0.02)


def test_a_morph_goes_from_one_picture_to_the_other():
    a, b = blobs(1), blobs(2)
    np.testing.assert_allclose(morph(a, b, 0.0), a, atol=1e-4)
    np.testing.assert_allclose(morph(a, b, 1.0), b, atol=1e-4)


def test_what_differs_much_is_shown_by_one_side_alone_and_what_differs_little_is_mixed():
    """Two mixed edges would be a ghost; two shades of grey are no edges."""
    grey, other, black, white = (np.full((24, 24, 3), v, np.float32) for v in (0.5, 0.51, 0.0, 1.0))
    assert morph(black, white, 0.25).max() < 0.01 and morph(black, white, 0.75).min() > 0.99
    assert morph(grey, other, 0.25).mean() == pytest.approx(0.502, abs=0.0005)
