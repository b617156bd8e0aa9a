"""Motion modules of public files: what a file is, what its modules compute, and what is refused."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from lumiere_core.model.animatediff import files, network
from lumiere_core.model.animatediff.files import open_motion, read_motion_lora
from lumiere_core.model.animatediff.network import (
    BETAS,
    MotionModules,
    MotionSpec,
    over_the_clip,
    sigmas_of,
)

SD15 = MotionSpec("AnimateDiff v3", "SD1.5", (32, 64, 64, 64), frames=32)
SDXL = replace(
    SD15, name="AnimateDiff SDXL beta", base="SDXL", channels=(32, 64, 64), betas="scaled linear to 0.02"
)
KINDS = {
    "v1": replace(SD15, name="AnimateDiff v1", frames=24, clip_norms=True),
    "v2": replace(SD15, name="AnimateDiff v2", middle=True),
    "v3": SD15,
    "x4": replace(
        SD15,
        name="temporal layers for the x4 upscaler",
        base="the SD x4 upscaler",
        channels=(32, 64, 64, 128),
        betas="",
        license="its author's",
    ),
    "sdxl": SDXL,
    "hotshot": replace(
        SDXL,
        name="HotShot-XL",
        frames=24,
        window=8,
        clip_norms=True,
        betas="scaled linear",
        license="OpenRAIL++",
    ),
}


def weights(spec: MotionSpec, seed: int = 0) -> dict[str, Tensor]:
    """Random values for every tensor of a motion file, under AnimateDiff's names."""
    noise = torch.Generator().manual_seed(seed)
    shapes = {name: t.shape for name, t in MotionModules(spec).state_dict().items()}
    return {
        name: torch.randn(shape, generator=noise) / max(shape[-1], 2) ** 0.5 for name, shape in shapes.items()
    }


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({name: t.clone().contiguous() for name, t in tensors.items()}, path)
    return path


def loaded(path: Path) -> MotionModules:
    found = open_motion(path)
    modules = MotionModules(found.spec)
    found.load(modules)
    return modules


def hotshot(name: str) -> str:
    return (
        name.replace("motion_modules", "temporal_attentions")
        .replace(".temporal_transformer", "")
        .replace("pos_encoder.pe", "pos_encoder.positional_encoding")
    )


# ------------------------------------------------------------------------------------------------------------ files
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_what_its_tensors_say(kind: str, tmp_path: Path) -> None:
    tensors = weights(KINDS[kind])
    named = {hotshot(k) if kind == "hotshot" else f"module.{k}": t for k, t in tensors.items()}
    found = open_motion(saved(tmp_path / "x.safetensors", named))
    assert found.spec == KINDS[kind]
    modules = MotionModules(found.spec)
    found.load(modules)
    assert all(torch.equal(t, tensors[name]) for name, t in modules.state_dict().items())


def test_places_are_the_published_ones() -> None:
    # By hand, from the U-Net's blocks: three blocks a level, of which the encoder's third changes the size.
    inputs = [n for side, n in SD15.places if side == "input"]
    assert inputs == [1, 2, 4, 5, 7, 8, 10, 11]
    assert [n for side, n in SD15.places if side == "output"] == list(range(12))
    assert len(KINDS["v2"].places) == 21 and len(SDXL.places) == 15
    assert SDXL.places["output", 4] == "up_blocks.1.motion_modules.1"


def test_noise_levels_are_those_it_was_trained_with() -> None:
    # The last level of a linear table from 0.00085 to 0.012: log of the product of 1 - beta, by hand.
    kept = math.prod(1 - (0.00085 + i * (0.012 - 0.00085) / 999) for i in range(1000))
    assert float(sigmas_of(BETAS["linear"]())[-1]) == pytest.approx(((1 - kept) / kept) ** 0.5, rel=1e-9)
    assert float(sigmas_of(BETAS["scaled linear"]())[-1]) == pytest.approx(14.6146, rel=1e-5)


# ---------------------------------------------------------------------------------------------------------- parity
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 1e-6)])
@pytest.mark.parametrize("middle", [False, True])
def test_modules_equal_those_of_diffusers_from_a_file_in_its_layout(
    dtype: torch.dtype, most: float, middle: bool, tmp_path: Path
) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = diffusers.MotionAdapter(
        block_out_channels=SD15.channels,
        motion_layers_per_block=2,
        motion_mid_block_layers_per_block=1,
        motion_num_attention_heads=8,
        motion_max_seq_length=24,
        use_motion_mid_block=middle,
    )
    for p in theirs.parameters():  # its last layer is zero at first
        torch.nn.init.normal_(p, std=0.2)
    theirs = theirs.to(dtype).eval().requires_grad_(False)
    path = saved(tmp_path / "x.safetensors", {k: v.float() for k, v in theirs.state_dict().items()})
    ours = loaded(path).to(dtype).requires_grad_(False)
    assert ours.spec.name == ("AnimateDiff v2" if middle else "AnimateDiff v1")
    for place, width in ours.widths():
        module = ours.module(place)
        module.normalise = over_the_clip
        x = torch.randn(2 * 6, width, 3, 5, dtype=dtype)
        want = theirs.get_submodule(ours.spec.places[place])(x, num_frames=6)
        off = (module(x, 6) - want).std() / want.std()
        assert float(off) < most, place


def by_hand(module: network.MotionModule, x: Tensor) -> Tensor:
    """One clip (T, C, H, W) through a motion module with the published recipe, a pixel at a time."""
    frames, _, height, width = x.shape
    w = dict(module.named_parameters()) | dict(module.named_buffers())
    out = x.clone()
    normed = torch.stack([F.group_norm(f[None], 32, w["norm.weight"], w["norm.bias"], 1e-6)[0] for f in x])
    for i in range(height):
        for j in range(width):
            h = F.linear(normed[:, :, i, j], w["proj_in.weight"], w["proj_in.bias"])  # (T, C)
            for a in (0, 1):
                at = f"transformer_blocks.0.attention_blocks.{a}"
                norm = f"transformer_blocks.0.norms.{a}"
                g = F.layer_norm(h, h.shape[1:], w[f"{norm}.weight"], w[f"{norm}.bias"])
                g = g + w[f"{at}.pos_encoder.pe"][0, :frames]
                q, k, v = (F.linear(g, w[f"{at}.to_{n}.weight"]).unflatten(1, (8, -1)) for n in "qkv")
                share = torch.einsum("thc,shc->hts", q, k / q.shape[-1] ** 0.5).softmax(-1)
                seen = torch.einsum("hts,shc->thc", share, v).flatten(1)
                h = h + F.linear(seen, w[f"{at}.to_out.0.weight"], w[f"{at}.to_out.0.bias"])
            ff = "transformer_blocks.0.ff"
            g = F.layer_norm(h, h.shape[1:], w[f"{ff}_norm.weight"], w[f"{ff}_norm.bias"])
            value, gate = F.linear(g, w[f"{ff}.net.0.proj.weight"], w[f"{ff}.net.0.proj.bias"]).chunk(2, 1)
            h = h + F.linear(value * F.gelu(gate), w[f"{ff}.net.2.weight"], w[f"{ff}.net.2.bias"])
            out[:, :, i, j] += F.linear(h, w["proj_out.weight"], w["proj_out.bias"])
    return out


def test_a_module_does_the_published_recipe_with_statistics_of_each_frame(tmp_path: Path) -> None:
    modules = loaded(saved(tmp_path / "x.safetensors", weights(SD15))).double().requires_grad_(False)
    for place, width in ((("input", 1), 32), (("output", 0), 64)):
        x = torch.randn(2, 5, width, 2, 3, dtype=torch.float64)
        want = torch.cat([by_hand(modules.module(place), clip) for clip in x])
        assert float((modules.module(place)(x.flatten(0, 1), 5) - want).abs().max()) < 1e-10


def test_many_pixels_go_through_attention_in_parts_and_come_out_the_same(monkeypatch) -> None:
    modules = MotionModules(SD15)
    modules.load_state_dict(weights(SD15))
    x = torch.randn(4, 32, 6, 5)
    whole = modules.module(("input", 1))(x, 4)
    monkeypatch.setattr(network, "MOST_ROWS", 7)
    assert torch.allclose(modules.module(("input", 1))(x, 4), whole, atol=1e-6)


def test_strength_is_how_much_is_added_at_each_place_and_frame() -> None:
    modules = MotionModules(SD15)
    modules.load_state_dict(weights(SD15))
    module, x = modules.module(("input", 1)), torch.randn(4, 32, 4, 4)
    full = module(x, 4) - x
    strength = torch.zeros(4, 1, 4, 4)
    strength[2, :, :, :2] = 0.5
    some = module(x, 4, strength) - x
    assert torch.allclose(some[2, :, :, :2], 0.5 * full[2, :, :, :2], atol=1e-5)
    assert not some[:2].any() and not some[2, :, :, 2:].any()
    assert torch.equal(module(x, 4, 0.0), x)


# --------------------------------------------------------------------------------------------------------- refusals
def refused(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        open_motion(path)
    return str(error.value)


def test_missing_unexpected_and_misshaped_tensors_stop_the_load_with_a_list(tmp_path: Path) -> None:
    whole = weights(SD15)
    name = "up_blocks.1.motion_modules.2.temporal_transformer.norm.weight"
    lacking = {k: v for k, v in whole.items() if k != name}
    assert "lacks 1 of its" in (text := refused(saved(tmp_path / "a.safetensors", lacking))) and name in text
    more = whole | {"conv_in.weight": torch.zeros(4)}
    text = refused(saved(tmp_path / "b.safetensors", more))
    assert "has unexpected 1" in text and "conv_in.weight" in text
    other = whole | {name: torch.zeros(7)}
    text = refused(saved(tmp_path / "c.safetensors", other))
    assert "has other sizes in 1" in text and name in text


def test_a_header_that_says_anything_is_refused_before_much_is_built(tmp_path: Path) -> None:
    name = "down_blocks.3.motion_modules.60.temporal_transformer.transformer_blocks.0.attention_blocks.60.to_q.weight"
    assert "not known here" in refused(saved(tmp_path / "a.safetensors", {name: torch.zeros(2, 2)}))
    whole = weights(SD15)
    text = refused(saved(tmp_path / "b.safetensors", whole | {name: torch.zeros(2, 2)}))
    assert "names places for" in text
    many = re.sub(
        rb'"shape":\[1,32,32\]', b'"shape":["x",3,2]', (tmp_path / "b.safetensors").read_bytes(), count=1
    )
    (tmp_path / "c.safetensors").write_bytes(many)
    assert "cut off" in refused(tmp_path / "c.safetensors")


def lora(spec: MotionSpec, style: str = "published") -> dict[str, Tensor]:
    """A motion LoRA of rank 2 on every attention weight, in one of the two layouts."""
    found = {}
    for name, weight in weights(spec).items():
        if ".to_" in name and name.endswith("weight"):
            front, layer = name.removesuffix(".weight").replace("to_out.0", "to_out").rsplit(".", 1)
            noise = torch.Generator().manual_seed(len(found))
            for which, peft, shape in (
                ("down", "A", (2, weight.shape[1])),
                ("up", "B", (weight.shape[0], 2)),
            ):
                key = f"{front}.processor.{layer}_lora.{which}.weight"
                if style == "diffusers":
                    front2 = front.replace(".temporal_transformer", "")
                    front2 = front2.replace("attention_blocks.0", "attn1").replace(
                        "attention_blocks.1", "attn2"
                    )
                    layer2 = layer.replace("to_out", "to_out.0")
                    key = f"unet.{front2}.{layer2}.lora_{peft}.weight"
                found[key] = 0.3 * torch.randn(shape, generator=noise)
    return found


@pytest.mark.parametrize("style", ["published", "diffusers"])
def test_a_motion_lora_is_read_for_the_weights_it_changes(style: str, tmp_path: Path) -> None:
    modules = MotionModules(KINDS["v2"])
    path = saved(tmp_path / "pan.safetensors", lora(KINDS["v2"], style))
    factors = read_motion_lora(path, modules, "mm.safetensors")
    assert factors.keys() == {k for k in modules.state_dict() if ".to_" in k and k.endswith("weight")}
    name = "up_blocks.2.motion_modules.1.temporal_transformer.transformer_blocks.0.attention_blocks.1.to_out.0.weight"
    assert factors[name]["up"].shape == (64, 2) and factors[name]["down"].shape == (2, 64)


def test_what_is_given_in_a_motion_files_place_is_named(tmp_path: Path) -> None:
    image = {"lora_unet_down_blocks_0_attentions_0.lora_down.weight": torch.zeros(2, 4)}
    text = refused(saved(tmp_path / "a.safetensors", image))
    assert text.startswith("a.safetensors is no motion file but a LoRA: give it to ComfyUI's Load LoRA.")
    text = refused(saved(tmp_path / "b.safetensors", lora(SD15)))
    assert "a motion LoRA: give it to Motion LoRA" in text
    text = refused(
        saved(tmp_path / "c.safetensors", {"model.diffusion_model.out.2.weight": torch.zeros(2, 4)})
    )
    assert "a checkpoint of an image model" in text
    torch.save({"state_dict": weights(SD15)}, tmp_path / "mm.ckpt")
    text = refused(tmp_path / "mm.ckpt")
    assert "pickle" in text and "torch.load('mm.ckpt', 'cpu', weights_only=True)" in text
    whole = saved(tmp_path / "d.safetensors", weights(SD15)).read_bytes()
    for length in (5, 2000, len(whole) - 1):
        (tmp_path / "half.safetensors").write_bytes(whole[:length])
        assert "cut off" in refused(tmp_path / "half.safetensors")
    assert "cannot be read" in refused(tmp_path / "nowhere.safetensors")


def test_the_printed_conversion_makes_a_file_that_loads(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {f"module.{k}": t for k, t in weights(SD15).items()}}, "mm.ckpt")
    code = files.CONVERT.format("mm.ckpt", "mm").removeprefix('python -c "').removesuffix('"')
    subprocess.run([sys.executable, "-c", code], check=True)
    assert open_motion(Path("mm.safetensors")).spec == SD15


def test_a_motion_lora_for_another_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "pan.safetensors", lora(KINDS["v2"]))
    with pytest.raises(ValueError, match=r"does not fit mm.safetensors \(AnimateDiff v3\) in 16 of its 336"):
        read_motion_lora(path, MotionModules(SD15), "mm.safetensors")
    with pytest.raises(ValueError, match="is no motion LoRA but a motion file"):
        read_motion_lora(saved(tmp_path / "mm.safetensors", weights(SD15)), MotionModules(SD15), "mm")
