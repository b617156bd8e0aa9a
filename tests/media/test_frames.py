"""Frames of a clip, chosen by time."""

from __future__ import annotations

import pytest

from lumiere_core.media.frames import at_rate


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ((4, 16, 16), [0, 1, 2, 3]),
        ((6, 30, 15), [0, 2, 4]),
        ((3, 8, 16), [0, 1, 1, 2, 2, 2]),
        ((10, 16, 16, 4), [0, 1, 2, 3]),
        ((12, 16, 16, 0, 4), [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ((1, 16, 240), [0] * 15),
        ((1, 240, 16), [0]),
    ],
)
def test_another_rate_shows_the_nearest_frames_for_as_long(given, shown):
    assert at_rate(*given) == shown
