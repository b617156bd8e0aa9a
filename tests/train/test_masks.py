"""What of a training clip is known: every task of the condition room, in its shares, hard, and 1 where known."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch

from lumiere_core.train import masks
from lumiere_core.train.masks import KINDS, drawn_condition

SHAPE = (12, 16, 24)


def drawn(kind, count=60):
    return [kind(random.Random(seed), SHAPE) for seed in range(count)]


@pytest.mark.parametrize("kind", [kind for _, kind in KINDS])
def test_a_mask_is_hard_and_of_the_clips_shape(kind):
    for known in drawn(kind):
        assert known.shape == SHAPE and set(known.unique().tolist()) <= {0.0, 1.0}


def test_shares_add_up_and_two_in_five_know_nothing():
    assert sum(share for share, _ in KINDS) == pytest.approx(1)
    clips = torch.ones(1000, 3, 2, 8, 8)
    known = drawn_condition(clips, torch.Generator().manual_seed(0))[:, 3]
    assert (known.flatten(1).amax(dim=1) == 0).float().mean().item() == pytest.approx(0.4, abs=0.04)


def test_c_is_the_clip_where_m_says_so_and_blank_elsewhere():
    clips = torch.rand(40, 3, *SHAPE) + 0.5
    condition = drawn_condition(clips, torch.Generator().manual_seed(1))
    blanked, known = condition[:, :3], condition[:, 3:]
    assert torch.equal(blanked, clips * known)


def test_whole_frames_are_known_or_not():
    found = Counter()
    for known in drawn(masks.some_frames):
        assert torch.equal(known.flatten(1).amax(1), known.flatten(1).amin(1))
        found[tuple(known[:, 0, 0].nonzero().flatten().tolist())] += 1
    assert found[(0,)] > 15 and found[(0, SHAPE[0] - 1)] > 5 and len(found) > 8


def test_one_end_is_known_without_a_gap():
    ends = Counter()
    for known in drawn(masks.one_end):
        frames = known[:, 0, 0]
        assert frames.diff().abs().sum() == 1 and 1 <= frames.sum() <= SHAPE[0] // 2
        ends["begin" if frames[0] else "end"] += 1
    assert min(ends.values()) > 5


def test_what_is_painted_out_stays_or_moves():
    moves = [bool((known[0] != known[-1]).any()) for known in drawn(masks.painted_out)]
    assert 10 < sum(moves) < 50


def test_outpainting_knows_the_middle_and_lacks_a_border():
    for known in drawn(masks.inner):
        assert known[0, 7, 11] == 1 and torch.equal(known, known[:1].expand_as(known))
        sides = known[0, 0], known[0, -1], known[0, :, 0], known[0, :, -1]
        assert any(not side.any() for side in sides)


def test_a_cinemagraph_knows_frame_0_and_all_outside_a_region_that_stays():
    for known in drawn(masks.cinemagraph):
        assert known[0].all() and torch.equal(known[1], known[-1])
    assert sum(bool((known[1] == 0).any()) for known in drawn(masks.cinemagraph)) > 50
