"""Nodes that make the artist's own image MODEL move, by public motion files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..lumiere_core.limits import within
from ..lumiere_core.model.animatediff.files import open_motion, read_motion_lora
from ..lumiere_core.model.backbones.trained import is_trained, read_trained
from .host.image.inflate import SCHEDULES, inflated, motion_of, with_motion_lora
from .host.image.spacetime import strided
from .sockets import advanced, schema
from .tensors import strength_of

MODES = {"compat": inflated, "lumiere": strided}
MOTION, LORAS = "animatediff_models", "animatediff_motion_lora"  # where AnimateDiff's users have them


def register_motion_folders() -> None:
    """Name the folders of motion files, unless another pack did."""
    for folder in (MOTION, LORAS):
        folder_paths.add_model_folder_path(folder, str(Path(folder_paths.models_dir) / folder))
        # None named means any file: a pickle is listed too, and refused with the way to convert it.
        folder_paths.folder_names_and_paths[folder][1].update(folder_paths.supported_pt_extensions)


def motion_path(folder: str, choice: str) -> Path:
    """The file of a choice. Raises ValueError saying where it should be."""
    found = folder_paths.get_full_path(folder, choice)
    if found is None:
        raise ValueError(
            f"there is no file {choice!r}. Put it into models/{folder}, then refresh (key R) and choose it from "
            "the list. The help page of this node says which files there are."
        )
    return Path(found)


def size_and_time(path: Path) -> list:
    return [path.stat().st_size, path.stat().st_mtime_ns]


class Inflate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_Inflate",
            display_name="Inflate: your image MODEL makes clips",
            category="Lumiere/start",
            description="Adds a public AnimateDiff motion file to your own SD1.5 or SDXL MODEL, so that a batch of "
            "frames becomes a clip. LoRAs, ControlNet and samplers work as before.",
            search_aliases=[
                "animatediff",
                "motion module",
                "motion model",
                "sd1.5 video",
                "hotshot",
                "inflate",
            ],
            inputs=[
                io.Model.Input(
                    "model", tooltip="SD1.5, or SDXL with a motion file for it. LoRAs before or after."
                ),
                io.Combo.Input(
                    "motion_file",
                    options=folder_paths.get_filename_list(MOTION),
                    tooltip="From models/animatediff_models: AnimateDiff v1, v2, v3, SDXL beta, HotShot-XL; for mode "
                    "lumiere also layers that you trained.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    **within("motion.strength"),
                    step=0.05,
                    tooltip="How much of the motion file acts. 1 is as it was trained. At 0 each frame is a "
                    "picture of its own.",
                ),
                advanced(
                    io.Combo.Input(
                        "noise_levels",
                        options=list(SCHEDULES),
                        default="auto",
                        tooltip="The beta schedule. auto takes the one that the motion file was trained with.",
                    )
                ),
                io.Mask.Input(
                    "strength_mask",
                    optional=True,
                    tooltip="Multiplies strength at each place: one mask for all frames, or one each. To hold a part "
                    "of the picture still, mask the LATENT instead.",
                ),
                advanced(
                    io.Combo.Input(
                        "mode",
                        options=list(MODES),
                        default="compat",
                        optional=True,
                        tooltip="compat: ComfyUI's own U-Net with the whole motion file; take this. lumiere: strided "
                        "in time, with layers trained for it, or the file's coarsest modules: frames go in eights.",
                    )
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="MODEL",
                    tooltip="For any sampler. The LATENT is a batch of frames: Empty Latent Image with batch_size 16.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, motion_file: str, **_: Any) -> Any:
        return size_and_time(motion_path(MOTION, motion_file))

    @classmethod
    def execute(
        cls,
        model: Any,
        motion_file: str,
        strength: float,
        noise_levels: str,
        strength_mask: Any = None,
        mode: str = "compat",
    ) -> io.NodeOutput:
        path = motion_path(MOTION, motion_file)
        file = read_trained(path) if is_trained(path) else open_motion(path)
        how_much = strength if strength_mask is None else strength * strength_of(strength_mask)
        return io.NodeOutput(MODES[mode](model, file, how_much, noise_levels))


class MotionLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="Lumiere_MotionLora",
            display_name="Motion LoRA",
            category="Lumiere/control",
            description="Changes the motion of an inflated MODEL: pans, zooms, rolls. Several may follow each other.",
            search_aliases=["animatediff lora", "camera motion", "pan", "zoom"],
            inputs=[
                io.Model.Input("model", tooltip="From Inflate."),
                io.Combo.Input(
                    "lora_name",
                    options=folder_paths.get_filename_list(LORAS),
                    tooltip="From models/animatediff_motion_lora. Most were made for AnimateDiff v2.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    **within("lora.strength"),
                    step=0.05,
                    tooltip="How strongly the LoRA acts. 0 is off.",
                ),
            ],
            outputs=[io.Model.Output(display_name="MODEL")],
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: str, **_: Any) -> Any:
        return size_and_time(motion_path(LORAS, lora_name))

    @classmethod
    def execute(cls, model: Any, lora_name: str, strength: float) -> io.NodeOutput:
        motion = motion_of(model)
        factors = read_motion_lora(motion_path(LORAS, lora_name), motion.modules, motion.name)
        return io.NodeOutput(with_motion_lora(model, factors, strength))
