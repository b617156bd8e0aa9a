"""A page of the frontend with a graph open."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

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
    "Lumiere_MotionBrush": "lumiere_brush",
}


class Frontend:
    """A page with a workflow open."""

    panels = PANELS

    def __init__(
        self, browser: Any, server: Any, renderer: str, workflow: dict, shots: Path, name: str
    ) -> None:
        version = server.get("/system_stats")["system"].get("required_frontend_version", "1.0")
        self.renderer, self.version = renderer, tuple(map(int, version.split(".")[:2]))
        if renderer == "vue" and self.version < NODES_2:
            pytest.skip(f"the frontend {version} has no Nodes 2.0 yet")
        self.server, self.workflow = server, workflow
        self.name, self.shots, self.complaints = f"{name}-{renderer}", shots, []
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
        return self.page.locator(f"[data-lumiere={name}]")

    def turn(self, node_type: str, **values: Any) -> None:
        """Set widgets of the first node of a type, as the frontends do when the artist turns them."""
        self.page.evaluate(
            """([type, values]) => {
                const node = app.graph.nodes.find(n => n.type == type);
                for (const [name, value] of Object.entries(values)) {
                    const widget = node.widgets.find(w => w.name == name);
                    widget.value = value;
                    widget.callback?.(value, app.canvas, node);
                }
            }""",
            [node_type, values],
        )

    def value(self, node_type: str, name: str) -> Any:
        return self.page.evaluate(
            "([t, name]) => app.graph.nodes.find(n => n.type == t).widgets.find(w => w.name == name).value",
            [node_type, name],
        )

    @property
    def wants_models(self) -> bool:
        """It names files to be downloaded first: it can be opened here, not run."""
        return any("models" in node.get("properties", {}) for node in self.workflow["nodes"])

    def types(self) -> list[str]:
        return [node["type"] for node in self.workflow["nodes"]]

    def run(self) -> dict:
        """Run a sketch: few steps and frames, set on the nodes' own widgets. Its entry in the history."""
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
        return self.queue()

    def queue(self) -> dict:
        """Run the graph as it is. Its entry in the history."""
        before = set(self.server.get("/history"))
        self.page.evaluate("() => app.queuePrompt(0)")
        end = time.monotonic() + 300
        while time.monotonic() < end:
            self.page.wait_for_timeout(500)
            if done := set(self.server.get("/history")) - before:
                self.page.wait_for_timeout(3000)
                return self.server.get("/history")[done.pop()]
        raise AssertionError("not done in 300 s: " + self.server.text()[-3000:])
