"""Runs inside ComfyUI's own interpreter: numbers that nodes must not take, and work that is cancelled.

`test_numbers.py` starts it and asserts on what is said.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch  # noqa: E402
from inside import Pack, sentence  # noqa: E402

VALUES = {
    "nan": math.nan,
    "infinity": math.inf,
    "1e308": 1e308,
    "30 digits": 10**30,
    "5000 digits": -(10**5000),
    "text": "nan",
}


def refusals(pack: Pack) -> list[dict[str, Any]]:
    """For each number and value: the node, the widget, what was tried and what the node said."""
    found = []
    for name, node in pack.nodes.items():
        inputs = list(inspect.signature(node.execute).parameters)
        defaults = {w.id: getattr(w, "default", None) for w in node.define_schema().inputs}
        for widget in node.define_schema().inputs:
            if widget.io_type not in ("INT", "FLOAT"):
                continue
            tried = {**VALUES, "below": widget.min - 1, "above": widget.max + 1}
            if widget.io_type == "INT":
                tried["a half"] = widget.min + 0.5
            for what, value in tried.items():
                # Sockets get None: a node that went to work before it looked would stumble over it.
                given = {i: defaults.get(i) for i in inputs} | {widget.id: value}
                said = sentence(lambda node=node, given=given: node.execute(**given))
                found.append({"node": name, "widget": widget.id, "tried": what, "said": said})
    return found


def stopped(pack: Pack) -> dict[str, float]:
    """Seconds from the artist's cancel until a node ends; a node that does not end by it is left out.

    The cancel comes earlier and earlier until it finds the node at work: machines differ."""
    management = sys.modules["comfy.model_management"]
    clip, words = torch.rand(4096, 64, 64, 3), "\n".join(f"{i}: a red balloon" for i in range(2000))
    latent = {"samples": torch.zeros(1, 3, 200, 16, 16)}
    windows = pack.run("MultiDiffusion", pack.model, 64, 63, "triangle", False, True)[0]
    text = pack.encode("a red balloon")
    calls = {
        "SeamScore": lambda: pack.run("SeamScore", clip, 4096, 4095),
        "PromptSchedule": lambda: pack.run(
            "PromptSchedule", pack.clip, {"samples": torch.zeros(1, 3, 2000, 8, 8)}, words, 0, 1
        ),
        "Sample": lambda: pack.run("Sample", windows, text, text, latent, 0, 20, 3.0, "euler"),
    }
    found = {}
    for (name, call), wait in itertools.product(calls.items(), (0.4, 0.1, 0.02)):
        if name in found:
            continue
        asked = []

        def cancel(asked: list = asked) -> None:
            asked.append(time.monotonic())
            management.interrupt_current_processing()

        timer = threading.Timer(wait, cancel)
        timer.start()
        try:
            call()
        except management.InterruptProcessingException:
            found[name] = time.monotonic() - asked[0]
        timer.cancel()
        timer.join()
        management.interrupt_current_processing(False)
    return found


def too_large(pack: Pack) -> dict[str, str]:
    """What is said of clips that no machine holds, though each number fits its widget."""
    picture = torch.zeros(1, 1, 1, 3).expand(1, 4096, 4096, 3)
    return {
        "EmptyVideo": sentence(lambda: pack.run("EmptyVideo", 4096, 4096, 4096)),
        "VideoMask": sentence(lambda: pack.run("VideoMask", picture, "outpaint", 4096, "0", 4096, 16.0)),
    }


if __name__ == "__main__":
    with torch.inference_mode():
        pack = Pack()
        said = {"refusals": refusals(pack), "stopped": stopped(pack), "too_large": too_large(pack)}
    print("REPORT " + json.dumps(said))
