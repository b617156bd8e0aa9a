"""The shipped workflows and the pack's panels as an artist sees them, in both renderers of the frontend."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACK = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((PACK / "workflows").glob("*.json"))


@pytest.fixture(scope="module", params=WORKFLOWS, ids=lambda path: path.stem)
def opened(request: pytest.FixtureRequest, open_graph: Any) -> Iterator[Any]:
    path = request.param
    yield from open_graph(json.loads(path.read_text(encoding="utf-8")), path.stem)


def test_it_opens_without_missing_nodes_and_without_errors(opened: Any) -> None:
    unknown = opened.page.evaluate(
        "() => app.graph.nodes.map(n => n.type).filter(type => !(type in LiteGraph.registered_node_types))"
    )
    assert unknown == []
    assert opened.page.evaluate("() => app.graph.nodes.length") == len(opened.types())
    assert opened.page.locator(".p-dialog").count() == 0 or opened.wants_models
    assert opened.complaints == []


def test_the_prompt_it_makes_is_the_tested_one(opened: Any, server: Any, to_prompt: Any) -> None:
    made = opened.page.evaluate("async () => (await app.graphToPrompt()).output")
    made = {name: {key: node[key] for key in ("class_type", "inputs")} for name, node in made.items()}
    tested = to_prompt(opened.workflow, server.get("/object_info"))
    for name, node in tested.items():  # a frontend adds the defaults of widgets that the file does not know
        node["inputs"] = {
            **{k: v for k, v in made[name]["inputs"].items() if k not in node["inputs"]},
            **node["inputs"],
        }
    assert made == tested


def test_the_graph_fits_the_screen_and_no_node_covers_another(opened: Any) -> None:
    boxes = opened.boxes()
    for name, (left, top, right, bottom) in boxes.items():
        assert left >= 0 and top >= 0 and right <= 1600 and bottom <= 900, f"{name} is outside"
    assert not covered(boxes)


def covered(boxes: dict[str, list[float]]) -> list[tuple[str, str]]:
    """Pairs of nodes that overlap by more than a pixel."""
    return [
        (a, b)
        for (a, one), (b, two) in itertools.combinations(boxes.items(), 2)
        if min(one[2], two[2]) - max(one[0], two[0]) > 1 and min(one[3], two[3]) - max(one[1], two[1]) > 1
    ]


def test_run_finishes_and_the_clip_plays_in_its_node(opened: Any) -> None:
    if opened.wants_models:
        pytest.skip("it needs another model's files")
    done = opened.run()
    opened.shoot("done")
    assert done["status"]["status_str"] == "success", done["status"]
    played = opened.page.evaluate(
        """async () => {
            const video = document.querySelector("video");
            if (!video) return "there is no video";
            video.muted = true;
            video.scrollIntoView?.();
            for (let i = 0; i < 200 && video.readyState < 3; i++) await new Promise(r => setTimeout(r, 100));
            await video.play();
            await new Promise(r => setTimeout(r, 500));
            return [video.readyState >= 2, video.currentTime > 0, video.duration > 0.5];
        }"""
    )
    assert played == [True, True, True]
    assert opened.complaints == []


def test_panels_are_not_saved(opened: Any) -> None:
    """With a panel on each node that has one: after the run."""
    saved = [node["widgets_values"] for node in opened.workflow["nodes"] if node["type"] in opened.panels]
    assert [len(values) for values in opened.values()] == [len(values) for values in saved]


def test_every_sampled_clip_plays_in_its_node_and_stays(opened: Any) -> None:
    """After the run of the test before."""
    if opened.wants_models:
        pytest.skip("it needs another model's files")
    page, sampled = opened.page, [t for t in opened.types() if opened.panels.get(t) == "lumiere_clip"]
    panels = opened.panel("lumiere_clip")
    assert panels.count() == len(sampled)
    for panel in panels.all():
        assert panel.is_visible() and panel.bounding_box()["height"] > 40
        first = panel.evaluate("canvas => canvas.toDataURL()")
        page.wait_for_function(
            "([canvas, first]) => canvas.toDataURL() != first",
            arg=[panel.element_handle(), first],
            timeout=10_000,
        )


def test_the_row_is_dragged_on_the_first_frame_and_follows_the_widget(opened: Any) -> None:
    if "Lumiere_XTSlice" not in opened.types():
        pytest.skip("no Motion Trace in this workflow")
    page, panel = opened.page, opened.panel("lumiere_row")
    box = panel.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"]
    page.mouse.move(x, y + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(x, y + 0.7 * box["height"], steps=3)
    page.mouse.move(x, y + 0.8 * box["height"], steps=3)
    page.mouse.up()
    page.wait_for_timeout(300)
    assert opened.value("Lumiere_XTSlice", "row") == pytest.approx(0.8, abs=0.06)
    opened.shoot("dragged")
    assert line_on(panel) == pytest.approx(opened.value("Lumiere_XTSlice", "row"), abs=0.01)
    opened.turn("Lumiere_XTSlice", row=0.1)
    assert line_on(panel) == pytest.approx(0.1, abs=0.01)


def line_on(panel: Any) -> float:
    """Where the line is seen on its picture: 0 at the top, 1 at the bottom."""
    return panel.evaluate(
        """svg => {
            const [image, line] = ["image", "line"].map(name => svg.querySelector(name).getBoundingClientRect());
            return (line.top + line.height / 2 - image.top) / image.height;
        }"""
    )


def test_the_setting_takes_the_panels_away_and_back(opened: Any) -> None:
    page, windows = opened.page, opened.types().count("Lumiere_MultiDiffusion")
    always = windows + opened.types().count("Lumiere_MotionBrush")  # the others come with a run
    assert opened.panel("lumiere_windows").count() == windows
    values = opened.values()
    page.evaluate("() => app.extensionManager.setting.set('Lumiere.Panels', false)")
    page.wait_for_timeout(700)
    assert page.locator("[data-lumiere]").count() == 0
    assert opened.values() == values
    page.evaluate("() => app.extensionManager.setting.set('Lumiere.Panels', true)")
    page.wait_for_timeout(700)
    assert page.locator("[data-lumiere]").count() == always
    assert opened.complaints == []
