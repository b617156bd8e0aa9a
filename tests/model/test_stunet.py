"""The Space-Time U-Net: an image model that has become a video model, and the facts that hold on its first day."""

from __future__ import annotations

import copy

import pytest
import torch
from einops import rearrange
from torch import nn

from lumiere_core.config import TemporalSpec, UNetSpec, replace
from lumiere_core.model.functional import pad_frames
from lumiere_core.model.layers import initialise
from lumiere_core.model.stunet import SpaceTimeUNet, inflate
from lumiere_core.model.text import TextEncoder
from lumiere_core.model.unet import UNet

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def unet(tiny_spec, randomise) -> UNet:
    return randomise(UNet(tiny_spec.unet))


@pytest.fixture(scope="module")
def fresh(tiny_spec, unet) -> SpaceTimeUNet:
    """A known image model with a new temporal part."""
    return inflate(unet, tiny_spec.temporal).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained(tiny) -> SpaceTimeUNet:
    """As after training: nothing in it is zero."""
    return tiny.network


def inputs(frames: int, batch: int = 2, size: int = 8):
    torch.manual_seed(frames)
    return torch.randn(batch, 3, frames, size, size), torch.rand(batch), torch.randn(batch, 32, 32)


def picture_by_picture(unet: UNet, x, t, context):
    y = unet(rearrange(x, "b c t h w -> (b t) c h w"), t, context)
    return rearrange(y, "(b t) c h w -> b c t h w", b=len(x))


@pytest.mark.parametrize("frames", [4, 8, 12])
def test_every_nth_frame_of_a_new_video_model_is_the_image_models(unet, fresh, frames):
    x, t, context = inputs(frames)
    n = fresh.temporal_spec.time_factor
    known = picture_by_picture(unet, x[:, :, ::n], t, context)
    assert known.std() > 0.1
    torch.testing.assert_close(fresh(x, t, context)[:, :, ::n], known, **CLOSE)


@pytest.mark.parametrize("strides", [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_that_holds_for_any_temporal_strides(unet, strides):
    video = inflate(unet, TemporalSpec(strides=strides, head_dim=8)).eval()
    n = video.temporal_spec.time_factor
    x, t, context = inputs(2 * n)
    known = picture_by_picture(unet, x[:, :, ::n], t, context)
    torch.testing.assert_close(video(x, t, context)[:, :, ::n], known, **CLOSE)


def test_a_clip_of_one_frame_is_the_image_models_picture(unet, fresh):
    x, t, context = inputs(1)
    torch.testing.assert_close(fresh(x, t, context), picture_by_picture(unet, x, t, context), **CLOSE)


def test_inflation_keeps_every_key_shape_and_value_of_the_image_model(unet, fresh):
    before, after = unet.state_dict(), fresh.state_dict()
    for name, value in before.items():
        assert torch.equal(after[name], value), name
    assert all(name.startswith("temporal.") for name in set(after) - set(before))


def test_attention_over_time_sits_at_the_coarsest_level_only(fresh):
    attended = {name.split(".qkv")[0] for name in fresh.temporal.state_dict() if ".qkv.weight" in name}
    coarsest = len(fresh.spec.channels) - 1
    for name in attended:
        block, index, *_ = name.split(".")
        levels = {"input_blocks": fresh.input_levels, "output_blocks": fresh.output_levels}
        assert block == "middle_block" or levels[block][int(index)] == coarsest
    assert len(attended) == 5  # one in the encoder, two in the middle, two in the decoder


@pytest.mark.parametrize("frames", range(1, 10))
def test_any_number_of_frames_runs_as_if_its_last_frame_were_repeated(trained, frames):
    x, t, context = inputs(frames, batch=1)
    y = trained(x, t, context)
    assert y.shape == x.shape
    longer = trained(pad_frames(x, 4), t, context)
    torch.testing.assert_close(y, longer[:, :, :frames], **CLOSE)


def test_frames_of_a_trained_model_see_each_other(trained):
    x, t, context = inputs(8, batch=1)
    other = x.clone()
    other[:, :, 7] = torch.randn_like(x[:, :, 7])
    assert (trained(x, t, context) - trained(other, t, context))[:, :, 0].abs().max() > 1e-4


def test_the_decoder_is_handed_what_inflation_made_of_each_level(trained):
    """Skips are taken after the inflation block: past it, a decoder would see frames that know of no other."""
    model, inflated, handed = copy.deepcopy(trained), [], []
    first = model.temporal["input_blocks"][1]["inflate"]
    first.register_forward_hook(lambda module, args, output: inflated.append(output))
    model.output_blocks[-2][0].register_forward_pre_hook(lambda module, args: handed.append(args[0]))
    model(*inputs(8, batch=1))
    ((made,), (seen,)) = inflated, handed
    torch.testing.assert_close(seen[:, -made.shape[1] :], made)


def test_every_clip_of_a_batch_is_made_alone(trained):
    x, t, context = inputs(5)
    together = trained(x, t, context)
    for i in range(2):
        alone = trained(x[i : i + 1], t[i : i + 1], context[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, **CLOSE)


def test_the_condition_enters_by_a_convolution_of_zeros(fresh):
    x, t, context = inputs(4)
    condition = torch.randn(2, 4, 4, 8, 8)
    assert not fresh.temporal["condition"].weight.any()
    assert torch.equal(fresh(x, t, context, condition), fresh(x, t, context))


def test_nothing_known_is_the_same_as_no_condition(trained, tiny_spec, randomise):
    """The convolution has no bias: a mask of zeros adds nothing, however long it was trained."""
    x, t, context = inputs(4)
    model = randomise(SpaceTimeUNet(tiny_spec.unet, tiny_spec.temporal))
    assert torch.equal(model(x, t, context, torch.zeros(2, 4, 4, 8, 8)), model(x, t, context))
    assert not torch.allclose(
        model(x, t, context, torch.ones(2, 4, 4, 8, 8)), model(x, t, context), atol=1e-3
    )


def test_the_condition_is_the_arithmetic_of_a_wider_first_convolution(trained):
    """(x, C, M) through one convolution of 7 channels equals x through the old one plus (C, M) through the new."""
    old, new = trained.input_blocks[0][0], trained.temporal["condition"]
    wide = nn.Conv2d(old.in_channels + new.in_channels, old.out_channels, 3, padding=1).requires_grad_(False)
    wide.weight.copy_(torch.cat([old.weight, new.weight], 1))
    wide.bias.copy_(old.bias)
    a, b = torch.randn(2, old.in_channels, 4, 4), torch.randn(2, new.in_channels, 4, 4)
    torch.testing.assert_close(wide(torch.cat([a, b], 1)), old(a) + new(b), **CLOSE)


def test_super_resolution_runs_on_any_number_of_frames_and_sees_the_small_clip(tiny_ssr):
    x, t, context = inputs(5, size=16)
    small, level = torch.randn(2, 3, 5, 4, 4), torch.tensor([0.1, 0.2])
    y = tiny_ssr.network(x, t, context, low_res=small, noise_level=level)
    assert y.shape == x.shape
    other = tiny_ssr.network(x, t, context, low_res=small.flip(2), noise_level=level)
    assert not torch.allclose(y, other, atol=1e-3)


def test_the_clip_runs_channels_last_through_every_convolution(trained):
    wrong = []

    def look(module, args, output):
        if not (args[0].is_contiguous(memory_format=torch.channels_last)):
            wrong.append(module)

    model = copy.deepcopy(trained).to(memory_format=torch.channels_last)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(look)
    model(*inputs(8, size=16), condition=torch.zeros(2, 4, 8, 16, 16))  # one pixel has no layout
    assert not wrong, wrong


def test_strides_that_do_not_match_the_levels_are_refused(tiny_spec):
    with pytest.raises(ValueError, match="1 temporal strides for 3 levels"):
        SpaceTimeUNet(tiny_spec.unet, TemporalSpec(strides=(2,), head_dim=8))


class Unset:
    """Layers as a host makes them: whatever was in memory, here NaN."""


def _filled(self):
    for p in self.parameters(recurse=False):
        p.data.fill_(float("nan"))


for _name in ("Linear", "Conv1d", "Conv2d", "GroupNorm", "LayerNorm", "Embedding"):
    setattr(Unset, _name, type(_name, (getattr(nn, _name),), {"reset_parameters": _filled}))


@pytest.mark.parametrize("kind", ["image", "video", "super-resolution", "text"])
def test_every_parameter_gets_a_first_value(tiny_spec, ssr_spec, kind):
    model = {
        "image": lambda: UNet(tiny_spec.unet, Unset),
        "video": lambda: SpaceTimeUNet(tiny_spec.unet, tiny_spec.temporal, Unset),
        "super-resolution": lambda: SpaceTimeUNet(ssr_spec.unet, ssr_spec.temporal, Unset),
        "text": lambda: TextEncoder(tiny_spec.text, Unset),
    }[kind]()
    assert Unset.Linear(2, 2).weight.isnan().all()
    assert any(type(m) is Unset.Linear for m in model.modules())
    unset = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    assert not unset, unset


def test_a_first_value_set_twice_is_the_same_kind_of_value(tiny_spec):
    model = SpaceTimeUNet(tiny_spec.unet, tiny_spec.temporal)
    zeros = {name for name, p in model.named_parameters() if not p.any()}
    initialise(model)
    assert zeros == {name for name, p in model.named_parameters() if not p.any()}


def test_the_model_comes_in_the_dtype_it_was_asked_for(tiny_spec):
    model = SpaceTimeUNet(tiny_spec.unet, tiny_spec.temporal, dtype=torch.float64)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    x, t, context = inputs(3)
    assert model(x.double(), t, context.double()).dtype == torch.float64


def test_a_model_without_condition_has_no_weights_for_it(tiny_spec):
    spec = replace(tiny_spec.temporal, condition_channels=0)
    assert "condition" not in SpaceTimeUNet(tiny_spec.unet, spec).temporal


def test_told_their_seconds_every_nth_frame_is_still_the_image_models(tiny_spec, randomise):
    unet = randomise(UNet(tiny_spec.unet))
    video = inflate(unet, tiny_spec.temporal).eval()
    n = video.temporal_spec.time_factor
    x, t, context = inputs(2 * n + 1, batch=2)
    when = torch.rand(2, 2 * n + 1)
    made = video(x, t, context, when=when)
    for frame in range(0, 2 * n + 1, n):
        known = unet(x[:, :, frame], t, context, when=when[:, frame : frame + 1])
        torch.testing.assert_close(made[:, :, frame], known, **CLOSE)
    torch.testing.assert_close(video(x, t, context, when=when.view(2, 1, -1, 1, 1)), made)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_any_number_of_levels_can_be_inflated(levels, randomise):
    spec = UNetSpec(
        channels=(8,) * levels,
        blocks=(1,) * levels,
        attention=(False,) * levels,
        patch=1,
        embed_width=16,
        context_dim=16,
        groups=2,
        head_dim=8,
    )
    unet = randomise(UNet(spec))
    video = inflate(unet, TemporalSpec(strides=(2,) * (levels - 1), head_dim=8)).eval()
    n = video.temporal_spec.time_factor
    x, t, context = inputs(n + 1, batch=1)
    known = picture_by_picture(unet, x[:, :, ::n], t, context)
    torch.testing.assert_close(video(x, t, context)[:, :, ::n], known, **CLOSE)
