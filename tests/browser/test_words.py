"""Words from graphs are text: a workflow from elsewhere runs no script, and its artist reads what was written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

STRIKE = "<img src=x onerror=window.struck=1>"
PROMPT = f'{STRIKE} & &lt;b&gt; "it\'s" [[here|www.example.org]] www.example.org __LNK0__ 100%'
EMPTY = {"nodes": [], "links": [], "last_node_id": 0, "last_link_id": 0, "version": 0.4}
BUILD = """schedule => {
    const [model, latent, prompts, seen] = ["Lumiere_LoadModel", "Lumiere_EmptyVideo", "Lumiere_PromptSchedule",
        "PreviewAny"].map((type, i) => {
            const node = LiteGraph.createNode(type);
            node.pos = [450 * i, 0];
            app.graph.add(node);
            return node;
        });
    model.connect(model.outputs.findIndex(output => output.type == "CLIP"), prompts, "clip");
    latent.connect(0, prompts, "latent");
    prompts.connect(0, seen, 0);
    prompts.widgets.find(widget => widget.name == "schedule").value = schedule;
}"""
SHOWN = """() => [...document.querySelectorAll("body *")]
    .filter(element => !element.children.length && element.textContent.includes("The model does not know"))
    .map(element => element.textContent)"""


@pytest.fixture(scope="module")
def opened(open_graph: Any) -> Iterator[Any]:
    yield from open_graph(EMPTY, "words")


def run(opened: Any, schedule: str) -> str:
    opened.page.evaluate("() => { window.struck = 0; app.graph.clear(); }")
    opened.page.evaluate(BUILD, schedule)
    opened.command("Comfy.Canvas.FitView")
    return opened.queue()["status"]["status_str"]


def test_a_prompt_on_its_node_runs_no_script_and_is_read_as_written(opened: Any) -> None:
    once = f"{PROMPT} {random.randrange(10**6)}"  # nothing is sent from the host's cache
    assert run(opened, f"0: {once}\n20: a red balloon") == "success"
    opened.shoot("shown")
    assert opened.page.evaluate("() => window.struck") == 0
    assert opened.complaints == []
    shown = opened.page.evaluate(SHOWN)
    if not shown and opened.renderer == "vue" and opened.version < (1, 49):
        pytest.skip("this Nodes 2.0 shows no progress text")
    assert len(shown) == 1 and shown[0].startswith("Frame 0: The model does not know: img, ")


def test_a_prompt_in_an_error_runs_no_script(opened: Any) -> None:
    assert run(opened, f"{STRIKE}: a red balloon") == "error"
    opened.shoot("error")
    assert opened.page.evaluate("() => window.struck") == 0
