"""Sizes and presets."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from lumiere_core.config import (
    PRESETS,
    TemporalSpec,
    UNetSpec,
    from_dict,
    misfits,
    replace,
    to_dict,
)
from lumiere_core.rules import record, whole


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_way_through_json(name):
    assert from_dict(json.loads(json.dumps(to_dict(PRESETS[name])))) == PRESETS[name]


def test_an_image_model_without_a_temporal_part_survives_too():
    spec = replace(PRESETS["tiny"], temporal=None, kind="image")
    assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec


@pytest.mark.parametrize("name", PRESETS)
def test_the_numbers_of_a_preset_go_together(name):
    assert not list(misfits(PRESETS[name]))


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
    with pytest.raises(
        ValueError, match=r"spec\.unet has 'warp', which this version does not know\. Update the pack"
    ):
        from_dict(data)


def changed(**changes):
    """The preset "tiny" as JSON has it, some fields changed: `changed(unet__patch=3)`."""
    data = json.loads(json.dumps(to_dict(PRESETS["tiny"])))
    for path, value in changes.items():
        *parts, name = path.split("__")
        where = data[parts[0]] if parts else data
        where[name] = value
    return data


# One wrong value for every field, and what the sentence says.
WRONG = {
    "name": ("", "a line of 1 to 100"),
    "kind": ("film", "'image' or 'base' or 'ssr'"),
    "num_frames": (0, "from 1 to 4096"),
    "fps": (True, "from 1 to 240"),
    "size": (10**9, "from 1 to 4096"),
    "scale": (2.0, "from 1 to 16"),
    "window": (-1, "from 1 to 4096"),
    "label": ("\x1b[31mred", "a line of 0 to 100"),
    "unet": ([], "an object with channels"),
    "temporal": (3, "an object with strides"),
    "diffusion": (None, "an object with prediction"),
    "text": ("", "an object with vocabulary"),
    "unet__channels": ([16, 24, 10**9], r"\[2\] is 1000000000"),
    "unet__blocks": ([1] * 7, "a list of 2 to 6"),
    "unet__attention": ([0, 1, 1], "True or False"),
    "unet__attention_kind": ("cross", "'joint'"),
    "unet__resize_kind": (None, "'conv'"),
    "unet__in_channels": (4, "to be 3"),
    "unet__out_channels": (4, "to be 3"),
    "unet__low_res_channels": (1, "0 or 3"),
    "unet__patch": (0, "from 1 to 16"),
    "unet__embed_width": (-4, "from 0 to 8192"),
    "unet__context_dim": (0, "from 1 to 8192"),
    "unet__word_dim": (-1, "from 0 to 8192"),
    "unet__timed_width": (10**9, "from 0 to 8192"),
    "unet__field_rank": (1.5, "from 0 to 8192"),
    "unet__head_dim": (0, "from 1 to 8192"),
    "unet__groups": (0, "from 1 to 8192"),
    "unet__residual": (1, "True or False"),
    "unet__noise_level": ("yes", "True or False"),
    "unet__res_kind": ("add", "'film'"),
    "unet__heads": (8, "to be 0"),
    "unet__middle": (0, "to be -1"),
    "unet__text_only": ([True], "a list of 0 to 0"),
    "unet__pooled_text": (False, "True"),
    "unet__label_kind": ("class", "''"),
    "unet__label_size": (1000, "to be 0"),
    "unet__time_scale": (1.0, "1000.0"),
    "temporal__attention_kind": ("animatediff", "'rotary'"),
    "temporal__positions": (4, "to be 0"),
    "temporal__strides": ([2, 1000], r"\[1\] is 1000"),
    "temporal__kernel": (2, "1 or 3 or 5 or 7"),
    "temporal__head_dim": (0, "from 1 to 8192"),
    "temporal__condition_channels": (3, "0 or 4"),
    "diffusion__prediction": ("w", "'v' or 'eps' or 'x0'"),
    "diffusion__shift": (float("nan"), "is nan, .* from 0.01 to 100"),
    "diffusion__noise_share": (1.0, "from 0 to 0.999"),
    "diffusion__sigma_max": (float("inf"), "is inf, .* from 1 to 1000"),
    "diffusion__steps": (10**9, "from 1 to 1000"),
    "diffusion__cfg_scale": (-1, "from 0 to 100"),
    "diffusion__rescale": (10**400, "from 0 to 1"),
    "text__vocabulary": (["red", ""], r"\[1\] is ''"),
    "text__rows": (10**6, "from 1 to 512"),
    "text__width": (0, "from 1 to 8192"),
    "text__depth": (10**9, "from 1 to 48"),
    "text__heads": (0, "from 1 to 8192"),
    "text__raw_words": (1, "True or False"),
}


def test_every_field_of_every_spec_has_a_wrong_value_here():
    def names(spec, before=""):
        for f in dataclasses.fields(spec):
            value = getattr(spec, f.name)
            yield before + f.name
            if dataclasses.is_dataclass(value):
                yield from names(value, f"{f.name}__")

    assert set(names(PRESETS["tiny"])) == WRONG.keys()


@pytest.mark.parametrize("field", WRONG)
def test_a_field_out_of_its_range_is_named_with_its_value(field):
    value, said = WRONG[field]
    where = "spec." + field.replace("__", ".")
    with pytest.raises(ValueError, match=f"^{re.escape(where)}.*{said}") as refusal:
        from_dict(changed(**{field: value}))
    assert len(str(refusal.value)) < 300 and str(refusal.value).endswith(".")


def test_a_field_without_a_rule_is_our_own_mistake():
    with pytest.raises(AssertionError, match="TemporalSpec"):
        record(TemporalSpec, kernel=whole(1, 3))


def test_a_spec_of_before_takes_the_defaults_of_fields_that_came_later():
    data = changed()
    del data["diffusion"]["rescale"], data["label"]
    assert from_dict(data) == replace(PRESETS["tiny"], label="")


def test_a_spec_without_what_it_needs_says_what_it_lacks():
    data = changed()
    del data["unet"]
    with pytest.raises(ValueError, match="spec lacks unet"):
        from_dict(data)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"unet__blocks": [1, 1]}, "3 channels, 2 blocks"),
        ({"unet__channels": [15, 24, 32], "unet__groups": 1}, "begins with 15"),
        ({"unet__groups": 5}, "groups is 5"),
        ({"unet__channels": [16, 32, 32], "unet__groups": 16}, "groups is 16"),
        ({"unet__head_dim": 7}, r"head_dim is 7, .*\[24, 32\]"),
        ({"unet__embed_width": 33}, "33 wide"),
        ({"unet__context_dim": 32}, "text.width is 16"),
        ({"text__heads": 3}, "heads is 3"),
        ({"text__raw_words": False}, "word_dim is 16"),
        ({"unet__timed_width": 0}, "field_rank needs a timed_width"),
        ({"unet__timed_width": 8, "unet__word_dim": 0, "text__raw_words": False}, "timed_width a word_dim"),
        ({"temporal": None}, "the kind is base"),
        ({"kind": "image"}, "the kind is image"),
        ({"temporal__strides": [2]}, "strides has 1"),
        ({"temporal__head_dim": 1}, "head_dim is 1"),
        ({"temporal__strides": [8, 8], "num_frames": 63}, "one frame of 64"),
        ({"unet__noise_level": True}, "for super-resolution"),
        ({"unet__residual": True}, "for super-resolution"),
        ({"kind": "ssr", "scale": 2}, "for super-resolution"),
        ({"scale": 2}, "scale is 2"),
        ({"size": 60}, "multiple of 8"),
    ],
)
def test_sizes_that_do_not_go_together_are_named(changes, said):
    with pytest.raises(ValueError, match=f"^in its spec .*{said}"):
        from_dict(changed(**changes))


def test_a_spec_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        PRESETS["tiny"].name = "other"
