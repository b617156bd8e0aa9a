"""Image U-Nets as they are published: Stable Diffusion 1.5, its inpainting model, 2.1, SDXL, and the x4 upscaler.

Two layouts are read: LDM's own, in a full checkpoint or bare, and diffusers'. What a file is, its tensors' names and
shapes tell; what they cannot tell (heads, what the network predicts, its noise levels) the family's row does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ...config import UNetSpec
from ..animatediff.files import Shapes, refuse_pickle
from ..container import NoDraws, check_size_of, check_tensors, cut_off, not_finite, open_header, some
from ..unet import UNet

FULL = "model.diffusion_model."  # what a full checkpoint has in front of its U-Net's names
CONTROL = ("control_model.", "input_hint_block.", "controlnet_cond_embedding.")
READ_HERE = "Files that are read: Stable Diffusion 1.5, 2.1, SDXL and the x4 upscaler, in safetensors."


@dataclass(frozen=True)
class Family:
    """What a file's tensors do not tell. Each can be overridden."""

    name: str
    heads: int  # of every attention; 0: 64 channels each
    prediction: str  # a row of process.PREDICTIONS
    betas: str  # a row of animatediff.network.BETAS
    latent_scale: float
    license: str
    cell: int = 8  # pixels a side of a latent's cell


SD15 = Family("SD1.5", 8, "eps", "scaled linear", 0.18215, "OpenRAIL-M")
SD2 = Family(
    "SD2", 0, "v", "scaled linear", 0.18215, "OpenRAIL++"
)  # its "base" predicts eps: no tensor tells
SDXL = Family("SDXL", 0, "eps", "scaled linear", 0.13025, "OpenRAIL++")
X4 = Family("the SD x4 upscaler", 8, "v", "scaled linear x4", 0.08333, "OpenRAIL++", cell=4)
FAMILIES = {family.name: family for family in (SD15, SD2, SDXL, X4)}

# -------------------------------------------------------------------------------------------------------- layouts
IN_RES = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTSIDE = {  # of the blocks: diffusers' names and LDM's
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding": "label_emb",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
PLACE = re.compile(r"(down|up)_blocks\.(\d{1,2})\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.")


def from_diffusers(names: Iterable[str]) -> dict[str, str]:
    """Each of diffusers' names, and LDM's name for it; names that are not known stay."""
    names = set(names)
    count = len({m[1] for name in names if (m := re.match(r"down_blocks\.0\.resnets\.(\d)\.", name))})
    attends = {m[1] for name in names if (m := re.match(r"up_blocks\.(\d{1,2})\.attentions\.", name))}
    more, found = (
        count + 1,
        {},
    )  # entries of a level: an encoder's ResBlocks and its resize, a decoder's ResBlocks
    for name in names:
        ours = name
        for theirs, front in OUTSIDE.items():
            if name.startswith(f"{theirs}."):
                ours = front + name.removeprefix(theirs)
        if match := PLACE.match(name):
            side, level, kind, number = match[1], int(match[2]), match[3], int(match[4])
            rest = name[match.end() :]
            first = 1 + level * more if side == "down" else level * more
            ours = {
                "resnets": f"{first + number}.0.{rest}",
                "attentions": f"{first + number}.1.{rest}",
                "downsamplers": f"{first + count}.0.{rest.replace('conv.', 'op.', 1)}",
                "upsamplers": f"{first + count}.{1 + (match[2] in attends)}.{rest}",
            }[kind]
            ours = f"{'input' if side == 'down' else 'output'}_blocks.{ours}"
        if ".resnets." in name:
            layer, _, rest = name.rpartition(".resnets.")[2].partition(".")[2].partition(".")
            ours = ours.replace(f".{layer}.", f".{IN_RES.get(layer, layer)}.", 1)
        found[name] = ours
    return found


def to_ldm(names: Iterable[str]) -> dict[str, str]:
    """Each name of a file's U-Net, and LDM's own name for it. A full checkpoint's other tensors are left out."""
    names = list(names)
    if any(name.startswith(FULL) for name in names):
        return {name: name.removeprefix(FULL) for name in names if name.startswith(FULL)}
    return from_diffusers(names) if "conv_in.weight" in names else {name: name for name in names}


def is_unet(names: Iterable[str]) -> bool:
    """Whether a file with these tensors has an image model's U-Net in one of the layouts."""
    first = {f"{FULL}input_blocks.0.0.weight", "input_blocks.0.0.weight", "conv_in.weight"}
    return not first.isdisjoint(names)


# ----------------------------------------------------------------------------------------------------------- specs
def spec_of_unet(shapes: Shapes) -> tuple[Family, UNetSpec] | None:
    """What a U-Net of these tensors is, named as LDM has them; None for one of no family known here."""
    found: dict[str, list] = {"channels": [], "blocks": [], "attention": [], "text_only": []}

    def depth(block: str) -> int:
        pattern = re.compile(re.escape(f"{block}.1.transformer_blocks.") + r"(\d{1,2})\.")
        return 1 + max((int(m[1]) for name in shapes if (m := pattern.match(name))), default=-1)

    def shape(name: str) -> tuple[int, ...]:
        return shapes.get(f"{name}.weight", ())

    def attends(block: str, layer: str) -> tuple[int, ...]:
        return shape(f"{block}.1.transformer_blocks.0.{layer}")

    first, time, last = shape("input_blocks.0.0"), shape("time_embed.0"), shape("out.2")
    if not (len(first) == len(last) == 4 and len(time) == 2) or first[0] % 32 or not 0 < first[0] <= 8192:
        return None
    contexts, projections, new = set(), set(), True
    for i in range(1, 64):
        block = f"input_blocks.{i}"
        if shape(f"{block}.0.op"):
            new = True
            continue
        if len(conv := shape(f"{block}.0.in_layers.2")) != 4:
            break
        if new:
            found["channels"].append(conv[0])
            found["blocks"].append(0)
            found["attention"].append(depth(block))
            query, key = attends(block, "attn1.to_q"), attends(block, "attn1.to_k")
            found["text_only"].append(query[1:] != key[1:])
            new = False
        found["blocks"][-1] += 1
        contexts |= {attends(block, "attn2.to_k")[1:]} - {()}
        projections |= {len(shape(f"{block}.1.proj_in"))} - {0}
    if len(contexts) != 1 or len(projections) != 1 or not 2 <= len(found["channels"]) <= 6:
        return None
    linear = projections == {2}
    classes, vector = shape("label_emb"), shape("label_emb.0.0")
    family = X4 if classes else SDXL if vector else SD2 if linear else SD15
    spec = UNetSpec(
        **{name: tuple(values) for name, values in found.items()},
        attention_kind="cross linear" if linear else "cross",
        in_channels=first[1],
        out_channels=last[0],
        patch=1,
        embed_width=time[0],
        context_dim=min(contexts)[0],
        head_dim=64,
        groups=32,
        res_kind="add",
        heads=family.heads,
        middle=depth("middle_block"),
        pooled_text=False,
        label_kind="class" if classes else "vector" if vector else "",
        label_size=classes[0] if classes else vector[1] if vector else 0,
        time_scale=1.0,
    )
    return family, spec if any(spec.text_only) else replace(spec, text_only=())


def shapes_of_unet(spec: UNetSpec) -> Shapes:
    """Names and shapes of a U-Net's tensors; nothing is allocated."""
    with torch.device("meta"), NoDraws():
        return {name: tuple(t.shape) for name, t in UNet(spec).state_dict().items()}


# ------------------------------------------------------------------------------------------------------------ files
@dataclass(frozen=True)
class UNetFile:
    """What a checkpoint's U-Net is, before its values are read."""

    family: Family
    spec: UNetSpec
    path: Path
    names: dict[str, str]  # each of its tensors, and LDM's name for it
    dtype: str
    parameters: int

    def load(self, dtype: torch.dtype = torch.float32) -> UNet:
        """The network, ready to run. Raises ValueError where the file is not whole, or holds NaN."""
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {
                    ours: file.get_tensor(name).to(dtype, copy=True) for name, ours in self.names.items()
                }
        except (OSError, SafetensorError) as error:
            raise cut_off(self.path.name) from error
        if broken := not_finite(tensors):
            raise ValueError(
                f"{self.path.name} holds NaN or infinity in {len(broken)} tensors ({some(broken)})."
            )
        with torch.device("meta"), NoDraws():
            unet = UNet(self.spec)
        unet.load_state_dict(tensors, assign=True)
        return unet.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def open_unet(path: str | Path) -> UNetFile:
    """Find out what a checkpoint is, from its header. Raises ValueError with what is wrong and what to do."""
    path = Path(path)
    refuse_pickle(path)
    header = open_header(path)
    names = to_ldm(header.shapes)
    shapes = {ours: header.shapes[name] for name, ours in names.items()}
    found = spec_of_unet(shapes)
    if found is None or any(name.startswith(CONTROL) for name in names):
        what = "a ControlNet" if any(name.startswith(CONTROL) for name in names) else "of another kind"
        raise ValueError(f"{path.name} holds no image U-Net that is known here: it is {what}. {READ_HERE}")
    dtypes = {ours: header.dtypes[name] for name, ours in names.items()}
    family, spec = found
    known = replace(header, shapes=shapes, dtypes=dtypes)
    check_tensors(known, shapes_of_unet(spec), path.name, f"By its layers it is {family.name}. {READ_HERE}")
    if len(names) == len(header.shapes):  # a full checkpoint's other tensors may have any dtype
        check_size_of(header, path.name)
    count = sum(torch.Size(shape).numel() for shape in shapes.values())
    return UNetFile(family, spec, path, names, " and ".join(sorted(set(dtypes.values()))), count)
