"""Strokes as JSON: what other packs' editors write is understood, and what cannot be drawn is one sentence."""

from __future__ import annotations

import json

import pytest

from lumiere_core.photo.strokes import Drawing, Stroke, drawing_of, drawing_with_path, written

DRAWN = Drawing(
    (Stroke("flow", 0.05, ((0.1, 0.8), (0.6, 0.7))), Stroke(points=((0.2, 0.5), (0.2, 0.9)))), ((0.4, 0.9),)
)


def test_a_drawing_comes_back_from_its_json():
    assert drawing_of(written(DRAWN), 640, 480) == DRAWN
    assert drawing_of("", 640, 480) == drawing_of(" \n", 640, 480) == Drawing()
    assert drawing_of(written(Drawing()), 640, 480) == Drawing()


def test_a_spline_editors_points_are_pixels_of_the_photo():
    one = [{"x": 64, "y": 120.0}, {"x": 320, "y": 240}]
    points = ((0.1, 0.25), (0.5, 0.5))
    assert drawing_of(json.dumps(one), 640, 480) == Drawing((Stroke(points=points),))
    pairs = [[p["x"], p["y"]] for p in one]
    for several in ([one, one], [pairs, pairs]):
        assert drawing_of(json.dumps(several), 640, 480) == Drawing(
            (Stroke(points=points), Stroke(points=points))
        )
    assert drawing_of(json.dumps(pairs), 640, 480) == Drawing((Stroke(points=points),))


def test_points_in_a_list_that_are_all_small_are_shares():
    assert drawing_of("[[0.1, 0.8], [0.5, 0.6]]", 640, 480).strokes[0].points == ((0.1, 0.8), (0.5, 0.6))


def test_a_list_of_one_spline_is_one_stroke():
    one = [[64, 120], [320, 240]]
    assert drawing_of(json.dumps([one]), 640, 480) == drawing_of(json.dumps(one), 640, 480)


def test_a_list_holds_pixels_as_soon_as_a_number_is_above_1():
    assert drawing_of("[[0, 0], [1, 1]]", 640, 480).strokes[0].points == ((0, 0), (1, 1))
    assert drawing_of("[[0, 0], [1.6, 1.2]]", 640, 480).strokes[0].points == ((0, 0), (0.0025, 0.0025))


def test_a_drawing_may_be_of_anchors_alone_or_of_a_stroke_without_points():
    assert drawing_of('{"strokes": [], "anchors": [[0.5, 0.5]]}', 640, 480) == Drawing((), ((0.5, 0.5),))
    along_the_mask = drawing_of('{"strokes": [{"preset": "sway", "points": []}], "anchors": []}', 640, 480)
    assert along_the_mask == Drawing((Stroke("sway"),))


def test_pixels_of_a_smaller_picture_are_shares_of_this_one():
    text = '{"size": [320, 240], "strokes": [{"points": [[32, 24], [160, 120]]}], "anchors": [[320, 240]]}'
    assert drawing_of(text, 6400, 4800) == Drawing((Stroke(points=((0.1, 0.1), (0.5, 0.5))),), ((1.0, 1.0),))


def test_a_path_is_one_more_stroke():
    assert drawing_with_path(written(DRAWN), "0.1,0.2 0.3,0.4", 64, 48).strokes[2].points == (
        (0.1, 0.2),
        (0.3, 0.4),
    )
    assert drawing_with_path("", "", 64, 48) == Drawing()


STROKE = '{"strokes": [{"preset": "flow", "points": [[0.1, 0.8], %s]}]}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"strokes": [', "strokes cannot be read as JSON: Expecting value at line 1, column 14."),
        ('{\n "strokes": 7,,}', "line 2, column 15"),
        ("[" * 100_000, "lists in lists without end"),
        ("7", "strokes has to be an object with strokes, or a list of points"),
        ("[7]", "strokes.strokes[0].points[0] is 7, but it has to be a list of 2 to 2"),
        ("[]", "strokes has no stroke. Draw one on the photo"),
        ("{}", "strokes has no stroke"),
        ('{"strokes": []}', "strokes has no stroke"),
        (
            STROKE % "[1.5, 0.5]",
            "strokes.strokes[0].points[1] is 1.5,0.5, which lies outside the photo: points are shares",
        ),
        (STROKE % "[NaN, 0.5]", "is nan, but it has to be a number"),
        (STROKE % '["a", 0.5]', "is 'a', but it has to be a number"),
        (STROKE % "[0.1, 0.8]", "has 1 point, but a stroke takes at least 2"),
        ("[[700, 10], [20, 20]]", "is 700,10, which lies outside the photo: points are of 640x480 pixels"),
        (
            '{"strokes": [{"preset": "magic"}]}',
            "strokes.strokes[0].preset is 'magic', but it has to be 'drift' or 'flow'",
        ),
        (
            '{"strokes": [{"speed": -1}]}',
            "strokes.strokes[0].speed is -1, but it has to be a number from 0 to 20",
        ),
        ('{"strokes": [{"colour": 1}]}', "'colour', which this version does not know"),
        ('{"anchors": [[0.5, 2]]}', "strokes.anchors[0] is 0.5,2, which lies outside"),
        ('{"size": [0, 5], "strokes": []}', "strokes.size[0] is 0, but it has to be a number from 1"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence_with_the_place(text, words):
    with pytest.raises(ValueError) as raised:
        drawing_of(text, 640, 480)
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250
