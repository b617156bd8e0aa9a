"""Nodes that encode prompts."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.diffusion.prompts import PromptSpan, parse, span_weights
from ..lumiere_core.limits import within
from .host.clip import remark_on
from .host.notify import show_text
from .host.progress import HostBar
from .host.sampling import with_options
from .sockets import advanced, schema


class TextEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_TextEncode",
            display_name="Prompt for a Clip",
            category="Lumiere/start",
            description="Encodes a prompt and a negative prompt. The node shows words that the "
            "model does not know.",
            search_aliases=["text encode", "prompt", "positive negative", "lumiere prompt"],
            inputs=[
                io.Clip.Input("clip", tooltip="From Load Lumiere Model."),
                io.String.Input(
                    "positive",
                    multiline=True,
                    default="a red balloon rising over the sea at sunset",
                    tooltip="What to show: what moves where and when, in the words the model "
                    "knows. May be empty.",
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    default="",
                    tooltip="What not to show. Usually empty for the bundled models.",
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
        show_remarks(cls.hidden.unique_id, clip, {"Prompt": positive, "Negative": negative})
        return io.NodeOutput(*(encode(clip, text) for text in (positive, negative)))


class PromptSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_PromptSchedule",
            display_name="Prompts over Time",
            category="Lumiere/condition",
            description="One prompt for each range of frames, for a scene change within a clip. "
            "Works with any sampler. With Long Clips (MultiDiffusion) on the MODEL, "
            "each window runs only the prompts for its frames.",
            search_aliases=["prompt schedule", "prompt travel", "scene change", "batch prompt", "keyframes"],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder of the MODEL."),
                io.Latent.Input(
                    "latent", tooltip="The clip that will be sampled. The node reads its length and size."
                ),
                io.String.Input(
                    "schedule",
                    multiline=True,
                    default="0: a red balloon over the sea by day / 40: a red balloon over the sea at night",
                    tooltip="First frame, colon, prompt. Separate entries by / or by lines. Or "
                    "give both ends: 0-39: ...",
                ),
                io.Int.Input(
                    "blend",
                    default=8,
                    **within("blend"),
                    tooltip="Frames that a change takes. 0 changes at once; 16 is one second at 16 fps.",
                ),
                advanced(
                    io.Int.Input(
                        "latent_stride",
                        default=1,
                        **within("latent_stride"),
                        tooltip="Frames in one latent step: 1 for Lumiere and image models, 4 for "
                        "Wan, 8 for LTX.",
                    )
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="CONDITIONING", tooltip="Use it as positive or negative.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, clip: Any, latent: dict, schedule: str, blend: int, latent_stride: int) -> io.NodeOutput:
        spans, masks = scheduled(schedule, latent["samples"], blend, latent_stride)
        show_remarks(cls.hidden.unique_id, clip, {f"Frame {span.first}": span.text for span in spans})
        entries, bar = [], HostBar()
        for i, (span, mask) in enumerate(zip(spans, masks, strict=True)):
            entries += with_options(encode(clip, span.text), mask)
            bar(i + 1, len(spans), "prompts")
        return io.NodeOutput(entries)


def encode(clip: Any, text: str) -> list:
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def show_remarks(node_id: Any, clip: Any, texts: dict[str, str]) -> None:
    """Show on the node which words our text encoder could not read. Shows nothing for another CLIP."""
    remarks = {name: remark_on(clip, text) for name, text in texts.items()}
    if None not in remarks.values():
        lines = [f"{name}: {remark}" for name, remark in remarks.items() if remark]
        show_text(node_id, "\n".join(lines) or "The model knows all these words.")


def scheduled(
    schedule: str, samples: Tensor, blend: int, stride: int
) -> tuple[list[PromptSpan], list[dict[str, Any]]]:
    """The spans of a schedule, and for each the mask over the clip's frames that goes into CONDITIONING.

    samples  `(1, C, T, H, W)`, or frames as batch `(T, C, H, W)`; latent step k holds frame k * stride
    """
    if samples.ndim not in (4, 5):
        raise ValueError(
            f"the LATENT has the shape {tuple(samples.shape)}, but prompts over time need frames: a video "
            "latent, or a batch of frames."
        )
    steps = samples.shape[2] if samples.ndim == 5 else samples.shape[0]
    frames = (steps - 1) * stride + 1
    spans = parse(schedule, frames)
    masks = []
    for row in span_weights(spans, frames, blend)[:, ::stride]:
        mask = row.view(-1, 1, 1).expand(-1, *samples.shape[-2:])  # (T, H, W)
        masks.append({"mask": mask, "set_area_to_bounds": False})
    return spans, masks
