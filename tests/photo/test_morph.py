"""What a dissolved loop shows between two frames (`photo/loops/loop.py`)."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lumiere_core.photo.loops.loop import flow_midway, morph


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


@pytest.mark.parametrize("between", [0.25, 0.5, 0.75])
@pytest.mark.parametrize(("down", "right"), [(0, 6), (-4, 3)])
def test_between_two_pictures_a_thing_stands_on_its_way(between, down, right):
    """Not behind where it began, nor at both ends at once: closer to its place than the nearer end is, by far."""
    noise = np.random.default_rng(5).random((96, 96, 3)).astype(np.float32)
    whole = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 1, cv2.NORM_MINMAX)

    def moved(share: float) -> np.ndarray:
        there = np.array([[1, 0, share * right], [0, 1, share * down]], np.float64)
        return cv2.warpAffine(whole, there, (96, 96), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)

    def away(picture: np.ndarray) -> float:
        return float(np.abs(picture - moved(between))[16:-16, 16:-16].mean())

    a, b = moved(0), moved(1)
    assert away(morph(a, b, between)) < 0.25 * min(away(a), away(b))
