"""Puts the repository's root last on the path: a ComfyUI's own `nodes` module must win over our folder of that name."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:
    sys.path.append(ROOT)
