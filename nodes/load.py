"""The node that loads a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..lumiere_core.config import MINI_LABEL
from ..lumiere_core.model.checkpoint import bundled, read
from ..lumiere_core.model.container import digest
from .host.clip import make_clip
from .host.model import make_model
from .host.vae import PixelVAE
from .sockets import schema

FOLDER = "lumiere"
ALIASES = {  # stable names: files may be replaced under them
    f"{MINI_LABEL}, base": "base",
    f"{MINI_LABEL}, SSR": "ssr",
}


def register_folder() -> None:
    """Register `models/lumiere`, the folder for users' own files."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    paths, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (paths, {".safetensors"})


def models_of_users() -> list[str]:
    """Files in `models/lumiere`; its folder of styles is another node's."""
    return [name for name in folder_paths.get_filename_list(FOLDER) if Path(name).parts[0] != "styles"]


def file_of(choice: str) -> Path:
    """The file of a choice in the list. Raises ValueError saying where it should be."""
    if choice in ALIASES:
        return bundled(ALIASES[choice])
    found = folder_paths.get_full_path(FOLDER, choice)
    if found is None:
        raise ValueError(
            f"there is no model {choice!r}. Choose one from the list, or put the file into models/{FOLDER}."
        )
    return Path(found)


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_LoadModel",
            display_name="Load Lumiere Model",
            category="Lumiere/start",
            description="Loads a Lumiere model. The bundled mini models are small and were "
            "trained only on drawn pictures of balloons, boats, fish, windmills and "
            "campfires.",
            search_aliases=["lumiere", "text to video", "t2v", "video model", "checkpoint"],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[*ALIASES, *models_of_users()],
                    tooltip="The bundled models know a small drawn world only. Other files come from models/lumiere.",
                )
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="For any sampler."),
                io.Clip.Output(display_name="CLIP", tooltip="Reads the words the model knows."),
                io.Vae.Output(
                    display_name="VAE",
                    tooltip="For VAE Decode. The model works on pixels, so nothing is lost.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, model_name: str) -> bool | str:
        try:
            if model_name is not None:  # None: the name comes over a link
                file_of(model_name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, model_name: str) -> Any:
        return digest(file_of(model_name))  # other bytes may have the same size and time

    @classmethod
    def execute(cls, model_name: str) -> io.NodeOutput:
        weights = read(file_of(model_name))
        return io.NodeOutput(make_model(weights), make_clip(weights), PixelVAE(weights.spec))
