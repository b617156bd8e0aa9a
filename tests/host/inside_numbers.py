"""Runs inside ComfyUI's own interpreter: every number of every node, with values that it must not take.

`test_numbers.py` starts it and asserts on the sentences.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

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


if __name__ == "__main__":
    print("REPORT " + json.dumps({"refusals": refusals(Pack())}))
