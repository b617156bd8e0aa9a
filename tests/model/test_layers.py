"""The spatial blocks, against those that diffusers has and against hand-written ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lumiere_core.config import AttentionSpec
from lumiere_core.model.layers import (
    Downsample,
    JointTextAttention,
    Operations,
    ResBlock,
    TextPool,
    UNetBlock,
    Upsample,
    film,
    initialise,
)

OPS = Operations()


def test_film_scales_and_shifts_each_clip_by_its_own_row():
    x = torch.ones(4, 1, 1, 1)  # two clips of two frames
    rows = torch.tensor([[1.0, 5.0], [0.0, -1.0]])  # (scale, shift) of each
    assert film(x, rows).flatten().tolist() == [7, 7, 0, 0]


def test_a_res_block_equals_the_one_of_diffusers(randomise):
    resnet = pytest.importorskip("diffusers.models.resnet")
    ours = randomise(ResBlock(16, 24, 32, 4, OPS))
    known = resnet.ResnetBlock2D(
        in_channels=16,
        out_channels=24,
        temb_channels=32,
        groups=4,
        eps=1e-5,
        time_embedding_norm="scale_shift",
    ).eval()
    names = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    state = ours.state_dict()
    known.load_state_dict(
        {f"{a}.{p}": state[f"{b}.{p}"] for a, b in names.items() for p in ("weight", "bias")}
    )
    x, emb = torch.randn(2, 16, 6, 6), torch.randn(2, 32)
    torch.testing.assert_close(ours(x, emb, None), known(x, emb).detach(), atol=1e-4, rtol=1e-4)


def test_one_softmax_over_text_and_pixels_equals_the_added_keys_of_diffusers(randomise):
    processors = pytest.importorskip("diffusers.models.attention_processor")
    ours = randomise(JointTextAttention(AttentionSpec(16, 12, 8, 4), OPS))
    known = processors.Attention(
        query_dim=16,
        cross_attention_dim=16,
        heads=2,
        dim_head=8,
        added_kv_proj_dim=12,
        norm_num_groups=4,
        bias=True,
        residual_connection=True,
        processor=processors.AttnAddedKVProcessor(),
    ).eval()
    state = ours.state_dict()
    for part in ("weight", "bias"):
        q, k, v = state[f"qkv.{part}"].chunk(3)
        text_k, text_v = state[f"encoder_kv.{part}"].chunk(2)
        pieces = {"to_q": q, "to_k": k, "to_v": v, "add_k_proj": text_k, "add_v_proj": text_v}
        pieces |= {"group_norm": state[f"norm.{part}"], "to_out.0": state[f"proj_out.{part}"]}
        known.load_state_dict({f"{name}.{part}": p for name, p in pieces.items()}, strict=False)
    x, text = torch.randn(2, 16, 3, 5), torch.randn(2, 7, 12)
    theirs = known(x, encoder_hidden_states=text).detach()
    torch.testing.assert_close(ours(x, None, text), theirs, atol=1e-4, rtol=1e-4)


def test_each_frame_attends_to_the_text_of_its_own_clip(randomise):
    block = randomise(JointTextAttention(AttentionSpec(16, 12, 8, 4), OPS))
    x, text = torch.randn(6, 16, 2, 2), torch.randn(2, 7, 12)
    both = block(x, None, text)
    torch.testing.assert_close(both[3:], block(x[3:], None, text[1:]))


@pytest.mark.parametrize(
    "block", [ResBlock(16, 16, 32, 4, OPS), JointTextAttention(AttentionSpec(16, 12, 8, 4), OPS)]
)
def test_a_fresh_block_changes_nothing(block):
    initialise(block)
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(block(x, torch.randn(2, 32), torch.randn(2, 7, 12)), x)


def test_a_picture_is_halved_and_doubled(randomise):
    x = torch.randn(1, 8, 6, 4)
    assert Downsample(8, OPS)(x).shape == (1, 8, 3, 2)
    up = randomise(Upsample(8, OPS))
    twice = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(up(x, (12, 8)), up.conv(twice))
    torch.testing.assert_close(up(x, (11, 7)), up.conv(twice[:, :, :11, :7]))  # of 11 x 7, halved


def test_a_pool_over_equal_rows_sees_one_of_them(randomise):
    pool = randomise(TextPool(12, 32, 4, OPS))
    row = torch.randn(2, 1, 12)
    torch.testing.assert_close(pool(row.expand(-1, 9, -1)), pool(row), atol=1e-5, rtol=1e-5)


def test_each_head_of_a_pool_picks_its_own_row():
    pool = TextPool(2, 4, 2, OPS)
    with torch.no_grad():
        pool.score.weight.copy_(100 * torch.eye(2))  # head 0 wants rows like (1, 0), head 1 rows like (0, 1)
        pool.value.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]] * 2))
        pool.out.weight.copy_(torch.eye(4))
        for layer in (pool.score, pool.value, pool.out):
            layer.bias.zero_()
        out = pool(torch.eye(2)[None])
    picked = torch.tensor([[1.0, 3.0, 2.0, 4.0]])  # values of row 0 for head 0, of row 1 for head 1
    torch.testing.assert_close(out, nn.functional.silu(picked), atol=1e-4, rtol=1e-4)


def test_a_stage_knows_its_change_of_size_and_keeps_it_apart(randomise):
    stage = randomise(UNetBlock(ResBlock(8, 8, 32, 4, OPS), Upsample(8, OPS)))
    x, emb = torch.randn(1, 8, 4, 4), torch.randn(1, 32)
    assert stage.resize is stage[1]
    assert torch.equal(stage.body(x, emb, None), stage[0](x, emb, None))
    assert UNetBlock(ResBlock(8, 8, 32, 4, OPS)).resize is None


def test_layers_come_from_the_hosts_namespace_in_its_dtype():
    class Host:
        class Linear(nn.Linear):
            pass

    layer = Operations(Host, torch.float64).Linear(2, 3)
    assert type(layer) is Host.Linear and layer.weight.dtype == torch.float64
