"""Styles: other weights of the image model, mixed with the original ones (Lumiere, section 5).

A style is an ordinary LoRA file, or a whole weights file. Only the image model's weights are mixed; all that inflation
added stays as it is, so the motion stays that of the video model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..limits import check
from ..outputs import place, unfinished
from ..rules import line
from .checkpoint import MODEL_FILE, WEIGHTS_FOLDER, Lumiere, read
from .container import BYTES, Header, not_finite, open_header, read_tensors, said_of, some, to_bytes

STYLES_FOLDER = WEIGHTS_FOLDER / "styles"
FORMAT = "lumiere-style"
HOST = "diffusion_model."  # what ComfyUI puts before a network's names; its LoRA files have it, too
KOHYA = "lora_unet_"  # the older way: the name with "_" for every "."
PAIRS = ((".lora_up.weight", ".lora_down.weight"), (".lora_B.weight", ".lora_A.weight"))  # kohya's, PEFT's
REMEDY = "Use a style made by `python -m lumiere_core train style`, a LoRA for this model, or a whole weights file."
# What carries time in the video models of the host: ours, AnimateDiff's, Stable Video Diffusion's.
OF_TIME = ("temporal.", "motion_modules.", "time_stack.", "time_mixer.", "time_pos_embed.")


def is_spatial(name: str) -> bool:
    """Whether a weight of that name works on single pictures."""
    return not any(f".{name}".find(f".{part}") >= 0 for part in OF_TIME)


@dataclass(frozen=True)
class LowRank:
    """A change of one weight: `scale * up @ down`. up `(O, r)`, down `(r, I)`, kernel sizes behind."""

    up: Tensor
    down: Tensor
    scale: float = 1.0

    @property
    def size(self) -> int:
        """Values of the weight that this changes."""
        return self.up.shape[0] * math.prod(self.down.shape[1:])

    def change(self, shape: tuple[int, ...]) -> Tensor:
        """The change as large as the weight, float32."""
        return (self.scale * self.up.float().flatten(1) @ self.down.float().flatten(1)).reshape(shape)


@dataclass(frozen=True)
class Style:
    """A style file, read and checked: changes of weights by their file's names, or whole weights by their own."""

    path: Path
    changes: dict[str, LowRank] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    license: str = ""  # empty where the file does not say
    trained_on: str = ""
    hash: str = ""

    @property
    def name(self) -> str:
        return self.path.stem


def bundled_styles() -> dict[str, Path]:
    """The styles that come with the pack, by name."""
    return {path.stem.replace("-", " "): path for path in sorted(STYLES_FOLDER.glob("*.safetensors"))}


def find_style(name: str) -> Path:
    """The file of a bundled style's name, or of a path. Raises ValueError with the names there are."""
    known = bundled_styles()
    if name in known or Path(name).is_file():
        return known.get(name, Path(name))
    raise ValueError(f"there is no style {name!r}. There are {', '.join(known)}; or name a file.")


def check_style_name(name: str) -> str:
    """The file's name for a style's. Raises ValueError for what is none."""
    name = name.strip().replace(" ", "-")
    if (
        not name
        or not name.isprintable()
        or name.startswith(".")
        or set(name) & set('/\\<>:"|?*')
        or len(name) > 100
    ):
        raise ValueError(
            f"name is {name[:40]!r}, but it has to be a file's name: letters, digits, spaces. Try my style."
        )
    return f"{name}.safetensors"


def reference_of(path: Path) -> Path | None:
    """The picture beside a style file that shows what it was tuned on; None where there is none."""
    return found if (found := path.with_suffix(".png")).is_file() else None


# ------------------------------------------------------------------------------------------------------------- files
def read_style(path: str | Path) -> Style:
    """Read and check a style file. Raises ValueError naming what is wrong with it and what to do."""
    path = Path(path)
    header = open_header(path)
    if header.metadata.get("format") == MODEL_FILE.format:
        whole = read(path)
        return Style(path, {}, whole.part("network"), whole.license, whole.trained_on, whole.hash)
    stems = {name: pair for name in header.shapes for pair in PAIRS if name.endswith(pair[0])}
    stems = {
        name.removesuffix(up): (name, name.removesuffix(up) + down) for name, (up, down) in stems.items()
    }
    check_pairs(path, header, stems)
    tensors, hashed = read_tensors(path, header, REMEDY)
    changes = {}
    for stem, (up, down) in stems.items():
        rank = tensors[down].shape[0]
        scale = tensors.get(f"{stem}.alpha", torch.tensor(float(rank))).float().item() / rank
        changes[stem] = LowRank(tensors[up], tensors[down], scale)
    return Style(path, changes, {}, **said_of(header), hash=hashed)


def check_pairs(path: Path, header: Header, stems: dict[str, tuple[str, str]]) -> None:
    """Raises ValueError where a file holds no LoRA, or more than one that is read here."""
    known = {name for pair in stems.values() for name in pair} | {f"{stem}.alpha" for stem in stems}
    if not stems:
        raise ValueError(f"{path.name} holds no LoRA and no Lumiere model. {REMEDY}")
    if strange := header.shapes.keys() - known:
        raise ValueError(
            f"{path.name} holds {len(strange)} tensors that are no plain LoRA ({some(strange)}). {REMEDY}"
        )
    if dtypes := {name for name, dtype in header.dtypes.items() if dtype not in BYTES}:
        raise ValueError(
            f"{path.name} has dtypes other than {', '.join(BYTES)} in {len(dtypes)} tensors ({some(dtypes)}). {REMEDY}"
        )
    for stem, (up, down) in stems.items():
        shapes = header.shapes[up], header.shapes.get(down, ())
        flat = any(len(shape) < 2 or 0 in shape for shape in shapes)
        if flat or math.prod(shapes[0][1:]) != shapes[1][0]:
            raise ValueError(f"{path.name} has no pair of matrices for {some([stem])}. {REMEDY}")
        if header.shapes.get(f"{stem}.alpha", ()) not in ((), (1,)):
            raise ValueError(f"{path.name} has no single number in {some([stem])}.alpha. {REMEDY}")


def save_style(
    path: Path,
    changes: Mapping[str, LowRank],
    *,
    license: str,
    trained_on: str,
    made_for: str,
    overwrite: bool = False,
) -> Path:
    """Write a LoRA file that this pack and ComfyUI's LoRA loaders read, float16, whole or not at all; where it went.

    changes by the network's own names of weights. license, trained_on, made_for: a line each, which travel with it. A
    name that is taken gets a number, unless overwrite. Raises ValueError for values that are not finite, and where the
    file cannot be written.
    """
    tensors = {}
    for name, change in changes.items():
        stem = HOST + name.removesuffix(".weight")
        tensors[f"{stem}.lora_up.weight"] = change.up
        tensors[f"{stem}.lora_down.weight"] = change.down
        tensors[f"{stem}.alpha"] = torch.tensor(change.scale * change.down.shape[0])
    tensors = {name: t.detach().to("cpu", torch.float16).contiguous() for name, t in tensors.items()}
    if broken := not_finite(tensors):
        raise ValueError(
            f"the style holds NaN or infinity in {len(broken)} of {len(tensors)} tensors, so nothing is written. Train "
            "it with other pictures or fewer steps."
        )
    facts = {"format": FORMAT, "license": license, "trained_on": trained_on, "made_for": made_for}
    facts = {name: line(0, 500)(name, value) for name, value in facts.items()}
    with unfinished(path) as part:
        part.write_bytes(to_bytes(tensors, facts))
        return place(part, path, overwrite)


# ------------------------------------------------------------------------------------------------------------ mixing
def matched(style: Style, shapes: Mapping[str, tuple[int, ...]], model: str) -> dict[str, LowRank]:
    """A LoRA's changes by the names of a network's weights. Raises ValueError naming style and model where one of them
    has no weight there, or another size."""
    stems = {name.removesuffix(".weight"): name for name in shapes}
    stems = {HOST + stem: name for stem, name in stems.items()} | {
        KOHYA + stem.replace(".", "_"): name for stem, name in stems.items()
    }
    lost = [stem for stem in style.changes if stem not in stems]
    found = {stems[stem]: change for stem, change in style.changes.items() if stem in stems}
    lost += [name for name, change in found.items() if not fits(change, shapes[name])]
    refuse(lost, len(style.changes), style.name, model)
    return found


def fits(change: LowRank, shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and change.up.shape[0] == shape[0] and change.size == math.prod(shape)


def check_same(
    style: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]], name: str, model: str
) -> None:
    """Raises ValueError naming both where two sets of weights have not the same names and sizes."""
    names = style.keys() | shapes.keys()
    refuse([key for key in names if style.get(key) != shapes.get(key)], len(names), name, model)


def refuse(lost: list[str], count: int, style: str, model: str) -> None:
    if lost:
        raise ValueError(
            f"the style {style} does not fit {model}: {len(lost)} of {count} weights have no counterpart of the same "
            f"size ({some(lost)}). Choose a style made for that model."
        )


def interpolated(
    weights: Mapping[str, Tensor], style: Style, alpha: float, model: str, spatial: bool = True
) -> dict[str, Tensor]:
    """`alpha * W_style + (1 - alpha) * W_orig` of the weights that the style changes (Lumiere, section 5).

    weights: a network's, by name. alpha: 0 is the model itself, 1 the style; the paper takes 0.5 to 1. spatial: only
    the image model's weights are mixed. Raises ValueError for an alpha outside, and for a style of another model.
    """
    check("alpha", alpha)
    shapes = {name: tuple(w.shape) for name, w in weights.items() if is_spatial(name) or not spatial}
    if style.changes:
        found = chosen(style, {name: tuple(w.shape) for name, w in weights.items()}, model, spatial)
        return {name: weights[name] + alpha * change.change(shapes[name]) for name, change in found.items()}
    whole = {name: w for name, w in style.weights.items() if is_spatial(name) or not spatial}
    check_same({name: tuple(w.shape) for name, w in whole.items()}, shapes, style.name, model)
    return {name: alpha * whole[name].to(weights[name]) + (1 - alpha) * weights[name] for name in shapes}


def chosen(
    style: Style, shapes: Mapping[str, tuple[int, ...]], model: str, spatial: bool = True
) -> dict[str, LowRank]:
    """A LoRA's changes by the names of a network's weights, of the spatial ones or of all. Raises ValueError."""
    found = matched(style, shapes, model)
    return {name: change for name, change in found.items() if is_spatial(name) or not spatial}


def give_style(model: Lumiere, style: Style, alpha: float) -> None:
    """Mix a style into a model, in place. Raises ValueError where it was made for another one."""
    weights = model.network.state_dict()
    mixed = interpolated({k: w.float().cpu() for k, w in weights.items()}, style, alpha, model.spec.name)
    with torch.no_grad():
        for name, w in mixed.items():
            weights[name].copy_(w)
