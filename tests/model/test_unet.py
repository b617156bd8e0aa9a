"""The 2D text-to-image U-Net."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.config import replace
from lumiere_core.model.layers import CoordinateField, Operations, TimedText
from lumiere_core.model.unet import UNet


@pytest.fixture(scope="module")
def unet(tiny_spec, randomise) -> UNet:
    return randomise(UNet(tiny_spec.unet))


def inputs(batch: int = 2, frames: int = 1, size: int = 16):
    torch.manual_seed(0)
    return torch.randn(batch * frames, 3, size, size), torch.rand(batch), torch.randn(batch, 32, 32)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 8), (24, 40)])
def test_any_multiple_of_the_coarsest_pixel_runs(unet, height, width):
    _, t, context = inputs()
    assert unet(torch.randn(2, 3, height, width), t, context).shape == (2, 3, height, width)


def test_words_time_and_picture_all_matter(unet):
    x, t, context = inputs()
    y = unet(x, t, context)
    for other in (unet(x + 1, t, context), unet(x, 1 - t, context), unet(x, t, context.roll(1, 0))):
        assert not torch.allclose(y, other, atol=1e-3)


def test_every_picture_of_a_batch_is_made_alone(unet):
    x, t, context = inputs(batch=2, frames=3)
    together = unet(x, t, context)
    for i in range(6):
        alone = unet(x[i : i + 1], t[i // 3 : i // 3 + 1], context[i // 3 : i // 3 + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=1e-4)


def test_the_names_are_those_of_the_published_checkpoints(unet):
    names = {name.split(".")[0] for name in unet.state_dict()}
    ours = {"text_pool", "timed_text", "timed_embed", "field", "field_time"}
    assert names - ours == {"time_embed", "input_blocks", "middle_block", "output_blocks", "out"}
    for name in (
        "time_embed.0.weight",
        "input_blocks.0.0.weight",
        "input_blocks.1.0.in_layers.0.weight",
        "input_blocks.1.0.emb_layers.1.weight",
        "input_blocks.1.0.out_layers.3.weight",
        "input_blocks.3.0.op.weight",
        "middle_block.0.in_layers.2.weight",
        "middle_block.1.encoder_kv.weight",
        "output_blocks.0.0.skip_connection.weight",
        "out.2.weight",
    ):
        assert name in unet.state_dict(), name


def test_a_word_and_a_second_are_told_by_their_product(tiny_spec, randomise):
    """Neither the word nor the second alone moves what the other does by the same amount: it is no sum."""
    text = randomise(TimedText(16, 24, Operations()))
    left, right, early, late = torch.randn(1, 1, 16), torch.randn(1, 1, 16), 0.1, 0.9
    told = {
        (i, j): text(words, torch.tensor([[when]]))
        for i, words in enumerate((left, right))
        for j, when in enumerate((early, late))
    }
    crossed = told[0, 0] - told[0, 1] - told[1, 0] + told[1, 1]  # zero for any sum of the two
    assert crossed.abs().mean() > 0.1


def test_padding_does_not_drown_a_word(randomise):
    text = randomise(TimedText(16, 24, Operations()))
    words = torch.randn(1, 4, 16)
    padded = torch.cat([words, torch.zeros(1, 28, 16)], dim=1)
    torch.testing.assert_close(text(words), text(padded))


def test_a_second_that_is_not_told_changes_nothing(unet):
    x, t, context = inputs(batch=2)
    plain = unet(x, t, context)
    torch.testing.assert_close(unet(x, t, context, when=torch.full((2, 1), -1.0)), plain)
    assert not torch.allclose(unet(x, t, context, when=torch.full((2, 1), 0.3)), plain, atol=1e-3)


def test_the_field_knows_where_a_pixel_is(randomise):
    """The same vector gives another value at every place, and the same picture at twice the size."""
    field = randomise(CoordinateField(5, 8, 16, Operations()))
    small, large = (field(torch.ones(1, 8), n, n) for n in (8, 32))
    assert small[0].flatten(1).T.unique(dim=0).shape[0] == 64
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    assert (small - shrunk).square().mean() < 0.1 * small.var()


def test_a_fresh_model_predicts_nothing(tiny_spec):
    x, t, context = inputs()
    assert not UNet(tiny_spec.unet)(x, t, context).any()


def test_super_resolution_sees_the_small_clip_and_how_noisy_it_is(ssr_spec, randomise):
    unet = randomise(UNet(ssr_spec.unet))
    x, t, context = inputs()
    small, level = torch.randn(2, 3, 4, 4), torch.tensor([0.1, 0.1])
    y = unet(x, t, context, small, level)
    assert y.shape == x.shape
    assert not torch.allclose(y, unet(x, t, context, small + 1, level), atol=1e-3)
    assert not torch.allclose(y, unet(x, t, context, small, 2 * level), atol=1e-3)


def test_attention_sits_where_the_spec_says(tiny_spec):
    unet = UNet(replace(tiny_spec.unet, attention=(False, False, True)))
    attended = {name.split(".qkv")[0] for name in unet.state_dict() if name.endswith("qkv.weight")}
    levels = {int(name.split(".")[1]) for name in attended if name.startswith("input_blocks")}
    assert {unet.input_levels[i] for i in levels} == {2}


def test_the_network_is_told_the_time_smoothly(unet):
    x, _, context = inputs(batch=1)
    a, b, far = (unet(x, torch.tensor([t]), context) for t in (0.5, 0.50001, 0.9))
    assert (a - b).abs().max() < 0.1 * (a - far).abs().max()


def test_a_fresh_super_resolution_model_enlarges_smoothly(ssr_spec):
    """What it adds is zero at first: the clip it hands over is the small one, four times as large."""
    x, t, context = inputs()
    small = torch.randn(2, 3, 4, 4)
    y = UNet(ssr_spec.unet)(x, t, context, small, torch.zeros(2))
    torch.testing.assert_close(y, torch.nn.functional.interpolate(small, scale_factor=4.0, mode="bicubic"))
