"""What is drawn on a photo to move it: strokes, each with a kind of motion, and anchors, which stay; as JSON, too.

    {"strokes": [{"preset": "flow", "speed": 0.05, "points": [[0.1, 0.8], [0.6, 0.7]]}], "anchors": [[0.4, 0.9]]}

Points are (x, y) in shares of the photo's width and height, 0, 0 being its upper left corner; with `"size": [w, h]`
they are pixels of a picture of that size. A stroke without points follows the mask's own shape. The points that other
packs' spline editors give, `[{"x": 51, "y": 384}, ...]` or a list of such lists, are strokes in pixels of the photo.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..limits import LIMITS, check
from ..rules import each, one_of, optional, real, record

Points = tuple[tuple[float, float], ...]

MOST_STROKES, MOST_POINTS = 200, 10_000  # in one drawing, and in one stroke


@dataclass(frozen=True)
class Preset:
    """A kind of motion and its values."""

    kind: str  # "carried": texture moves along the stroke. "waves": along it. "rooted": across it, from its root on
    direction: float  # degrees, 0 is right, 90 is up, where nothing is drawn
    speed: float  # photo widths per second where texture is carried, cycles per second elsewhere
    amount: float = 0.0  # height of the waves in photo widths
    length: float = 0.0  # and their length
    light: float = 0.0  # how much brightness wavers
    water: bool = False  # it lies flat, so it is slower and smaller towards the mask's top


# Speeds and heights are a matter of taste. js/brush_field.js has the same rows: tests/test_panels.py compares.
BRUSH_PRESETS = {
    "drift": Preset("carried", direction=0, speed=0.015),
    "flow": Preset("carried", direction=0, speed=0.04, water=True),
    "ripple": Preset("waves", direction=270, speed=0.5, amount=0.0025, length=0.04, water=True),
    "sway": Preset("rooted", direction=0, speed=0.35, amount=0.008, length=0.25),
    "flicker": Preset("rooted", direction=90, speed=2.0, amount=0.003, length=0.06, light=0.25),
}


@dataclass(frozen=True)
class Stroke:
    """One arrow.

    preset  a row of BRUSH_PRESETS; None is the brush's own
    speed   in the preset's unit; None is the brush's, or the preset's own
    points  (x, y) in shares of the photo, from the first to the last; sway and flicker hang at the first. None at all:
            along the mask's own shape
    """

    preset: str | None = None
    speed: float | None = None
    points: Points = ()


@dataclass(frozen=True)
class Drawing:
    """All strokes of a brush, and the points (x, y) in shares of the photo that stay where they are."""

    strokes: tuple[Stroke, ...] = ()
    anchors: Points = ()


def drawing_of(text: str, width: int, height: int, name: str = "strokes") -> Drawing:
    """The drawing of a JSON text on a photo of this size; an empty text is an empty drawing.

    Raises ValueError, naming the place, for what is no JSON, no drawing, has no stroke, or lies outside the photo.
    """
    if not text.strip():
        return Drawing()
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{name} cannot be read as JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except ValueError:  # Python's own limit, which its message tells how to lift
        raise ValueError(f"{name} cannot be read as JSON: it has a number of thousands of digits.") from None
    except RecursionError:
        raise ValueError(f"{name} cannot be read as JSON: it has lists in lists without end.") from None
    if isinstance(data, list):
        data = {
            "strokes": [{"points": points} for points in _lists_of(data)],
            "size": _size(data, width, height),
        }
    drawing = _document(name, data)
    if not drawing.strokes and not drawing.anchors:
        raise ValueError(
            f"{name} has no stroke. Draw one on the photo, or leave {name} empty to use the direction."
        )
    return drawing


def _lists_of(data: list) -> list[list]:
    """The splines of a list that another pack's editor gave: it is one spline, or a list of them."""
    several = (
        bool(data) and isinstance(data[0], list) and bool(data[0]) and isinstance(data[0][0], (list, dict))
    )
    return data if several else [data] if data else []


def _size(data: Any, width: int, height: int) -> list[int]:
    """Editors give pixels; a list in which no number is above 1 has shares."""

    def numbers(value: Any) -> Iterator[float]:
        if isinstance(value, (list, dict)):
            for part in value.values() if isinstance(value, dict) else value:
                yield from numbers(part)
        elif type(value) in (int, float):
            yield value

    return [width, height] if any(n > 1 for n in numbers(data)) else [1, 1]


def _document(name: str, value: Any) -> Drawing:
    """The rule for a whole document; `size` is read first, since all points are shares of it."""
    if type(value) is not dict:
        raise ValueError(f"{name} has to be an object with strokes, or a list of points.")
    side = real(1, 1_000_000)
    size = each(side, 2, 2)(f"{name}.size", value.get("size", [1, 1]))
    point = _point(size)
    stroke = record(
        Stroke,
        preset=optional(one_of(*BRUSH_PRESETS)),
        speed=optional(real(LIMITS["speed"].low, LIMITS["speed"].high)),
        points=_path(point),
    )
    fields = {key: entry for key, entry in value.items() if key != "size"}
    drawing = record(Drawing, strokes=each(stroke, 0, MOST_STROKES), anchors=each(point, 0, MOST_STROKES))
    return drawing(name, fields)


def _path(point: Any) -> Any:
    points = each(point, 0, MOST_POINTS)

    def rule(name: str, value: Any) -> Points:
        found = points(name, value)
        if found and len(set(found)) == 1:
            raise ValueError(f"{name} has 1 point, but a stroke takes at least 2. Draw it longer.")
        return found

    return rule


def _point(size: tuple[float, ...]) -> Any:
    """[x, y] or {"x": x, "y": y}, inside a picture of that size, as shares of it."""

    def rule(name: str, value: Any) -> tuple[float, float]:
        pair = [value["x"], value["y"]] if type(value) is dict and {"x", "y"} <= value.keys() else value
        x, y = each(real(-1e9, 1e9), 2, 2)(name, pair)
        if not (0 <= x <= size[0] and 0 <= y <= size[1]):
            unit = (
                "shares of its width and height, from 0 to 1"
                if max(size) == 1
                else f"of {size[0]:g}x{size[1]:g} pixels"
            )
            raise ValueError(f"{name} is {x:g},{y:g}, which lies outside the photo: points are {unit}.")
        return x / size[0], y / size[1]

    return rule


def written(drawing: Drawing) -> str:
    """A drawing as JSON, which `drawing_of` reads again; an empty text for an empty one."""
    if drawing == Drawing():
        return ""
    strokes = [
        {key: value for key, value in dataclasses.asdict(stroke).items() if value is not None}
        for stroke in drawing.strokes
    ]
    return json.dumps({"strokes": strokes, "anchors": drawing.anchors})


def drawing_with_path(strokes: str, path: str, width: int, height: int, name: str = "strokes") -> Drawing:
    """What is drawn, and a path `0.1,0.8 0.5,0.6` as one more stroke. Raises ValueError."""
    drawing, points = drawing_of(strokes, width, height, name), points_of(path)
    return (
        dataclasses.replace(drawing, strokes=(*drawing.strokes, Stroke(points=points))) if points else drawing
    )


def points_of(text: str) -> Points:
    """`0.1,0.8 0.5,0.6` as points (x, y). Raises ValueError naming what is not a point."""
    points = []
    for part in text.replace(";", " ").split():
        try:
            x, y = (float(number) for number in part.split(","))
        except ValueError:
            raise ValueError(
                f"{part!r} in path is no point. Write points as x,y with spaces between: 0.1,0.8 0.5,0.6"
            ) from None
        points.append((x, y))
    return tuple(points)


def check_drawing(drawing: Drawing) -> None:
    """Raises ValueError for strokes that cannot be painted; what `drawing_of` gives has been looked at."""
    for stroke in drawing.strokes:
        if stroke.preset is not None and stroke.preset not in BRUSH_PRESETS:
            raise ValueError(
                f"preset is {stroke.preset!r}, but it has to be one of {', '.join(BRUSH_PRESETS)}."
            )
        if stroke.speed is not None:
            check("speed", stroke.speed)
        if len(stroke.points) == 1:
            raise ValueError("the path has 1 point, but it takes at least 2. Add the next one.")
        for x, y in stroke.points:
            if not (0 <= x <= 1 and 0 <= y <= 1):
                raise ValueError(
                    f"the point {x:g},{y:g} of the path lies outside the photo: points are shares of its width and "
                    "height, from 0 to 1. Try 0.1,0.8 0.5,0.6"
                )
