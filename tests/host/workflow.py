"""A saved workflow as the prompt the frontend would send, by the host's own object_info."""

from __future__ import annotations

from typing import Any

WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"}
SILENT = {"MarkdownNote", "Note", "Reroute"}


def is_widget(kind: Any) -> bool:
    return isinstance(kind, list) or kind in WIDGETS


def needed(node: dict) -> list[str]:
    """The model files a node names, which the frontend offers to fetch."""
    return [model["name"] for model in node.get("properties", {}).get("models", [])]


def to_prompt(workflow: dict, object_info: dict) -> dict[str, dict]:
    """Raises AssertionError for a node, a socket or a choice that this host does not know."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt: dict[str, dict] = {}
    for node in workflow["nodes"]:
        if node["type"] in SILENT:
            continue
        assert node["type"] in object_info, f"this host has no node {node['type']}"
        declared = object_info[node["type"]]["input"]
        inputs = {
            name: spec for part in ("required", "optional") for name, spec in declared.get(part, {}).items()
        }
        linked = {slot["name"]: sources[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        assert set(linked) <= set(inputs), f"{node['type']} has no input {set(linked) - set(inputs)}"
        values, given = list(node["widgets_values"]), dict(linked)
        for name, (kind, *options) in inputs.items():
            if not is_widget(kind):
                continue
            if not values:
                break
            value, options = values.pop(0), options[0] if options else {}
            if options.get("control_after_generate"):
                values.pop(0)
            if name in linked:  # its value is kept in the file, and not used
                continue
            given[name] = value
            if kind == "COMBO":
                known = [*options["options"], *needed(node)]
                assert value in known, f"{node['type']}.{name} cannot be {value!r}"
            if kind == "COMFY_DYNAMICCOMBO_V3":  # its own widgets come after it, under dotted names
                chosen = next(o for o in options["options"] if o["key"] == value)
                for nested in chosen["inputs"].get("required", {}):
                    given[f"{name}.{nested}"] = values.pop(0) if values else "auto"
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": given}
    return prompt
