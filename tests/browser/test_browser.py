"""The shipped workflows and the pack's panels as an artist sees them, in both renderers of the frontend."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACK = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((PACK / "workflows").glob("*.json"))
RENDERERS = ("classic", "vue")
# What the core's own frontends say without any pack; the last is a core setting's in 0.3.64.
NOT_OURS = (
    "Failed to load resource",
    "accessed before initialization",
    "ERR_NAME_NOT_RESOLVED",
    "addSetting",
)
NODES_2 = (1, 33)  # in older frontends the Vue renderer is a prototype that draws no widgets of this kind
PANELS = {
    "Lumiere_Sample": "lumiere_clip",
    "Lumiere_Upscale": "lumiere_clip",
    "Lumiere_XTSlice": "lumiere_row",
}


class Frontend:
    """A page with a workflow open."""

    def __init__(self, browser: Any, server: Any, renderer: str, workflow: Path, shots: Path) -> None:
        self.server, self.workflow = server, json.loads(workflow.read_text(encoding="utf-8"))
        self.name, self.shots, self.complaints = f"{workflow.stem}-{renderer}", shots, []
        server.post(
            "/settings",
            {
                "Comfy.VueNodes.Enabled": renderer == "vue",
                "Comfy.TutorialCompleted": True,
                "Lumiere.Panels": True,
            },
        )
        self.page = browser.new_page(viewport={"width": 1600, "height": 900})
        self.page.on("console", self.console)
        self.page.on("pageerror", lambda error: self.complain(error.stack or str(error)))
        self.page.goto(f"http://127.0.0.1:{server.port}/", timeout=120_000)
        self.page.wait_for_function("() => !!(window.app?.graph && window.app.canvas)", timeout=120_000)
        self.page.wait_for_timeout(2000)
        self.page.evaluate("workflow => app.loadGraphData(workflow)", self.workflow)
        self.page.wait_for_timeout(1500)
        self.command("Comfy.Canvas.FitView")
        self.page.wait_for_timeout(1000)
        self.shoot("open")

    def console(self, message: Any) -> None:
        if message.type == "error":
            self.complain(f"{message.text} {message.location.get('url', '')}")

    def complain(self, text: str) -> None:
        if "/extensions/lumiere/" in text or not any(words in text for words in NOT_OURS):
            self.complaints.append(text)

    def command(self, name: str) -> None:
        self.page.evaluate("name => app.extensionManager.command.execute(name)", name)

    def shoot(self, what: str) -> None:
        self.page.screenshot(path=self.shots / f"{self.name}-{what}.png")

    def values(self) -> list[list]:
        """What a saved workflow would hold of the widgets of each node that may have a panel."""
        return self.page.evaluate(
            "types => app.graph.serialize().nodes.filter(n => types.includes(n.type)).map(n => n.widgets_values)",
            list(PANELS),
        )

    def boxes(self) -> dict[str, list[float]]:
        """Left, top, right and bottom of each node on the screen."""
        return self.page.evaluate(
            """() => Object.fromEntries(app.graph.nodes.map(node => {
                const [x, y, w, h] = node.getBounding(), {scale, offset} = app.canvas.ds;
                const box = [x, y, x + w, y + h];
                return [`${node.id} ${node.type}`, box.map((v, i) => (v + offset[i % 2]) * scale)];
            }))"""
        )

    def panel(self, name: str) -> Any:
        return self.page.locator(f"canvas[data-lumiere={name}]")

    def row(self, value: float | None = None) -> float:
        """The widget of Motion Trace, perhaps set first."""
        return self.page.evaluate(
            """value => {
                const node = app.graph.nodes.find(n => n.type == "Lumiere_XTSlice");
                const widget = node.widgets.find(w => w.name == "row");
                if (value !== null) widget.value = value;
                return widget.value;
            }""",
            value,
        )

    @property
    def wants_models(self) -> bool:
        """It names files to be downloaded first: it can be opened here, not run."""
        return any("models" in node.get("properties", {}) for node in self.workflow["nodes"])

    def types(self) -> list[str]:
        return [node["type"] for node in self.workflow["nodes"]]

    def run(self) -> dict:
        """Run a sketch: few steps and frames, set on the nodes' own widgets. Its entry in the history."""
        before = set(self.server.get("/history"))
        self.page.evaluate(
            """seed => {
                const small = {steps: () => 2, frames: () => 16, seed: () => seed};
                small.schedule = value => value.replace(/^\\d+/gm, frame => Math.floor(frame / 10));
                for (const node of app.graph.nodes)
                    for (const widget of node.widgets ?? [])
                        if (small[widget.name]) widget.value = small[widget.name](widget.value);
            }""",
            random.randrange(10**6),
        )
        self.page.evaluate("() => app.queuePrompt(0)")
        end = time.monotonic() + 300
        while time.monotonic() < end:
            self.page.wait_for_timeout(500)
            if done := set(self.server.get("/history")) - before:
                self.page.wait_for_timeout(3000)
                return self.server.get("/history")[done.pop()]
        raise AssertionError("not done in 300 s: " + self.server.text()[-3000:])


@pytest.fixture(
    scope="module",
    params=itertools.product(WORKFLOWS, RENDERERS),
    ids=lambda param: f"{param[0].stem}-{param[1]}",
)
def opened(browser: Any, server: Any, shots: Path, request: pytest.FixtureRequest) -> Iterator[Frontend]:
    path, renderer = request.param
    version = server.get("/system_stats")["system"].get("required_frontend_version", "1.0")
    if renderer == "vue" and tuple(map(int, version.split(".")[:2])) < NODES_2:
        pytest.skip(f"the frontend {version} has no Nodes 2.0 yet")
    frontend = Frontend(browser, server, renderer, path, shots)
    yield frontend
    frontend.page.close()


def test_it_opens_without_missing_nodes_and_without_errors(opened: Frontend) -> None:
    unknown = opened.page.evaluate(
        "() => app.graph.nodes.map(n => n.type).filter(type => !(type in LiteGraph.registered_node_types))"
    )
    assert unknown == []
    assert opened.page.evaluate("() => app.graph.nodes.length") == len(opened.types())
    assert opened.page.locator(".p-dialog").count() == 0 or opened.wants_models
    assert opened.complaints == []


def test_the_prompt_it_makes_is_the_tested_one(opened: Frontend, server: Any, to_prompt: Any) -> None:
    made = opened.page.evaluate("async () => (await app.graphToPrompt()).output")
    made = {name: {key: node[key] for key in ("class_type", "inputs")} for name, node in made.items()}
    tested = to_prompt(opened.workflow, server.get("/object_info"))
    for name, node in tested.items():  # a frontend adds the defaults of widgets that the file does not know
        node["inputs"] = {
            **{k: v for k, v in made[name]["inputs"].items() if k not in node["inputs"]},
            **node["inputs"],
        }
    assert made == tested


def test_the_graph_fits_the_screen_and_no_node_covers_another(opened: Frontend) -> None:
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


def test_run_finishes_and_the_clip_plays_in_its_node(opened: Frontend) -> None:
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
            for (let i = 0; i < 50 && video.readyState < 3; i++) await new Promise(r => setTimeout(r, 100));
            await video.play();
            await new Promise(r => setTimeout(r, 500));
            return [video.readyState >= 2, video.currentTime > 0, video.duration > 0.5];
        }"""
    )
    assert played == [True, True, True]
    assert opened.complaints == []


def test_panels_are_not_saved(opened: Frontend) -> None:
    """With a panel on each node that has one: after the run."""
    saved = [node["widgets_values"] for node in opened.workflow["nodes"] if node["type"] in PANELS]
    assert [len(values) for values in opened.values()] == [len(values) for values in saved]


def test_every_sampled_clip_plays_in_its_node_and_stays(opened: Frontend) -> None:
    """After the run of the test before."""
    if opened.wants_models:
        pytest.skip("it needs another model's files")
    page, sampled = opened.page, [t for t in opened.types() if PANELS.get(t) == "lumiere_clip"]
    panels = opened.panel("lumiere_clip")
    assert panels.count() == len(sampled)
    for panel in panels.all():
        assert panel.is_visible() and panel.bounding_box()["height"] > 40
        first = panel.evaluate("canvas => canvas.toDataURL()")
        page.wait_for_timeout(400)
        assert panel.evaluate("canvas => canvas.toDataURL()") != first


def test_the_row_is_dragged_on_the_first_frame_and_follows_the_widget(opened: Frontend) -> None:
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
    assert opened.row() == pytest.approx(0.8, abs=0.06)
    opened.shoot("dragged")
    seen = panel.evaluate("canvas => canvas.toDataURL()")
    opened.row(0.1)
    page.wait_for_timeout(300)
    assert panel.evaluate("canvas => canvas.toDataURL()") != seen


def test_the_setting_takes_the_panels_away_and_back(opened: Frontend) -> None:
    page, windows = opened.page, opened.types().count("Lumiere_MultiDiffusion")
    assert opened.panel("lumiere_windows").count() == windows
    values = opened.values()
    page.evaluate("() => app.extensionManager.setting.set('Lumiere.Panels', false)")
    page.wait_for_timeout(700)
    assert page.locator("canvas[data-lumiere]").count() == 0
    assert opened.values() == values
    page.evaluate("() => app.extensionManager.setting.set('Lumiere.Panels', true)")
    page.wait_for_timeout(700)
    assert page.locator("canvas[data-lumiere]").count() == windows
    assert opened.complaints == []
