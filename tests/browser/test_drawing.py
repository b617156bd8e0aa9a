"""When panels are drawn: when something has changed, within bounds, and each for itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

LONG_CLIPS = "Lumiere_MultiDiffusion"
NODES = ("Lumiere_EmptyVideo", LONG_CLIPS, "Lumiere_XTSlice", "Lumiere_Sample")
GRAPH = {
    "nodes": [
        {"id": i, "type": kind, "pos": [400 * i, 0], "size": [360, 380], "flags": {}, "order": i, "mode": 0}
        | {"properties": {}}
        for i, kind in enumerate(NODES, 1)
    ],
    "links": [],
    "last_node_id": len(NODES),
    "last_link_id": 0,
    "version": 0.4,
}
# What the pack's scripts ask of the browser, and what is drawn on their canvases, counted from now on.
COUNT = """() => {
    const ours = (name, original) => (...args) => {
        if (new Error().stack.includes("/extensions/lumiere/")) counted[name]++;
        return original(...args);
    };
    window.counted = {changes: 0, draws: 0};
    for (const name of ["requestAnimationFrame", "setTimeout", "setInterval"]) {
        counted[name] = 0;
        window[name] = ours(name, window[name].bind(window));
    }
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    CanvasRenderingContext2D.prototype.drawImage = function (...args) {
        if (this.canvas.dataset.lumiere) counted.draws++;
        return draw.apply(this, args);
    };
    for (const panel of document.querySelectorAll("[data-lumiere]"))
        new MutationObserver(() => counted.changes++).observe(
            panel.parentNode, {subtree: true, childList: true, attributes: true, characterData: true});
}"""
# As the server sends them: a clip of 16 frames in one row, and the first frame of another.
EVENTS = """() => {
    const canvas = Object.assign(document.createElement("canvas"), {width: 640, height: 30});
    const context = canvas.getContext("2d");
    for (let i = 0; i < 16; i++) {
        context.fillStyle = `rgb(${16 * i} 0 ${255 - 16 * i})`;
        context.fillRect(40 * i, 0, 40, 30);
    }
    const jpeg = canvas.toDataURL("image/jpeg").split(",")[1];
    const clip = {columns: 16, frames: 16, width: 40, height: 30, fps: 16, length: 16, step: 8, steps: 8};
    app.api.dispatchEvent(new CustomEvent("lumiere.clip", {detail: {node: "4", jpeg, ...clip}}));
    app.api.dispatchEvent(
        new CustomEvent("executed", {detail: {node: "3", output: {lumiere_first_frame: [jpeg]}}}));
}"""


@pytest.fixture(scope="module")
def opened(open_graph: Any) -> Iterator[Any]:
    for frontend in open_graph(GRAPH, "drawing"):
        frontend.page.evaluate(EVENTS)
        frontend.page.wait_for_function("() => document.querySelectorAll('[data-lumiere]').length == 3")
        frontend.page.wait_for_timeout(1000)
        frontend.page.evaluate(COUNT)
        frontend.shoot("panels")
        yield frontend


def words(opened: Any, name: str) -> str:
    return opened.panel(name).evaluate("picture => picture.nextElementSibling.textContent")


def counted(opened: Any, seconds: float = 2.0) -> dict[str, float]:
    """What is counted in a second."""
    opened.page.evaluate("() => { for (const name in counted) counted[name] = 0; }")
    began = time.monotonic()
    opened.page.wait_for_timeout(1000 * seconds)
    counts = opened.page.evaluate("() => counted")
    return {name: count / (time.monotonic() - began) for name, count in counts.items()}


def look(opened: Any, away: bool) -> None:
    opened.page.evaluate(
        "x => { app.canvas.ds.offset[0] += x; app.canvas.setDirty(true, true); }", 9000 * (-1) ** away
    )
    opened.page.wait_for_timeout(500)


def test_a_clip_plays_at_its_rate_and_out_of_sight_nothing_is_done(opened: Any) -> None:
    playing = counted(opened)
    assert 4 < playing["draws"] < 20 and playing["changes"] == 0  # fewer on a busy machine
    look(opened, away=True)
    assert set(counted(opened).values()) == {0}
    look(opened, away=False)
    assert counted(opened)["draws"] > 4


def test_still_panels_are_left_alone(opened: Any) -> None:
    """A clip plays beside them: one timer a frame, and no more."""
    seen = counted(opened)
    assert seen["changes"] == seen["requestAnimationFrame"] == seen["setInterval"] == 0
    assert seen["setTimeout"] < 21


def test_windows_follow_their_node_and_the_clips_length(opened: Any) -> None:
    opened.turn(LONG_CLIPS, window=16, overlap=4, wrap=False)
    assert words(opened, "lumiere_windows") == "7 windows over 80 frames"
    opened.turn("Lumiere_EmptyVideo", frames=40)
    assert words(opened, "lumiere_windows") == "3 windows over 40 frames"
    opened.turn(LONG_CLIPS, overlap=16)
    assert words(opened, "lumiere_windows") == "overlap has to be below the window of 16"
    opened.turn(LONG_CLIPS, overlap=4)
    assert opened.complaints == []


def test_the_largest_windows_are_drawn_in_bounds_and_nothing_stops(opened: Any) -> None:
    """A window of 4096 with an overlap of 4000 once stopped every panel until the page was loaded again."""
    opened.turn("Lumiere_EmptyVideo", frames=8192)
    opened.turn(LONG_CLIPS, window=4096, overlap=4000)
    assert words(opened, "lumiere_windows") == "44 windows over 8192 frames"
    panel = opened.panel("lumiere_windows")
    assert panel.locator("path").count() == 44 and len(panel.inner_html()) < 100_000
    opened.shoot("many")
    opened.turn(LONG_CLIPS, overlap=4095)
    assert words(opened, "lumiere_windows") == "4097 windows over 8192 frames: too many to draw"
    assert panel.locator("path").count() == 0
    opened.turn("Lumiere_EmptyVideo", frames=80)
    opened.turn(LONG_CLIPS, window=16, overlap=4)
    assert words(opened, "lumiere_windows") == "7 windows over 80 frames"
    assert counted(opened)["draws"] > 4 and opened.complaints == []


def test_a_panel_that_fails_says_so_and_stops_no_other(opened: Any) -> None:
    opened.turn(LONG_CLIPS, weights="of another release")
    assert "cannot be drawn" in words(opened, "lumiere_windows")
    assert counted(opened)["draws"] > 4
    opened.turn("Lumiere_XTSlice", row=0.25)
    assert opened.panel("lumiere_row").evaluate("svg => svg.querySelector('svg').getAttribute('y')") == "25%"
    opened.turn(LONG_CLIPS, weights="triangle")
    assert words(opened, "lumiere_windows") == "7 windows over 80 frames"
    assert len(opened.complaints) == 1 and "cannot be drawn" in opened.complaints.pop()


def test_windows_follow_a_node_that_is_removed_and_comes_back(opened: Any) -> None:
    opened.turn("Lumiere_EmptyVideo", frames=40)
    let_go(opened)
    opened.page.evaluate("() => app.graph.remove(app.graph.getNodeById(1))")
    let_go(opened)
    wait_for_words(opened, "3 windows over 32 frames, for example")
    if opened.renderer == "vue" and opened.version < (1, 49):
        pytest.skip("after an undo this Nodes 2.0 goes on showing the widgets of the nodes that were")
    opened.command("Comfy.Undo")
    wait_for_words(opened, "3 windows over 40 frames")
    assert opened.complaints == []


def let_go(opened: Any) -> None:
    """Click beside the nodes: the frontends look for changes whenever the artist lets go of something."""
    opened.page.mouse.click(300, 820)
    opened.page.wait_for_timeout(500)


def wait_for_words(opened: Any, expected: str) -> None:
    opened.page.wait_for_function(
        "expected => document.querySelector('[data-lumiere=lumiere_windows]')"
        "?.nextElementSibling.textContent == expected",
        arg=expected,
        timeout=20_000,
    )
