"""Motion is drawn on a photo with the mouse, seen to move at once, and rendered as drawn."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

BRUSH = "Lumiere_MotionBrush"
WIDTH, HEIGHT = 240, 160
PHOTO = "brushed.png"


def node(
    number: int, kind: str, place: int, inputs: dict[str, list], outputs: list[list], values: list
) -> dict:
    """A node of a saved graph; inputs by name: [type, link], outputs: [name, type, links]."""
    return {
        "id": number,
        "type": kind,
        "pos": [420 * place, 0],
        "size": [380, 600],
        "flags": {},
        "order": number,
        "mode": 0,
        "inputs": [{"name": name, "type": of, "link": link} for name, (of, link) in inputs.items()],
        "outputs": [{"name": name, "type": of, "links": links} for name, of, links in outputs],
        "properties": {},
        "widgets_values": values,
    }


GRAPH = {
    "nodes": [
        node(1, "LoadImage", 0, {}, [["IMAGE", "IMAGE", [1]], ["MASK", "MASK", [2]]], [PHOTO, "image"]),
        node(
            2,
            BRUSH,
            1,
            {"image": ["IMAGE", 1], "mask": ["MASK", 2]},
            [["IMAGE", "IMAGE", [3]], ["fps", "FLOAT", []]],
            ["flow", -1, 2.0, 16, 8.0, 0.0, "", 0.03, 0, True],  # a graph saved before there were strokes
        ),
        node(3, "SaveImage", 2, {"images": ["IMAGE", 3]}, [], ["brushed"]),
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 1, 1, 2, 1, "MASK"], [3, 2, 0, 3, 0, "IMAGE"]],
    "last_node_id": 3,
    "last_link_id": 3,
    "version": 0.4,
}


def photo() -> np.ndarray:
    """Blue water with light on it under an evening sky, `(H, W, 4)` in uint8, BGR and alpha: the water is painted."""
    noise = np.random.default_rng(1).standard_normal((HEIGHT, WIDTH)).astype(np.float32)
    waves = cv2.GaussianBlur(noise, (0, 0), sigmaX=5, sigmaY=2) * 6
    y = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None]
    sky = np.stack([np.full_like(waves, 150), 60 + 180 * y + 0 * waves, 120 + 220 * y + 0 * waves], 2)
    water = np.array([150, 110, 50]) + waves[..., None] * np.array([60, 70, 70])
    picture = np.where((y < 0.45)[..., None], sky, water)
    alpha = np.broadcast_to(np.where(y < 0.45, 255, 0)[..., None], (HEIGHT, WIDTH, 1))
    return np.concatenate([picture, alpha], 2).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def opened(open_graph: Any, server: Any) -> Iterator[Any]:
    folder = server.base / "input"
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / PHOTO), photo())
    for frontend in open_graph(GRAPH, "brush"):
        frontend.page.wait_for_function(
            "() => document.querySelector('[data-lumiere=lumiere_brush] rect')", timeout=20_000
        )
        frontend.page.wait_for_timeout(1000)
        frontend.shoot("photo")
        yield frontend


def to_screen(opened: Any, x: float, y: float) -> tuple[float, float]:
    """Shares of the photo as a place on the screen; the panel may just be drawn anew."""
    rect, box = opened.panel("lumiere_brush").locator("rect"), None
    for _ in range(50):
        if box := rect.bounding_box():
            break
        opened.page.wait_for_timeout(100)
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(opened: Any, *points: tuple[float, float]) -> None:
    mouse = opened.page.mouse
    mouse.move(*to_screen(opened, *points[0]))
    mouse.down()
    for point in points[1:]:
        mouse.move(*to_screen(opened, *point), steps=8)
    mouse.up()
    opened.page.wait_for_timeout(300)


def click(opened: Any, x: float, y: float) -> None:
    opened.page.mouse.click(*to_screen(opened, x, y))
    opened.page.wait_for_timeout(300)


def drawn(opened: Any) -> dict:
    return json.loads(opened.value(BRUSH, "strokes") or '{"strokes": [], "anchors": []}')


def words(opened: Any) -> str:
    return opened.panel("lumiere_brush").evaluate("picture => picture.nextElementSibling.textContent")


def seen(opened: Any) -> np.ndarray:
    """What the preview shows now, `(h, w, 3)`."""
    found = (
        opened.panel("lumiere_brush")
        .locator("canvas")
        .evaluate(
            """canvas => [canvas.width, canvas.height,
            [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]]"""
        )
    )
    return np.reshape(found[2], (found[1], found[0], 4))[..., :3].astype(float)


def test_the_photo_is_on_the_node_before_anything_has_run(opened: Any) -> None:
    picture = seen(opened)
    assert picture.shape[:2] == (171, 256)
    shrunk = cv2.resize(photo()[..., 2::-1], (256, 171), interpolation=cv2.INTER_AREA)
    assert np.abs(picture[:70] - shrunk[:70]).mean() < 4  # the sky, which is still
    assert words(opened) == "Drag to draw motion; click for a point that stays."


def test_strokes_and_an_anchor_are_drawn_and_the_preview_moves(opened: Any) -> None:
    drag(opened, (0.1, 0.6), (0.3, 0.62), (0.45, 0.6))
    opened.panel("lumiere_brush").locator("select").select_option("ripple")
    drag(opened, (0.7, 0.6), (0.72, 0.9))
    click(opened, 0.4, 0.9)
    document = drawn(opened)
    assert [stroke.get("preset") for stroke in document["strokes"]] == [None, "ripple"]
    assert document["strokes"][0]["points"][0] == pytest.approx([0.1, 0.6], abs=0.02)
    assert document["strokes"][0]["points"][-1] == pytest.approx([0.45, 0.6], abs=0.02)
    assert document["anchors"] == [pytest.approx([0.4, 0.9], abs=0.02)]
    assert words(opened) == "2 strokes, 1 anchor"
    opened.page.wait_for_timeout(700)
    first = seen(opened)
    opened.page.wait_for_timeout(700)
    moved = np.abs(seen(opened) - first).mean(2)
    opened.shoot("drawn")
    assert moved[:70].max() == 0, "the sky is outside the mask"
    assert moved[95:].mean() > 0.5
    anchor = moved[150:157, 99:106].mean()
    assert anchor < 0.5 * moved[100:110, 30:110].mean()
    assert opened.complaints == []


def becomes(opened: Any, expected: dict) -> bool:
    """Whether that is what is drawn, once a busy machine has come to it."""
    for _ in range(50):
        if drawn(opened) == expected:
            return True
        opened.page.wait_for_timeout(200)
    return False


def test_keys_take_back_what_was_drawn_and_never_the_node(opened: Any) -> None:
    before, keys = drawn(opened), opened.page.keyboard
    drag(opened, (0.5, 0.95), (0.9, 0.95))
    more = drawn(opened)
    assert len(more["strokes"]) == 3
    keys.press("Delete")
    assert becomes(opened, before)
    keys.press("Control+z")
    assert becomes(opened, more)
    keys.press("Control+z")
    assert becomes(opened, before)
    click(opened, 0.4, 0.9)
    assert becomes(opened, {**before, "anchors": []})
    keys.press("Control+z")
    assert becomes(opened, before)
    assert opened.page.evaluate("() => app.graph.nodes.length") == 3


def test_a_finger_draws_too(opened: Any) -> None:
    before = drawn(opened)
    stage = opened.panel("lumiere_brush").locator("[role=group]")
    assert stage.evaluate("stage => getComputedStyle(stage).touchAction") == "none"
    places = [to_screen(opened, x, 0.8) for x in (0.2, 0.4, 0.4)]
    stage.evaluate(
        """(stage, places) => {
            stage.setPointerCapture = () => {}; // a finger made here is none the browser knows
            const touch = {pointerType: "touch", pointerId: 7, isPrimary: true, bubbles: true, button: 0};
            ["pointerdown", "pointermove", "pointerup"].forEach((kind, i) => {
                const [clientX, clientY] = places[i];
                stage.dispatchEvent(new PointerEvent(kind, {...touch, clientX, clientY}));
            });
        }""",
        places,
    )
    assert len(drawn(opened)["strokes"]) == len(before["strokes"]) + 1
    opened.page.keyboard.press("Control+z")
    assert becomes(opened, before)


def test_run_gives_the_motion_that_was_drawn(opened: Any, server: Any) -> None:
    opened.turn(BRUSH, variation=random.randrange(10**6))
    done = opened.queue()
    opened.shoot("done")
    assert done["status"]["status_str"] == "success", done["status"]
    files = done["outputs"]["3"]["images"]
    frames = np.stack([cv2.imread(str(server.base / "output" / file["filename"])) for file in files]).astype(
        float
    )
    assert frames.shape == (16, HEIGHT, WIDTH, 3)
    still = photo()[..., :3].astype(float)
    assert np.abs(frames[:, :70] - still[:70]).max() == 0
    flow = cv2.calcOpticalFlowFarneback(
        *(frame.mean(2).astype(np.uint8) for frame in frames[[0, 1]]), None, 0.5, 3, 15, 3, 5, 1.2, 0
    )
    assert flow[90:105, 40:100, 0].mean() > 0.3, "the first stroke leads to the right"
    change = np.abs(frames - still).mean((0, 3))
    assert (
        change[135:, 40:90].mean() > 1 and change[140:148, 92:100].mean() < 0.4 * change[135:, 40:80].mean()
    )
    assert opened.complaints == []


def test_strokes_that_cannot_be_read_are_said_on_the_node_and_stop_nothing(opened: Any) -> None:
    good = opened.value(BRUSH, "strokes")
    opened.turn(BRUSH, strokes='{"strokes": [')
    assert "cannot be read" in words(opened)
    opened.turn(BRUSH, strokes=json.dumps([{"x": 24, "y": 120}, {"x": 120, "y": 120}]))
    assert words(opened) == "1 stroke, 0 anchors"  # a spline editor's, in pixels
    opened.turn(BRUSH, strokes=good)
    assert words(opened) == "2 strokes, 1 anchor"


def test_out_of_sight_nothing_is_drawn(opened: Any) -> None:
    def puts() -> int:
        opened.page.evaluate(
            """() => {
                window.puts = 0;
                const put = CanvasRenderingContext2D.prototype.putImageData;
                CanvasRenderingContext2D.prototype.putImageData = function (...args) {
                    window.puts++;
                    return put.apply(this, args);
                };
            }"""
        )
        opened.page.wait_for_timeout(1500)
        return opened.page.evaluate("() => window.puts")

    assert puts() > 0  # few on a busy machine
    opened.page.evaluate("() => { app.canvas.ds.offset[0] -= 9000; app.canvas.setDirty(true, true); }")
    opened.page.wait_for_timeout(700)
    assert puts() == 0
