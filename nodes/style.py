"""Nodes for styles: mix one into a MODEL, show a row of how much of it, tune one on pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io
from torch import Tensor

from ..lumiere_core.diffusion.samplers import SAMPLERS
from ..lumiere_core.limits import check, within
from ..lumiere_core.media.grid import labelled
from ..lumiere_core.media.pictures import read_image
from ..lumiere_core.model.container import digest
from ..lumiere_core.model.style import (
    bundled_styles,
    check_style_name,
    read_style,
    reference_of,
)
from ..lumiere_core.train.style.examples import drawn_examples, how_many, squares
from ..lumiere_core.train.style.save import save_tuned
from ..lumiere_core.train.style.tune import Examples, check_examples, tune
from ..lumiere_core.train.world.looks import EXAMPLE_LOOK
from ..lumiere_core.train.world.scenes import LICENSE, TRAINED_ON
from .host.notify import show_here
from .host.progress import HostBar
from .host.sampling import sample_clip
from .host.style import architecture, image_model_of, with_model, with_style
from .load import FOLDER
from .sockets import advanced, schema, seed_input
from .tensors import frames_of, image_of

INSIDE = "styles"  # the folder in it that users' styles lie in
MOST_ALPHAS = 12
EXAMPLES_DRAWN = 12
MOMENTS_SHOWN = 4  # of a clip, one under the other
LAYERS = {True: "spatial", False: "all"}


def own_styles() -> dict[str, Path]:
    """Users' own styles, by the name of their file in `models/lumiere/styles`."""
    names = [n for n in folder_paths.get_filename_list(FOLDER) if Path(n).parts[0] == INSIDE]
    return {Path(*Path(n).parts[1:]).as_posix(): Path(folder_paths.get_full_path(FOLDER, n)) for n in names}


def style_file(style: str) -> Path:
    """The file of a choice. Raises ValueError saying where it should be."""
    known = {**own_styles(), **bundled_styles()}
    if style not in known:
        raise ValueError(
            f"there is no style {style!r}. Choose one from the list, or put the file into models/{FOLDER}/{INSIDE}."
        )
    return known[style]


def style_inputs() -> list:
    return [
        io.Combo.Input(
            "style",
            options=[*bundled_styles(), *own_styles()],
            tooltip="The bundled styles are for Lumiere mini. Your own come from models/lumiere/styles. Not used when "
            "style_model is connected.",
        )
    ]


def style_model_input() -> Any:
    return io.Model.Input(
        "style_model",
        optional=True,
        tooltip="Another MODEL of the same architecture, such as a fine-tune: its look is mixed in, in place of style.",
    )


def layers_input() -> Any:
    return advanced(
        io.Combo.Input(
            "layers",
            options=list(LAYERS.values()),
            default=LAYERS[True],
            optional=True,
            tooltip="spatial: layers that carry motion stay as they are (Lumiere, AnimateDiff, SVD). all: those are "
            "mixed, too. Models like Wan have no layers for motion alone: both are the same there.",
        )
    )


def mixed(model: Any, style: str, style_model: Any, alpha: float, layers: str) -> Any:
    """The MODEL with so much of the style. Raises ValueError where it does not fit."""
    spatial = layers == LAYERS[True]
    if style_model is not None:
        return with_model(model, style_model, alpha, spatial)
    return with_style(model, read_style(style_file(style)), alpha, spatial)


def reference_pictures(style: str, style_model: Any) -> Tensor:
    """What a style was tuned on as IMAGE `(1, H, W, 3)`; a grey picture where nothing shows it."""
    found = None if style_model is not None else reference_of(style_file(style))
    return (
        torch.full((1, 64, 64, 3), 0.5) if found is None else torch.from_numpy(read_image(found))[None] / 255
    )


def known_style(style: str | None) -> bool | str:
    """For the host's `validate_inputs`: True, or a sentence."""
    try:
        if style is not None:  # None: the name comes over a link
            style_file(style)
    except ValueError as error:
        return str(error)
    return True


class StyleInterpolate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_StyleInterpolate",
            display_name="Mix a Style into a Model",
            category="Lumiere/control",
            description="Mixes a style's weights with the MODEL's: alpha x style + (1 - alpha) x MODEL. Layers that "
            "carry motion stay as they are. Works with the bundled styles, your own, or any second MODEL of the same "
            "architecture.",
            search_aliases=[
                "style",
                "stylize",
                "style transfer",
                "lora",
                "model merge",
                "watercolor",
                "interpolate",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The MODEL that makes the clip."),
                *style_inputs(),
                io.Float.Input(
                    "alpha",
                    default=0.75,
                    **within("alpha"),
                    step=0.05,
                    tooltip="How much of the style: 0 is none, 1 is all. The paper takes 0.5 to 1.",
                ),
                style_model_input(),
                layers_input(),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="For any sampler."),
                io.Image.Output(
                    display_name="reference", tooltip="The pictures that the style was tuned on."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, style: str) -> bool | str:
        return known_style(style)

    @classmethod
    def fingerprint_inputs(cls, style: str, **_: Any) -> Any:
        return digest(style_file(style))  # other bytes may have the same name

    @classmethod
    def execute(
        cls, model: Any, style: str, alpha: float, style_model: Any = None, layers: str = LAYERS[True]
    ) -> io.NodeOutput:
        styled = mixed(model, style, style_model, alpha, layers)
        return io.NodeOutput(styled, reference_pictures(style, style_model))


class AlphaStrip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_AlphaStrip",
            display_name="Style Strip: Compare Alphas",
            category="Lumiere/inspect",
            description="Samples the same clip with more and more of a style and shows the results side by side, so "
            "that you can choose alpha by eye. Takes one sampling for each alpha.",
            search_aliases=["alpha strip", "xy plot", "compare", "grid", "style strength"],
            inputs=[
                io.Model.Input("model", tooltip="The MODEL without the style."),
                io.Conditioning.Input("positive", tooltip="What to show."),
                io.Conditioning.Input("negative", tooltip="What not to show."),
                io.Latent.Input("latent", tooltip="An empty clip, or an encoded one. One frame is quickest."),
                io.Vae.Input("vae", tooltip="The MODEL's VAE."),
                *style_inputs(),
                io.String.Input(
                    "alphas",
                    default="0, 0.25, 0.5, 0.75, 1",
                    tooltip=f"How much of the style, each from 0 to 1, with commas between; at most {MOST_ALPHAS}.",
                ),
                seed_input(),
                io.Int.Input("steps", default=10, **within("steps"), tooltip="Denoising steps."),
                io.Float.Input(
                    "cfg",
                    default=2.0,
                    **within("cfg"),
                    step=0.1,
                    tooltip="How closely the prompt is followed.",
                ),
                io.Combo.Input(
                    "sampler", options=list(SAMPLERS), default="dpmpp_2m", tooltip="As in Sample a Clip."
                ),
                style_model_input(),
                layers_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="grid",
                    tooltip="One picture: what the style was tuned on, then a column per alpha.",
                ),
                io.Image.Output(display_name="strip", tooltip="The clips side by side, as one clip."),
            ],
        )

    @classmethod
    def validate_inputs(cls, style: str) -> bool | str:
        return known_style(style)

    @classmethod
    def fingerprint_inputs(cls, style: str, **_: Any) -> Any:
        return digest(style_file(style))

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent: dict,
        vae: Any,
        style: str,
        alphas: str,
        seed: int,
        steps: int,
        cfg: float,
        sampler: str,
        style_model: Any = None,
        layers: str = LAYERS[True],
    ) -> io.NodeOutput:
        values = alphas_in(alphas)
        clips = []
        for alpha in values:
            styled = mixed(model, style, style_model, alpha, layers)
            made = sample_clip(styled, positive, negative, latent, seed, steps, cfg, sampler)
            image = vae.decode(made["samples"])
            clips.append(frames_of(image.reshape(-1, *image.shape[-3:])))
        shown = torch.linspace(0, len(clips[0]) - 1, min(MOMENTS_SHOWN, len(clips[0]))).long()
        columns = [list(clip[shown]) for clip in clips]
        words = [f"alpha {alpha:g}" for alpha in values]
        if style_model is None and reference_of(style_file(style)) is not None:
            columns.append(list(reference_pictures(style, None)))
            words.append(style)
        strip = torch.stack(
            [labelled([[clip[t]] for clip in clips], words[: len(clips)]) for t in range(len(clips[0]))]
        )
        return io.NodeOutput(labelled(columns, words)[None], strip)


def alphas_in(text: str) -> list[float]:
    """The numbers of a line. Raises ValueError for none, too many, or one outside 0 to 1."""
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not 1 <= len(values) <= MOST_ALPHAS:
        raise ValueError(
            f"alphas is {text[:60]!r}, but it has to be 1 to {MOST_ALPHAS} numbers with commas between. Try 0, 0.5, 1."
        )
    for value in values:
        check("alpha", value)
    return values


class TrainStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_TrainStyle",
            display_name="Train a Style on Pictures",
            category="Lumiere/control",
            description="Tunes a style (a LoRA) for a Lumiere MODEL on 1 to 20 of your pictures, and saves it in "
            "models/lumiere/styles. Takes minutes; cancel it whenever you like, nothing half-made is left.",
            search_aliases=["train lora", "fine-tune", "style training", "styledrop", "dreambooth"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Lumiere Model, the base model."),
                io.String.Input(
                    "name", default="my style", tooltip="The style's name in the list of styles."
                ),
                io.String.Input(
                    "captions",
                    default="",
                    multiline=True,
                    tooltip="What each picture shows, one line per picture, in words the model knows. What is named is "
                    "less likely to be taken for a part of the style. May be left empty.",
                ),
                io.Int.Input(
                    "steps",
                    default=250,
                    **within("style.steps"),
                    tooltip="Training steps. 250 suit most; more come closer to the pictures and lose the prompt.",
                ),
                seed_input("The random seed of the training."),
                advanced(
                    io.String.Input(
                        "license",
                        default="not stated",
                        optional=True,
                        tooltip="The licence of the pictures, a line that travels with the file.",
                    )
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="1 to 20 pictures in the style, as a batch. Without them it learns from twelve drawn "
                    "in gold, to try it.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="MODEL",
                    tooltip="With all of the style: for style_model of Mix a Style into a Model.",
                ),
                io.String.Output(display_name="file", tooltip="The file's name in models/lumiere/styles."),
                io.Image.Output(
                    display_name="pictures", tooltip="The pictures as the MODEL saw them, at its size."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        name: str,
        captions: str,
        steps: int,
        seed: int,
        license: str = "not stated",
        images: Tensor | None = None,
    ) -> io.NodeOutput:
        path = Path(folder_paths.models_dir) / FOLDER / INSIDE / check_style_name(name)
        lines = [line.strip() for line in captions.splitlines() if line.strip()]
        if images is not None:
            check_examples(len(images), len(lines))
        network = image_model_of(model)
        examples = examples_of(images, lines, network.spec.size)
        count = how_many(len(examples.pictures))
        changes = tune(network, examples, steps, seed, HostBar())
        written = save_tuned(
            path,
            changes,
            examples,
            license=license if images is not None else LICENSE,
            trained_on=f"{count} given to ComfyUI" if images is not None else TRAINED_ON,
            made_for=architecture(model),
        )
        show_here(f"{count}, {steps} steps. Saved as models/{FOLDER}/{INSIDE}/{written.name}.")
        pictures = image_of(examples.pictures.transpose(0, 1)[None])
        return io.NodeOutput(with_style(model, read_style(written), 1.0), written.name, pictures)


def examples_of(images: Tensor | None, captions: list[str], size: int) -> Examples:
    """An artist's pictures, or without any those that are drawn to try it."""
    if images is None:
        return drawn_examples(EXAMPLE_LOOK, size, count=EXAMPLES_DRAWN)
    return Examples(squares(list(frames_of(images)), size), captions or [""] * len(images))
