"""Motion files as they are published: AnimateDiff v1 to v3 and SDXL beta, HotShot-XL, and LoRAs for them.

Three layouts are read: AnimateDiff's own, diffusers' and HotShot's. What a file is, its tensors' names and shapes tell;
its name tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..container import (
    NoDraws,
    check_size_of,
    check_tensors,
    cut_off,
    not_finite,
    open_header,
    read_header,
    some,
)
from .network import MotionModules, MotionSpec

Shapes = dict[str, tuple[int, ...]]

LORA = re.compile(r"lora[_.]?(up|down|A|B)?\b|_lora\.")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
SOURCE = "Motion files that fit are listed in the README, such as mm_sd15_v3.safetensors."
CONVERT = (
    "python -c \"import torch, safetensors.torch as s; d = torch.load('{0}', 'cpu', weights_only=True); "
    "s.save_file({{k: v.contiguous() for k, v in d.get('state_dict', d).items()}}, '{1}.safetensors')\""
)

# What stands in a name of the layouts of HotShot and diffusers, and what AnimateDiff has there.
RENAMED = (
    (r"^(module|unet)\.", ""),
    (r"\.temporal_attentions\.(\d+)\.", r".motion_modules.\1."),
    (r"\.motion_modules\.(\d+)\.(?!temporal_transformer\.)", r".motion_modules.\1.temporal_transformer."),
    (r"\.pos_encoder\.positional_encoding$", ".pos_encoder.pe"),
    (r"(\.transformer_blocks\.\d+)\.attn1\.", r"\1.attention_blocks.0."),
    (r"(\.transformer_blocks\.\d+)\.attn2\.", r"\1.attention_blocks.1."),
    (r"(\.transformer_blocks\.\d+)\.norm1\.", r"\1.norms.0."),
    (r"(\.transformer_blocks\.\d+)\.norm2\.", r"\1.norms.1."),
    (r"(\.transformer_blocks\.\d+)\.norm3\.", r"\1.ff_norm."),
)
X4_WIDTHS = (1, 2, 2, 4)  # of the x4 upscaler's levels; SD1.5's are 1, 2, 4, 4
SHARED = ".pos_embed.pe"  # diffusers keeps one position encoding for both attentions


def names_of(name: str) -> list[str]:
    """The names in AnimateDiff's layout of one tensor in any of the three."""
    for pattern, to in RENAMED:
        name = re.sub(pattern, to, name, count=1)
    if name.endswith(SHARED):
        front = name.removesuffix(SHARED)
        return [f"{front}.attention_blocks.{i}.pos_encoder.pe" for i in (0, 1)]
    return [name]


def counted(pattern: str, names: Iterable[str]) -> int:
    """One more than the largest number that the pattern finds, at most 64."""
    found = [int(match[1][:3]) for name in names if (match := re.search(pattern, name))]
    return min(max(found, default=-1) + 1, 64)


def spec_of(shapes: Shapes, hotshot: bool) -> MotionSpec | None:
    """What a file of these tensors is, named in AnimateDiff's layout; None for what is no motion file."""
    levels = counted(r"^down_blocks\.(\d+)\.motion_modules\.", shapes)
    if levels not in (3, 4):
        return None
    widths = (f"down_blocks.{i}.motion_modules.0.temporal_transformer.proj_in.weight" for i in range(levels))
    channels = tuple((shapes.get(name) or (0,))[-1] for name in widths)
    rows = [s[1] for name, s in shapes.items() if name.endswith("pos_encoder.pe") and len(s) == 3]
    spec = MotionSpec(
        name="AnimateDiff v1",
        base="SD1.5",
        channels=channels,
        frames=min(rows, default=32),
        middle=any(name.startswith("mid_block.") for name in shapes),
        attentions=counted(r"\.attention_blocks\.(\d+)\.", shapes),
        blocks=counted(r"^down_blocks\.\d+\.motion_modules\.(\d+)\.", shapes),
    )
    if any(c % spec.groups or not 0 < c <= 8192 for c in channels) or not 0 < spec.frames <= 4096:
        return None
    if levels == 3 and (hotshot or spec.frames < 32):
        found = replace(spec, name="HotShot-XL", base="SDXL", window=8, clip_norms=True)
        return replace(found, betas="scaled linear", license="OpenRAIL++")
    if levels == 3:
        return replace(spec, name="AnimateDiff SDXL beta", base="SDXL", betas="scaled linear to 0.02")
    if tuple(c / channels[0] for c in channels) == X4_WIDTHS:
        found = replace(spec, name="temporal layers for the x4 upscaler", base="the SD x4 upscaler")
        return replace(found, betas="", license="its author's")
    if spec.middle:
        return replace(spec, name="AnimateDiff v2")
    return replace(spec, name="AnimateDiff v3") if spec.frames > 24 else replace(spec, clip_norms=True)


def refuse_pickle(path: Path) -> None:
    """Raises ValueError for a file that Python's pickle wrote, with the way to convert it."""
    try:
        read_header(path)
    except OSError:
        return  # another sentence says that
    except ValueError:
        with path.open("rb") as file:
            begins = file.read(2)
        if begins == b"PK" or begins[:1] == b"\x80":
            raise ValueError(
                f"{path.name} is a pickle, which may run any code as it is read, so it is not opened. Take the "
                f"same file as .safetensors, or convert it once: {CONVERT.format(path.name, path.stem)}"
            ) from None


def kind_of(names: Iterable[str]) -> str:
    """What a safetensors file is that is no motion file, as far as its names tell."""
    names = list(names)
    if any(LORA.search(name) for name in names):
        motion = any("motion_modules" in name for name in names)
        return "a motion LoRA: give it to Motion LoRA" if motion else "a LoRA: give it to ComfyUI's Load LoRA"
    if any(name.startswith(("model.diffusion_model.", "input_blocks.")) for name in names):
        return "a checkpoint of an image model: give it to Load Checkpoint"
    return "of another kind"


@dataclass(frozen=True)
class MotionFile:
    """What a motion file is, before its values are read."""

    spec: MotionSpec
    path: Path
    names: dict[str, list[str]]  # each of its tensors in AnimateDiff's layout
    dtype: str
    parameters: int

    def load(self, modules: MotionModules, dtype: torch.dtype | None = None) -> None:
        """Copy the values into the modules; dtype is for layers that keep what they are given. Raises ValueError."""
        tensors = tensors_of(self.path)  # mapped while it is copied, and no longer
        if broken := not_finite(tensors):
            raise ValueError(
                f"{self.path.name} holds NaN or infinity in {len(broken)} of its tensors ({some(broken)}). {SOURCE}"
            )
        copies = {
            ours: tensors[name].to(dtype, copy=True) for name, all in self.names.items() for ours in all
        }
        modules.load_state_dict(copies)


def is_motion(names: Iterable[str]) -> bool:
    """Whether tensors of these names are a motion file or a motion LoRA."""
    return any("motion_modules." in name or "temporal_attentions." in name for name in names)


def named_as_motion(path: Path) -> bool:
    """Whether a file is a safetensors file whose tensors are named as motion, or a pickle. False for any other."""
    try:
        return is_motion(read_header(path).shapes)
    except (OSError, ValueError):
        return path.suffix.lower() in PICKLES


def open_motion(path: str | Path) -> MotionFile:
    """Find out what a motion file is, from its header. Raises ValueError with what is wrong and what to do."""
    path = Path(path)
    refuse_pickle(path)
    header = open_header(path)
    names = {name: names_of(name) for name in header.shapes}
    if any(LORA.search(name) for name in names) or not is_motion(names):
        raise ValueError(f"{path.name} is no motion file but {kind_of(names)}. {SOURCE}")
    shapes = {ours: header.shapes[name] for name, all in names.items() for ours in all}
    spec = spec_of(shapes, hotshot=any(".temporal_attentions." in name for name in names))
    if spec is None:
        raise ValueError(
            f"{path.name} is a motion file of a kind that is not known here: its levels or widths are neither "
            f"SD1.5's nor SDXL's. {SOURCE}"
        )
    least = len(spec.places) * (12 + 8 * spec.attentions)
    if least > 2 * len(shapes):
        raise ValueError(f"{path.name} names places for {least} tensors, but holds {len(shapes)}. {SOURCE}")
    with torch.device("meta"), NoDraws():
        wanted = {name: tuple(t.shape) for name, t in MotionModules(spec).state_dict().items()}
    dtypes = {ours: header.dtypes[name] for name, all in names.items() for ours in all}
    check_tensors(replace(header, shapes=shapes, dtypes=dtypes), wanted, path.name, SOURCE)
    check_size_of(header, path.name)
    count = sum(torch.Size(shape).numel() for shape in header.shapes.values())
    return MotionFile(spec, path, names, " and ".join(sorted(set(dtypes.values()))), count)


# ---------------------------------------------------------------------------------------------------------- LoRAs
# "to_q_lora.down", "to_out.0.lora_B" and their like: the layer, and which factor it is
FACTOR = re.compile(r"\.(?:processor\.)?(to_[qkv]|to_out)(?:\.0)?[._]lora[._](A|B|down|up)\.weight$")


def factor_of(name: str) -> tuple[str, str] | None:
    """(the weight it changes, "up" or "down") of one tensor of a motion LoRA; None for any other."""
    match = FACTOR.search(name)
    if match is None:
        return None
    layer = match[1] + (".0" if match[1] == "to_out" else "")
    (weight,) = names_of(f"{name[: match.start()]}.{layer}.weight")
    return weight, {"A": "down", "B": "up"}.get(match[2], match[2])


def read_motion_lora(
    path: str | Path, modules: MotionModules, motion_name: str
) -> dict[str, dict[str, Tensor]]:
    """A motion LoRA's factors: `{weight: {"up": (out, r), "down": (r, in)}}`. Raises ValueError for a misfit."""
    path = Path(path)
    refuse_pickle(path)
    header = open_header(path)
    factors = {name: factor_of(name) for name in header.shapes}
    if not any(factors.values()) or not is_motion(factors):
        what = "a motion file: give it to Inflate" if is_motion(factors) else kind_of(factors)
        raise ValueError(f"{path.name} is no motion LoRA but {what}.")
    sizes = {name: tuple(t.shape) for name, t in modules.state_dict().items()}
    pairs: dict[str, dict[str, str]] = {}
    for name, factor in factors.items():
        if factor:
            pairs.setdefault(factor[0], {})[factor[1]] = name
    odd = {name for name, factor in factors.items() if factor is None}
    odd |= {name for pair in pairs.values() if len(pair) < 2 for name in pair.values()}
    for weight, pair in pairs.items():
        if len(pair) == 2:
            up, down = (header.shapes[pair[which]] for which in ("up", "down"))
            fits = len(up) == len(down) == 2 and up[1] == down[0]
            if not fits or sizes.get(weight) != (up[0], down[1]):
                odd |= set(pair.values())
    if odd:
        where = {name.split(".processor.")[0].split(".temporal_transformer.")[0] for name in odd}
        raise ValueError(
            f"{path.name} does not fit {motion_name} ({modules.spec.name}) in {len(odd)} of its {len(factors)} "
            f"tensors, at {some(where)}. Motion LoRAs fit the kind of file they were made for, and most were made for "
            "AnimateDiff v2."
        )
    check_tensors(header, header.shapes, path.name, "Take another file.")
    check_size_of(header, path.name)
    tensors = tensors_of(path)
    return {
        weight: {which: tensors[name].clone() for which, name in pair.items()}
        for weight, pair in pairs.items()
    }


def tensors_of(path: Path) -> dict[str, Tensor]:
    """What a file holds. Raises ValueError where it is not the one any more whose header was read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise cut_off(path.name) from error
