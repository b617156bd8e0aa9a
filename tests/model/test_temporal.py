"""What inflation adds, block by block."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.config import TemporalSpec
from lumiere_core.model.layers import Operations, initialise
from lumiere_core.model.temporal import AttentionInflation, ConvInflation, TemporalDown, TemporalUp

SPEC = TemporalSpec(head_dim=8)
OPS = Operations()


def frames(count: int, batch: int = 1, channels: int = 16) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(batch * count, channels, 3, 2).contiguous(memory_format=torch.channels_last)


def fresh(block: torch.nn.Module) -> torch.nn.Module:
    initialise(block)
    return block.requires_grad_(False)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_fresh_temporal_stride_keeps_every_nth_frame(stride, kernel):
    x, spec = frames(6), TemporalSpec(kernel=kernel)
    assert torch.equal(fresh(TemporalDown(16, stride, spec, OPS))(x, 6), x[::stride])


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_fresh_temporal_upsampling_repeats_frames(stride, kernel):
    x, spec = frames(4), TemporalSpec(kernel=kernel)
    assert torch.equal(fresh(TemporalUp(16, stride, spec, OPS))(x, 4), x.repeat_interleave(stride, 0))


def blending(block: torch.nn.Module) -> torch.nn.Module:
    """A resize whose convolution mixes each channel with itself over time: a quarter, a half, a quarter."""
    fresh(block).conv.weight.copy_(
        torch.eye(16)[:, :, None, None] * torch.tensor([0.25, 0.5, 0.25]).view(1, 1, 3, 1)
    )
    return block


def shades(*values: float) -> torch.Tensor:
    return torch.tensor(values).float().view(-1, 1, 1, 1).expand(-1, 16, 3, 2)


def test_frames_are_repeated_and_then_blended():
    """0 and 1 repeated are 0 0 1 1, and blended 0, 1/4, 3/4, 3/4: past its end a clip is black."""
    out = blending(TemporalUp(16, 2, SPEC, OPS))(shades(0, 1), 2)
    torch.testing.assert_close(out, shades(0, 0.25, 0.75, 0.75))


def test_frames_are_blended_and_then_dropped():
    """0 1 0 1 blended is 1/4, 1/2, 1/2, 1/2, of which the first and the third stay: no frame goes unseen."""
    out = blending(TemporalDown(16, 2, SPEC, OPS))(shades(0, 1, 0, 1), 4)
    torch.testing.assert_close(out, shades(0.25, 0.5))


@pytest.mark.parametrize("kind", [ConvInflation, AttentionInflation])
def test_a_fresh_inflation_changes_nothing(kind):
    x = frames(5)
    assert torch.equal(fresh(kind(16, 32, 4, SPEC, OPS))(x, torch.randn(1, 32), 5), x)


@pytest.mark.parametrize("kind", [ConvInflation, AttentionInflation])
def test_frames_see_each_other_and_clips_do_not(kind, randomise):
    block = randomise(kind(16, 32, 4, SPEC, OPS))
    x, emb = frames(5, batch=2), torch.randn(2, 32)
    y = block(x, emb, 5)
    changed = x.clone()
    changed[1] += torch.randn(16, 3, 2)  # second frame of the first clip
    z = block(changed, emb, 5)
    assert not torch.allclose(y[0], z[0], atol=1e-4)  # the frame before it sees that
    assert torch.equal(y[5:], z[5:])  # the second clip does not
    torch.testing.assert_close(y[5:], block(x[5:], emb[1:], 5), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [ConvInflation, AttentionInflation])
def test_the_temporal_blocks_hear_the_words(kind, randomise):
    block = randomise(kind(16, 32, 4, SPEC, OPS))
    x, emb = frames(5), torch.randn(1, 32)
    assert not torch.allclose(block(x, emb, 5), block(x, -emb, 5), atol=1e-3)


def test_a_convolution_over_time_reaches_one_frame_to_each_side(randomise):
    block = randomise(ConvInflation(16, 32, 4, SPEC, OPS))
    x, emb = frames(7), torch.randn(1, 32)
    changed = x.clone()
    changed[3] += torch.randn(16, 3, 2)
    moved = (block(x, emb, 7) - block(changed, emb, 7)).abs().amax((1, 2, 3)) > 1e-6
    assert moved.tolist() == [False, False, True, True, True, False, False]


def test_temporal_attention_reaches_the_whole_clip_and_keeps_a_still_one_still(randomise):
    block = randomise(AttentionInflation(16, 32, 4, SPEC, OPS))
    x, emb = frames(7), torch.randn(1, 32)
    changed = x.clone()
    changed[3] += torch.randn(16, 3, 2)
    assert ((block(x, emb, 7) - block(changed, emb, 7)).abs().amax((1, 2, 3)) > 1e-6).all()

    still = block(x[:1].expand(7, -1, -1, -1), emb, 7)
    torch.testing.assert_close(still, still[:1].expand_as(still), atol=1e-5, rtol=1e-5)


def test_temporal_attention_knows_the_order_of_frames(randomise):
    """Without positions, frames in another order would come out the same in that order."""
    block = randomise(AttentionInflation(16, 32, 4, SPEC, OPS))
    x, emb, order = frames(5), torch.randn(1, 32), [3, 0, 4, 1, 2]
    assert not torch.allclose(block(x[order], emb, 5), block(x, emb, 5)[order], atol=1e-2)


def test_each_pixel_attends_to_itself_over_time_alone(randomise):
    """A pixel's change shows elsewhere only by the norm, so with the norm's statistics held it stays where it is."""
    block = randomise(AttentionInflation(16, 32, 4, SPEC, OPS))
    block.norm = torch.nn.Identity()
    x, emb = frames(4), torch.randn(1, 32)
    changed = x.clone()
    changed[0, :, 2, 1] += 1
    moved = (block(x, emb, 4) - block(changed, emb, 4)).abs().amax((0, 1)) > 1e-6
    assert moved.tolist() == [[False, False], [False, False], [False, True]]


@pytest.mark.parametrize(
    "block",
    [ConvInflation(16, 32, 4, SPEC, OPS), AttentionInflation(16, 32, 4, SPEC, OPS)],
    ids=["conv", "attention"],
)
def test_the_clip_stays_channels_last(block, randomise):
    y = randomise(block)(frames(5), torch.randn(1, 32), 5)
    assert y.is_contiguous(memory_format=torch.channels_last)
