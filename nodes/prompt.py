"""Nodes that turn words into conditioning."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host import remark_on, show_text
from .sockets import schema


class TextEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_TextEncode",
            display_name="Prompt for a Clip",
            category="Lumiere/start",
            description="Encodes what should be seen and what should not. Words the model does not know are "
            "shown on the node.",
            search_aliases=["text encode", "prompt", "positive negative", "lumiere prompt"],
            inputs=[
                io.Clip.Input("clip", tooltip="From Load Lumiere Model."),
                io.String.Input(
                    "positive",
                    multiline=True,
                    default="a red balloon rising over the sea at sunset",
                    tooltip="What moves where and when, in the model's words. May be empty.",
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    default="",
                    tooltip="What it should not be. Usually empty for the bundled models.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, clip: Any, positive: str, negative: str) -> io.NodeOutput:
        remarks = {
            name: remark_on(clip, text) for name, text in (("Prompt", positive), ("Negative", negative))
        }
        if None not in remarks.values():
            lines = [f"{name}: {remark}" for name, remark in remarks.items() if remark]
            show_text(cls.hidden.unique_id, "\n".join(lines) or "The model knows all these words.")
        return io.NodeOutput(
            *(clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (positive, negative))
        )
