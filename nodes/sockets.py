"""Schema helpers: one filter for newer schema fields, and one check of every number."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

from comfy_api.latest import io

from ..lumiere_core.limits import Limit, within


def schema(**fields: Any) -> io.Schema:
    """`io.Schema` with the fields this host knows; newer ones (search_aliases, ...) are left out on older hosts."""
    known = {f.name for f in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in fields.items() if name in known})


def seed_input(tooltip: str = "The random seed. The same seed and settings give the same clip.") -> Any:
    return io.Int.Input("seed", default=0, **within("seed"), control_after_generate=True, tooltip=tooltip)


def advanced(widget: Any) -> Any:
    """Mark an input as advanced. Newer frontends fold it away; older ones ignore the mark."""
    widget.extra_dict = {**(getattr(widget, "extra_dict", None) or {}), "advanced": True}
    return widget


def checked(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The node, which now refuses a number outside its widget's range before it works. Raises ValueError when run.

    The host checks what is typed in, but neither what comes over a link nor NaN.
    """
    widgets = [w for w in node.define_schema().inputs if isinstance(w, (io.Int.Input, io.Float.Input))]
    inner = node.execute.__func__
    signature = inspect.signature(inner)

    @functools.wraps(inner)
    def execute(cls: type, *args: Any, **kwargs: Any) -> io.NodeOutput:
        given = signature.bind(cls, *args, **kwargs).arguments
        for widget in widgets:
            whole = isinstance(widget, io.Int.Input)
            if widget.id in given:
                limit = Limit(widget.min, widget.max, widget.default)
                limit.check(widget.id, given[widget.id], whole)
                given[widget.id] = (int if whole else float)(given[widget.id])
        return inner(**given)

    node.execute = classmethod(execute)
    return node
