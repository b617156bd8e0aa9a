"""The pictures of the help pages, drawn from today's schemas: each node as it lies on the canvas when it is new.

    python tests/help_pictures.py --write

`tests/test_documents.py` compares, so that a picture never shows a node of the past.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
HELP = ROOT / "js/docs"
WIDGETS = ("COMBO", "INT", "FLOAT", "BOOLEAN", "STRING")  # what is no socket
COLOURS = {  # of the host's sockets
    "MODEL": "#b39ddb",
    "CLIP": "#ffd500",
    "VAE": "#ff6e6e",
    "CONDITIONING": "#ffa931",
    "LATENT": "#ff9cf9",
    "IMAGE": "#64b5f6",
    "MASK": "#81c784",
}
WIDTH, ROW, TOP, LETTER = 340, 24, 44, 6.4  # pixels; a letter of 12 pixels is about so wide


def value_of(kind: str, value: Any) -> str:
    """A widget's first value, as its node shows it."""
    if kind == "BOOLEAN":
        return str(value).lower()
    return f"{value:.2f}" if kind == "FLOAT" else "" if value is None else str(value)


def text(x: float, y: float, words: str, colour: str, anchor: str = "start", size: int = 12) -> str:
    style = f'font-family="sans-serif" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'


def drawn(schema: dict[str, Any], words: dict[str, Any]) -> str:
    """A node as SVG: its title, its sockets, its widgets with their first values. What is advanced is dimmer."""
    named = words["inputs"]
    sockets = [(name, kind) for name, kind, _, _ in schema["inputs"] if kind not in WIDGETS]
    widgets = [entry for entry in schema["inputs"] if entry[1] in WIDGETS]
    outputs = [(words["outputs"][str(i)]["name"], kind) for i, kind in enumerate(schema["outputs"])]
    beside = max(len(sockets), len(outputs))
    height = TOP + ROW * (beside + len(widgets)) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f'<rect x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="8" fill="#353535" stroke="#1a1a1a"/>',
        f'<path d="M1 32V9a8 8 0 0 1 8-8h{WIDTH - 18}a8 8 0 0 1 8 8v23z" fill="#2a2a2a"/>',
        '<circle cx="17" cy="17" r="5" fill="#777"/>',
        text(30, 22, words["display_name"], "#ddd", size=14),
    ]
    for row, (name, kind) in enumerate(sockets):
        y = TOP + ROW * row + 10
        parts.append(f'<circle cx="12" cy="{y}" r="5" fill="{COLOURS.get(kind, "#aaa")}"/>')
        parts.append(text(24, y + 4, named[name]["name"], "#ccc"))
    for row, (name, kind) in enumerate(outputs):
        y = TOP + ROW * row + 10
        parts.append(f'<circle cx="{WIDTH - 12}" cy="{y}" r="5" fill="{COLOURS.get(kind, "#aaa")}"/>')
        parts.append(text(WIDTH - 24, y + 4, name, "#ccc", "end"))
    for row, (name, kind, value, advanced) in enumerate(widgets):
        y, label, shown = TOP + ROW * (beside + row), named[name]["name"], value_of(kind, value)
        room = int((WIDTH - 60) / LETTER) - len(label) - 2
        shown = shown if len(shown) <= room else shown[: room - 1].rstrip() + "\u2026"
        parts.append(
            f'<rect x="12" y="{y}" width="{WIDTH - 24}" height="{ROW - 4}" rx="10" fill="#222" stroke="#555"/>'
        )
        parts.append(text(24, y + 14, label, "#777" if advanced else "#aaa"))
        parts.append(text(WIDTH - 24, y + 14, " ".join(shown.split()), "#999" if advanced else "#eee", "end"))
    return "\n".join([*parts, "</svg>\n"])


def pictures() -> dict[Path, str]:
    """All of them: where each lies, and what is in it."""
    schemas = json.loads((ROOT / "tests/schemas.json").read_text(encoding="utf-8"))
    words = json.loads((ROOT / "locales/en/nodeDefs.json").read_text(encoding="utf-8"))
    return {HELP / f"{node}.svg": drawn(schema, words[node]) for node, schema in schemas.items()}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    for path, picture in pictures().items():
        path.write_text(picture, encoding="utf-8", newline="\n")
