"""Schema helpers: one filter through which newer schema fields pass to older hosts."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io


def schema(**fields: Any) -> io.Schema:
    """`io.Schema` with the fields this host knows; newer ones (search_aliases, ...) are left out on older hosts."""
    known = {f.name for f in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in fields.items() if name in known})


def seed_input(tooltip: str = "The random seed. The same seed and settings give the same clip.") -> Any:
    return io.Int.Input(
        "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip=tooltip
    )


def advanced(widget: Any) -> Any:
    """The same input, folded away by frontends that can; older hosts take no such argument, but pass this on."""
    widget.extra_dict = {**(getattr(widget, "extra_dict", None) or {}), "advanced": True}
    return widget
