"""Sizes and presets."""

from __future__ import annotations

import json

import pytest

from lumiere_core.config import PRESETS, TemporalSpec, UNetSpec, from_dict, replace, to_dict


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_way_through_json(name):
    assert from_dict(json.loads(json.dumps(to_dict(PRESETS[name])))) == PRESETS[name]


def test_an_image_model_without_a_temporal_part_survives_too():
    spec = replace(PRESETS["tiny"], temporal=None, kind="image")
    assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec


@pytest.mark.parametrize("name", PRESETS)
def test_the_numbers_of_a_preset_go_together(name):
    spec = PRESETS[name]
    unet = spec.unet
    assert len(unet.channels) == len(unet.blocks) == len(unet.attention) == len(spec.temporal.strides) + 1
    assert spec.size % unet.size_multiple == 0
    assert spec.text.width == unet.context_dim and spec.text.width % spec.text.heads == 0
    for channels, attends in zip(unet.channels, unet.attention, strict=True):
        assert channels % unet.groups == 0
        assert not attends or channels % unet.head_dim == 0
    assert unet.channels[-1] % spec.temporal.head_dim == 0
    assert (unet.low_res_channels > 0) == unet.noise_level == (spec.kind == "ssr")


def test_sizes_are_multiples_of_the_coarsest_pixel():
    assert UNetSpec(channels=(8, 8, 8), patch=4).size_multiple == 16
    assert UNetSpec(channels=(8,), patch=2).size_multiple == 2


def test_the_coarsest_level_holds_one_frame_of_n():
    assert TemporalSpec(strides=(2, 2)).time_factor == 4
    assert TemporalSpec(strides=(1, 3)).time_factor == 3
    assert TemporalSpec(strides=()).time_factor == 1


@pytest.mark.parametrize(("finest", "embedding"), [(320, 1280), (192, 768)])
def test_the_embedding_is_as_wide_as_that_of_the_published_checkpoints(finest, embedding):
    """Stable Diffusion 1.5's `time_embed.0.weight` is (1280, 320), that of ADM's 64-pixel model (768, 192)."""
    assert UNetSpec(channels=(finest,), embed_width=0).embed_dim == embedding


@pytest.mark.parametrize("name", PRESETS)
def test_at_the_largest_noise_level_fp32_still_holds_a_picture_to_half_a_grey_level(name):
    torch = pytest.importorskip("torch")
    picture, sigma = torch.linspace(-1, 1, 256), PRESETS[name].diffusion.sigma_max
    noise = sigma * torch.randn(256, generator=torch.Generator().manual_seed(0))
    assert ((picture + noise) - noise - picture).abs().max() < 1 / 255
    assert sigma > 500  # and nothing of the picture shows through it


def test_a_field_of_a_newer_version_is_named():
    data = to_dict(PRESETS["tiny"])
    data["unet"]["warp"] = 9
    with pytest.raises(ValueError, match=r"with warp, which this version does not know\. Update the pack"):
        from_dict(data)


def test_a_spec_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        PRESETS["tiny"].name = "other"
