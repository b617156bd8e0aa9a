"""A style: the formula to the last bit that matters, motion untouched, and files of other models refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lumiere_core.model.checkpoint import Lumiere, save
from lumiere_core.model.style import (
    HOST,
    LowRank,
    bundled_styles,
    check_style_name,
    find_style,
    give_style,
    interpolated,
    is_spatial,
    read_style,
    save_style,
)

FACTS = {"license": "CC0", "trained_on": "two doodles", "made_for": "tiny"}


def changes_for(model: Lumiere, count: int = 6) -> dict[str, LowRank]:
    """A LoRA of rank 2 on the first convolutions and linear layers."""
    g = torch.Generator().manual_seed(3)
    wide = [
        (k, w) for k, w in model.network.state_dict().items() if k.startswith("input_blocks") and w.ndim > 1
    ]
    return {
        k: LowRank(
            torch.randn(w.shape[0], 2, *[1] * (w.ndim - 2), generator=g),
            torch.randn(2, *w.shape[1:], generator=g),
            0.5,
        )
        for k, w in wide[:count]
    }


@pytest.fixture
def style_file(tmp_path: Path, tiny) -> Path:
    return save_style(tmp_path / "doodle.safetensors", changes_for(tiny), **FACTS)


def floats(model: Lumiere) -> dict[str, torch.Tensor]:
    return {k: w.clone() for k, w in model.network.state_dict().items()}


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_a_lora_is_the_paper_s_mixture_of_two_sets_of_weights(tiny, style_file, alpha):
    before, style = floats(tiny), read_style(style_file)
    stored = load_file(style_file)
    mixed = interpolated(before, style, alpha, "tiny")
    assert len(mixed) == 6
    for name, w in mixed.items():
        up, down = (
            stored[f"{HOST}{name.removesuffix('.weight')}.lora_{x}.weight"].float() for x in ("up", "down")
        )
        styled = before[name] + 0.5 * (up.flatten(1) @ down.flatten(1)).reshape(w.shape)
        assert (w - (alpha * styled + (1 - alpha) * before[name])).abs().max() <= 1e-6


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_a_whole_file_is_mixed_by_the_formula_and_its_motion_is_left_out(
    tiny, tiny_spec, randomise, tmp_path, alpha
):
    other = randomise(Lumiere(tiny_spec), seed=9)
    save(
        tmp_path / "w.safetensors",
        tiny_spec,
        other.state_dict(),
        license="",
        trained_on="",
        dtype=torch.float32,
    )
    model, before, theirs = randomise(Lumiere(tiny_spec)), floats(tiny), floats(other)
    give_style(model, read_style(tmp_path / "w.safetensors"), alpha)
    for name, w in floats(model).items():
        if is_spatial(name):
            assert (w - (alpha * theirs[name] + (1 - alpha) * before[name])).abs().max() <= 1e-6
        else:
            assert torch.equal(w, before[name])


def test_motion_and_words_are_unchanged_to_the_bit(tiny_spec, randomise, style_file):
    model = randomise(Lumiere(tiny_spec))
    before = {k: w.clone() for k, w in model.state_dict().items()}
    give_style(model, read_style(style_file), 1.0)
    changed = {k for k, w in model.state_dict().items() if not torch.equal(w, before[k])}
    assert len(changed) == 6 and all(k.startswith("network.input_blocks") for k in changed)
    assert any(k.startswith("network.temporal.") for k in before)


def test_a_lora_s_part_for_motion_is_left_out_unless_all_layers_are_asked_for(tiny, tmp_path):
    weights = floats(tiny)
    name = next(k for k, w in weights.items() if k.startswith("temporal.") and w.ndim == 2)
    change = LowRank(torch.ones(weights[name].shape[0], 1), torch.ones(1, weights[name].shape[1]))
    file = save_style(tmp_path / "moves.safetensors", {name: change, **changes_for(tiny, 1)}, **FACTS)
    assert name not in interpolated(weights, read_style(file), 1.0, "tiny")
    assert name in interpolated({**weights}, read_style(file), 1.0, "tiny", spatial=False)


def test_names_say_what_carries_time():
    moving = ("temporal.middle_block.0.qkv.weight", "down_blocks.0.motion_modules.1.proj.weight")
    moving += ("input_blocks.4.1.time_stack.0.ff.weight", "output_blocks.3.1.time_mixer.mix_factor")
    assert not any(map(is_spatial, moving))
    assert all(
        map(is_spatial, ("time_embed.0.weight", "timed_text.words.weight", "blocks.3.self_attn.q.weight"))
    )


@pytest.mark.parametrize("pair", [("lora_B", "lora_A"), ("lora_up", "lora_down")])
@pytest.mark.parametrize("prefix", ["diffusion_model.", "lora_unet_"])
def test_the_usual_names_of_lora_files_are_read(tiny, style_file, tmp_path, pair, prefix):
    renamed = {}
    for name, t in load_file(style_file).items():
        stem, _, part = name.removeprefix(HOST).partition(".lora_")
        if not part:
            stem, part = stem.removesuffix(".alpha"), "alpha"
        stem = prefix + (stem if prefix.endswith(".") else stem.replace(".", "_"))
        part = {"up.weight": f"{pair[0]}.weight", "down.weight": f"{pair[1]}.weight"}.get(part, part)
        renamed[f"{stem}.{part}"] = t
    save_file(renamed, tmp_path / "other.safetensors")
    ours = interpolated(floats(tiny), read_style(style_file), 0.5, "tiny")
    theirs = interpolated(floats(tiny), read_style(tmp_path / "other.safetensors"), 0.5, "tiny")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_style_says_where_it_comes_from_and_replaces_none_of_its_name(tiny, style_file):
    style = read_style(style_file)
    assert (style.license, style.trained_on, style.name) == ("CC0", "two doodles", "doodle") and style.hash
    before = style_file.read_bytes()
    second = save_style(style_file, changes_for(tiny, 2), **FACTS)
    assert second.name == "doodle_00001_.safetensors" and style_file.read_bytes() == before
    assert save_style(style_file, changes_for(tiny, 2), **FACTS, overwrite=True) == style_file
    assert len(read_style(style_file).changes) == 2


def test_a_style_of_another_model_is_refused_and_both_are_named(tiny, tiny_ssr, style_file):
    with pytest.raises(
        ValueError, match="the style doodle does not fit tiny-ssr: .* Choose a style made for"
    ):
        give_style(tiny_ssr, read_style(style_file), 0.5)
    with pytest.raises(ValueError, match="does not fit tiny-ssr"):
        interpolated(floats(tiny_ssr), read_style(style_file), 0.5, "tiny-ssr")


def test_a_whole_file_of_another_model_is_refused(tiny, weights_files):
    with pytest.raises(ValueError, match="the style tiny-ssr does not fit tiny"):
        give_style(tiny, read_style(weights_files[1]), 0.5)


@pytest.mark.parametrize("alpha", [-0.1, 1.01, float("nan")])
def test_an_alpha_outside_is_refused(tiny, style_file, alpha):
    with pytest.raises(ValueError, match="alpha is .* between 0 and 1"):
        interpolated(floats(tiny), read_style(style_file), alpha, "tiny")


def test_values_that_are_not_finite_are_not_written(tiny, tmp_path):
    changes = changes_for(tiny, 1)
    next(iter(changes.values())).up[0] = 1e9  # too large for float16
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 3"):
        save_style(tmp_path / "broken.safetensors", changes, **FACTS)
    assert not list(tmp_path.iterdir())


def rows(path: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(path))


def test_files_that_are_no_style_are_refused_in_words(style_file, tmp_path):
    good = rows(style_file)
    up = next(k for k in good if k.endswith("lora_up.weight"))
    down = up.replace("up", "down")
    cases = {
        "holds no LoRA": {"weight": torch.ones(2)},
        "no plain LoRA": {**good, "diffusion_model.input_blocks.0.0.dora_scale": torch.ones(2)},
        "no pair of matrices": {k: t for k, t in good.items() if k != down},
        "has no pair": {**good, up: good[up].flatten()},
        "no single number": {**good, up.replace("lora_up.weight", "alpha"): torch.ones(3)},
        "other than F16": {**good, up: good[up].to(torch.int32)},
        "NaN or infinity": {**good, up: good[up] * float("nan")},
        "has no pair of": {**good, up: good[up][:, :0].contiguous(), down: good[down][:0].contiguous()},
    }
    for said, tensors in cases.items():
        save_file(tensors, tmp_path / "bad.safetensors")
        with pytest.raises(ValueError, match=said):
            read_style(tmp_path / "bad.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(style_file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_style(tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        read_style(tmp_path / "missing.safetensors")


def test_a_style_is_found_by_name_or_file(style_file):
    assert find_style(str(style_file)) == style_file
    with pytest.raises(ValueError, match="there is no style 'oil'"):
        find_style("oil")
    for name, path in bundled_styles().items():
        assert find_style(name) == path


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", "a\\b", "a:b", "x" * 200, "a\nb"])
def test_what_is_no_name_for_a_file_is_refused(name):
    with pytest.raises(ValueError, match="has to be a file's name"):
        check_style_name(name)


def test_a_name_with_spaces_becomes_a_file():
    assert check_style_name(" my style ") == "my-style.safetensors"
