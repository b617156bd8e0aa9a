"""The public image U-Nets: what a file is, and that our U-Net gives what diffusers' gives on the same weights."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lumiere_core.config import TemporalSpec, UNetSpec, replace
from lumiere_core.model.animatediff.files import open_motion
from lumiere_core.model.animatediff.network import (
    MotionModules,
    MotionSpec,
    Positions,
    over_the_clip,
    sinusoids,
)
from lumiere_core.model.backbones import families
from lumiere_core.model.backbones.families import FULL, open_unet, shapes_of_unet, spec_of_unet, to_ldm
from lumiere_core.model.functional import frames_as_batch, frames_as_time
from lumiere_core.model.layers import ResBlock, SpatialTransformer
from lumiere_core.model.stunet import SpaceTimeUNet, inflate, new_temporal
from lumiere_core.model.unet import UNet

# ------------------------------------------------------------------------------- true sizes, on no memory
PLAIN = UNetSpec(
    channels=(320, 640, 1280, 1280),
    blocks=(2, 2, 2, 2),
    attention=(1, 1, 1, 0),
    attention_kind="cross",
    in_channels=4,
    out_channels=4,
    patch=1,
    embed_width=1280,
    context_dim=768,
    head_dim=64,
    groups=32,
    res_kind="add",
    heads=8,
    middle=1,
    pooled_text=False,
    time_scale=1.0,
)
SD2 = replace(PLAIN, attention_kind="cross linear", context_dim=1024, heads=0)
TRUE = {  # family, the U-Net, and the number of its parameters as published
    "SD1.5": (families.SD15, PLAIN, 859_520_964),
    "SD1.5 inpainting": (families.SD15, replace(PLAIN, in_channels=9), 859_535_364),
    "SD2.1": (families.SD2, SD2, 865_910_724),
    "SDXL": (
        families.SDXL,
        replace(
            SD2,
            channels=(320, 640, 1280),
            blocks=(2, 2, 2),
            attention=(0, 2, 10),
            middle=10,
            context_dim=2048,
            label_kind="vector",
            label_size=2816,
        ),
        2_567_463_684,
    ),
    "x4": (
        families.X4,
        replace(
            SD2,
            channels=(256, 512, 512, 1024),
            attention=(0, 1, 1, 1),
            text_only=(False, True, True, False),
            embed_width=1024,
            heads=8,
            in_channels=7,
            label_kind="class",
            label_size=1000,
        ),
        473_400_000,
    ),
}


@pytest.mark.parametrize("name", TRUE)
def test_a_family_is_told_by_names_and_shapes_alone(name: str) -> None:
    family, spec, count = TRUE[name]
    shapes = shapes_of_unet(spec)
    assert spec_of_unet(shapes) == (family, spec)
    assert sum(torch.Size(s).numel() for s in shapes.values()) == pytest.approx(count, rel=1e-4)


# ----------------------------------------------------------------------------------- tiny ones of diffusers
CROSS, PLAIN_DOWN, UP, PLAIN_UP = "CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"
TINY: dict[str, dict[str, Any]] = {
    "SD1.5": {
        "block_out_channels": (32, 64, 64),
        "down_block_types": (CROSS, CROSS, PLAIN_DOWN),
        "up_block_types": (PLAIN_UP, UP, UP),
        "attention_head_dim": 8,
    },
    "SD1.5 inpainting": {
        "in_channels": 9,
        "block_out_channels": (32, 64),
        "down_block_types": (CROSS, PLAIN_DOWN),
        "up_block_types": (PLAIN_UP, UP),
        "attention_head_dim": 8,
    },
    "SD2.1": {
        "block_out_channels": (64, 128),
        "down_block_types": (CROSS, PLAIN_DOWN),
        "up_block_types": (PLAIN_UP, UP),
        "attention_head_dim": (1, 2),
        "use_linear_projection": True,
    },
    "SDXL": {
        "block_out_channels": (32, 64, 128),
        "down_block_types": (PLAIN_DOWN, CROSS, CROSS),
        "up_block_types": (UP, UP, PLAIN_UP),
        "attention_head_dim": (1, 1, 2),
        "transformer_layers_per_block": (1, 2, 3),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,
    },
    "x4": {
        "in_channels": 7,
        "block_out_channels": (32, 64, 64, 64),
        "down_block_types": (PLAIN_DOWN, CROSS, CROSS, CROSS),
        "up_block_types": (UP, UP, UP, PLAIN_UP),
        "attention_head_dim": 8,
        "only_cross_attention": (True, True, True, False),
        "use_linear_projection": True,
        "num_class_embeds": 100,
    },
}


ODD = 18  # halved and rounded up: 9, 5, 3, which the way back has to meet


@cache
def theirs(name: str) -> Any:
    diffusers = pytest.importorskip("diffusers", reason="NO DIFFUSERS FOUND: parity was not measured.")
    torch.manual_seed(0)
    sizes = {"in_channels": 4, "out_channels": 4, "layers_per_block": 2, "cross_attention_dim": 48}
    return (
        diffusers.UNet2DConditionModel(sample_size=16, **{**sizes, **TINY[name]}).eval().requires_grad_(False)
    )


def asked(name: str, network: Any, dtype: torch.dtype) -> tuple[dict, dict]:
    """The same question for ours and for theirs."""
    noise = torch.Generator().manual_seed(1)
    x = torch.randn(2, TINY[name].get("in_channels", 4), ODD, 16, generator=noise, dtype=dtype)
    text, when = torch.randn(2, 7, 48, generator=noise, dtype=dtype), torch.tensor([3, 801])
    ours = {"x": x, "t": when, "context": text}
    known = {"sample": x, "timestep": when, "encoder_hidden_states": text}
    if name == "SDXL":
        pooled, sizes = (
            torch.randn(2, 32, generator=noise, dtype=dtype),
            torch.tensor([[64.0, 48, 0, 8, 64, 64]] * 2),
        )
        waves = network.add_time_proj(sizes.flatten()).reshape(2, -1).to(dtype)
        ours["label"] = torch.cat([pooled, waves], dim=1)
        known["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": sizes}
    if name == "x4":
        ours["label"] = known["class_labels"] = torch.tensor([20, 99])
    return ours, known


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({name: t.contiguous() for name, t in tensors.items()}, path)
    return path


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 1e-6)])
def test_our_u_net_gives_what_diffusers_gives(
    name: str, dtype: torch.dtype, most: float, tmp_path: Path
) -> None:
    network = theirs(name)
    file = open_unet(saved(tmp_path / "x.safetensors", network.state_dict()))
    assert file.family == TRUE[name][0]
    ours, known = asked(name, network, dtype)
    want = network.to(dtype)(**known).sample
    off = (file.load(dtype)(**ours) - want).std() / want.std()
    network.float()
    assert want.std() > 0.01 and float(off) < most


def test_the_three_ways_to_keep_a_u_net_are_read_alike(tmp_path: Path) -> None:
    tensors = theirs("x4").state_dict()
    bare = {ours: tensors[name] for name, ours in to_ldm(tensors).items()}
    full = {FULL + name: t for name, t in bare.items()} | {"first_stage_model.x": torch.zeros(3).byte()}
    files = [
        open_unet(saved(tmp_path / f"{i}.safetensors", held)) for i, held in enumerate((tensors, bare, full))
    ]
    assert len({(file.family, file.spec) for file in files}) == 1
    first, *others = (file.load().state_dict() for file in files)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)


# ---------------------------------------------------------------------------------------- with motion modules
@pytest.mark.parametrize("middle", [False, True])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 1e-6)])
def test_with_motion_after_each_block_it_is_diffusers_motion_model(
    middle: bool, dtype: torch.dtype, most: float, tmp_path: Path
) -> None:
    """AnimateDiff without a stride in time: a module where its file has one, the norm over all frames as theirs."""
    diffusers = pytest.importorskip("diffusers", reason="NO DIFFUSERS FOUND: parity was not measured.")
    torch.manual_seed(0)
    theirs = diffusers.UNetMotionModel(
        sample_size=16,
        block_out_channels=(32, 64, 64, 64),
        down_block_types=("CrossAttnDownBlockMotion",) * 3 + ("DownBlockMotion",),
        up_block_types=("UpBlockMotion",) + ("CrossAttnUpBlockMotion",) * 3,
        cross_attention_dim=48,
        num_attention_heads=8,
        motion_num_attention_heads=8,
        motion_max_seq_length=24,
        use_motion_mid_block=middle,
    )
    for name, weight in theirs.named_parameters():  # the last layer of theirs is zero at first
        if ".motion_modules." in name and weight.ndim > 1:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    theirs = theirs.eval().requires_grad_(False)
    tensors = theirs.state_dict()
    split = [
        {n: t for n, t in tensors.items() if (".motion_modules." in n) == moves} for moves in (False, True)
    ]
    unet = open_unet(saved(tmp_path / "unet.safetensors", split[0])).load(dtype)
    file = open_motion(saved(tmp_path / "motion.safetensors", split[1]))
    modules = MotionModules(file.spec, dtype=dtype).requires_grad_(False)
    file.load(modules, dtype)
    clips, frames, moved = 2, 4, []
    for place in file.spec.places:
        side, number = place
        block = unet.middle_block[:2] if side == "middle" else getattr(unet, f"{side}_blocks")[number]
        kinds = (SpatialTransformer, ResBlock)
        bearer = next(layer for kind in kinds for layer in block if isinstance(layer, kind))
        module = modules.module(place)
        module.normalise = over_the_clip
        bearer.register_forward_hook(lambda _, given, h, m=module: moved.append(m) or m(h, frames))
    x = torch.randn(clips, 4, frames, 16, 16, dtype=dtype)
    text, when = torch.randn(clips, 7, 48, dtype=dtype), torch.tensor([3, 801])
    want = theirs.to(dtype)(x, when, text.repeat_interleave(frames, 0)).sample
    made = frames_as_time(unet(frames_as_batch(x), when, text), frames)
    assert len(set(moved)) == 20 + middle and want.std() > 0.01
    assert float((made - want).std() / want.std()) < most


# --------------------------------------------------------------------------------------------------- inflated
@pytest.mark.parametrize("name", ["SD1.5", "x4"])
def test_inflated_every_nth_frame_is_the_image_model_s(name: str, tmp_path: Path, randomise) -> None:
    """With a prompt, a step and a label for each clip, and with one for each frame."""
    spec = replace(TRUE[name][1], channels=(32, 64, 64, 64), embed_width=32, context_dim=48)
    unet = randomise(UNet(spec))
    video = inflate(unet, TemporalSpec(strides=(2, 1, 2), head_dim=32, condition_channels=0)).eval()
    clips, frames, n = 2, 6, 4
    x = torch.randn(clips, spec.in_channels, frames, 16, 16)
    t, context, label = torch.tensor([3, 801]), torch.randn(2, 7, 48), torch.tensor([20, 99])
    label = label if spec.label_kind else None
    made = video(x, t, context, label=label)
    for frame in range(0, frames, n):
        want = unet(x[:, :, frame], t, context, label=label)
        assert want.std() > 0.01
        torch.testing.assert_close(made[:, :, frame], want, atol=1e-5, rtol=1e-4)
    rows = torch.randn(clips * frames, 7, 48)
    each = None if label is None else label.repeat_interleave(frames)
    made = video(x, t.repeat_interleave(frames), rows, label=each)
    for frame in range(0, frames, n):
        want = unet(x[:, :, frame], t, rows[frame::frames], label=label)
        torch.testing.assert_close(made[:, :, frame], want, atol=1e-5, rtol=1e-4)


# --------------------------------------------------------------------------------------------------- refusals
def test_what_is_no_image_u_net_is_refused_in_a_sentence(tmp_path: Path) -> None:
    spec = replace(PLAIN, channels=(32, 64), blocks=(1, 1), attention=(1, 0), embed_width=32, context_dim=48)
    good = UNet(spec).state_dict()

    def refused(**tensors: Tensor) -> str:
        with pytest.raises(ValueError, match="x.safetensors") as caught:
            open_unet(saved(tmp_path / "x.safetensors", tensors))
        return str(caught.value)

    assert open_unet(saved(tmp_path / "x.safetensors", good)).spec == spec
    assert "of another kind" in refused(blocks=torch.zeros(2, 2))
    assert "a ControlNet" in refused(**good, **{"input_hint_block.0.weight": torch.zeros(2)})
    short = {name: t for name, t in good.items() if "out_layers.3" not in name}
    assert "lacks" in refused(**short) and "input_blocks.1.0.out_layers.3.bias" in refused(**short)
    assert "has unexpected" in refused(**good, **{"input_blocks.1.2.weight": torch.zeros(2)})
    wide = good | {"output_blocks.0.0.skip_connection.weight": torch.zeros(64, 99, 1, 1)}
    assert "has other sizes" in refused(**wide)
    assert "has dtypes other than" in refused(**{n: t.double() for n, t in good.items()})
    holes = good | {"out.2.bias": torch.full((4,), float("nan"))}
    file = open_unet(saved(tmp_path / "x.safetensors", holes))
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 tensors \(out.2.bias\)"):
        file.load()
    (tmp_path / "x.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut off"):
        open_unet(tmp_path / "x.safetensors")
    torch.save(good, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="pickle"):
        open_unet(tmp_path / "x.ckpt")


def test_animatediff_s_coarsest_modules_are_the_temporal_attention(randomise) -> None:
    """They are run on every N-th frame, with the position of that frame; the file's other modules are left out."""
    spec = replace(
        PLAIN, channels=(32, 32, 64), blocks=(2, 2, 2), attention=(1, 1, 0), embed_width=32, context_dim=48
    )
    motion = randomise(MotionModules(MotionSpec("", "", spec.channels, 24, middle=True)), seed=3)
    for layer in motion.modules():
        if isinstance(layer, Positions):
            layer.pe.copy_(torch.randn(layer.pe.shape))
    temporal = TemporalSpec((2, 2), attention_kind="animatediff", positions=6, condition_channels=0)
    tensors = new_temporal(spec, temporal, motion)
    unet = randomise(UNet(spec))
    video = SpaceTimeUNet(spec, temporal).eval().requires_grad_(False)
    video.load_state_dict(unet.state_dict() | tensors)
    h, rows = torch.randn(6, 64, 4, 4), range(0, 24, 4)
    module = motion.module(("output", 1))
    ours = video.temporal["output_blocks"][1]["inflate"](h, None, 6)
    for layer in module.modules():
        if isinstance(layer, Positions):
            layer.pe = layer.pe[:, rows]
    torch.testing.assert_close(ours, module(h, 6))
    assert not torch.allclose(ours, h, atol=1e-2)
    second = video.temporal["middle_block"][1]
    assert torch.equal(second(h, None, 6), h)  # theirs has one module there
    x, t, context = torch.randn(1, 4, 8, 16, 16), torch.tensor([500]), torch.randn(1, 7, 48)
    pictures = torch.stack([unet(x[:, :, i], t, context) for i in range(0, 8, 4)], 2)
    assert not torch.allclose(video(x, t, context)[:, :, ::4], pictures, atol=1e-3)
    still = new_temporal(spec, temporal)
    video.load_state_dict(still, strict=False)
    torch.testing.assert_close(video(x, t, context)[:, :, ::4], pictures, atol=1e-5, rtol=1e-4)


def test_a_new_position_encoding_is_that_of_the_published_files() -> None:
    by_hand = torch.zeros(3, 8)
    for row, place in enumerate((0, 8, 16)):
        for i in range(4):
            angle = place / 10000 ** (2 * i / 8)
            by_hand[row, 2 * i], by_hand[row, 2 * i + 1] = math.sin(angle), math.cos(angle)
    torch.testing.assert_close(sinusoids(torch.tensor([0, 8, 16]), 8), by_hand)
