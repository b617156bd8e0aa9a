"""The recipe's step: what a network is shown, what it is asked for, and what is kept of it.

In place of the network stands one that remembers what it was told, so these facts hold for any sizes.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from lumiere_core.config import replace as with_spec
from lumiere_core.model.checkpoint import Lumiere
from lumiere_core.train.data import Batch, draw_windows
from lumiere_core.train.evaluate import evaluate
from lumiere_core.train.gauge import bicubic
from lumiere_core.train.probe import Probe, ProbeSpec
from lumiere_core.train.stages import STAGES, Phase
from lumiere_core.train.trainer import Trainer
from lumiere_core.train.world.scenes import WORLDS, Scene, render

BALLOON = Scene("balloon", "red", "rising", "sea", "at sunset", seed=5)
MOVING = ["temporal", "ssr"]


class Told(torch.nn.Module):
    """A network that remembers what it was told, and answers as it is bidden."""

    def __init__(self, answer=lambda noisy, t: noisy):
        super().__init__()
        self.answer, self.told = answer, {}

    def forward(self, noisy, t, context, known=None, **condition):
        self.told = {"noisy": noisy, "t": t, "context": context, "known": known, **condition}
        return self.answer(noisy, t)


def step(stage, spec, network, clips, ids=None, text=None, **changes) -> float:
    """One loss of a stage with that network in place of its own."""
    model, row = Lumiere(spec), replace(STAGES[stage], **changes)
    model.network, model.text = network, text or model.text
    ids = torch.ones(len(clips), spec.text.rows, dtype=torch.long) if ids is None else ids
    small = torch.nn.functional.avg_pool3d(clips, (1, spec.scale, spec.scale))
    batch = Batch(clips, ids, torch.full((len(clips), clips.shape[2]), 0.5), small)
    with torch.no_grad():
        return row.loss(row, row.phases[0], model, batch, torch.Generator().manual_seed(0)).item()


@pytest.fixture
def spec_of(tiny_spec, ssr_spec):
    image = with_spec(tiny_spec, kind="image", temporal=None, num_frames=1)
    return {"t2i": image, "temporal": tiny_spec, "ssr": ssr_spec}


@pytest.mark.parametrize(("stage", "prediction"), [*((name, "v") for name in STAGES), ("ssr", "x0")])
def test_a_network_that_says_the_truth_loses_nothing(stage, prediction, spec_of):
    """The truth about x_t = cos x0 + sin noise is x0 itself, or v = (cos x_t - x0) / sin."""
    spec = spec_of[stage]
    spec = with_spec(spec, diffusion=with_spec(spec.diffusion, prediction=prediction))
    clips = torch.rand(4, 3, 1 if stage == "t2i" else 4, 16, 16) * 2 - 1

    def truth(noisy, t):
        cos, sin = (
            f(math.pi / 2 * t.double()).view(-1, *[1] * (noisy.ndim - 1)) for f in (torch.cos, torch.sin)
        )
        x0 = clips[:, :, 0] if noisy.ndim == 4 else clips
        return x0 if prediction == "x0" else ((cos * noisy - x0) / sin).float()

    assert step(stage, spec, Told(truth), clips) < 1e-4
    assert step(stage, spec, Told(lambda noisy, t: -truth(noisy, t)), clips) > 0.1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_so_many_captions_are_dropped_and_the_others_stay(share, spec_of):
    seen = []

    class Words(torch.nn.Module):
        def forward(self, ids):
            seen.append(ids)
            return torch.zeros(*ids.shape, 16)

    ids = torch.arange(1, 33).repeat(4000, 1)
    step("t2i", spec_of["t2i"], Told(), torch.zeros(4000, 3, 1, 2, 2), ids, Words(), empty_caption=share)
    empty, whole = (seen[0] == 0).all(dim=1), (seen[0] == ids).all(dim=1)
    assert (empty | whole).all(), "a caption is there or it is not"
    assert empty.float().mean().item() == pytest.approx(share, abs=0.02)


def test_super_resolution_is_told_how_much_noise_its_small_clip_holds(ssr_spec):
    """A white clip under noise of level n has the mean cos(pi n / 2) and the spread sin(pi n / 2)."""
    network = Told()
    step("ssr", ssr_spec, network, torch.ones(16, 3, 4, 64, 64))
    small, level = network.told["low_res"], network.told["noise_level"]
    assert small.shape == (16, 3, 4, 16, 16) and level.shape == (16,)
    assert 0 <= level.min() and level.max() <= 0.4 and level.std() > 0.05
    for clip, told in zip(small, (math.pi / 2 * level).tolist(), strict=True):
        assert clip.mean().item() == pytest.approx(math.cos(told), abs=0.03)
        assert clip.std().item() == pytest.approx(math.sin(told), abs=0.03)


def test_what_errs_as_bicubic_does_loses_one_however_its_small_clip_is_spoilt(ssr_spec):
    """A white clip under much noise and one under little: each counts beside what bicubic makes of what is given."""
    spec = with_spec(ssr_spec, diffusion=with_spec(ssr_spec.diffusion, prediction="x0"))
    network = Told(lambda noisy, t: bicubic(network.told["low_res"], spec.scale))
    lost = step("ssr", spec, network, torch.ones(64, 3, 2, 16, 16), flicker=0.0)
    assert 0.4 < lost < 1  # a little less than one: where there is next to nothing to add, less is at stake


@pytest.mark.parametrize("share", [0.0, 0.9])
@pytest.mark.parametrize("stage", MOVING)
def test_frames_share_as_much_noise_in_training_as_in_sampling(stage, share, spec_of):
    spec, network = spec_of[stage], Told()
    spec = with_spec(spec, diffusion=with_spec(spec.diffusion, noise_share=share))
    step(stage, spec, network, torch.zeros(8, 3, 4, 64, 64))  # an empty clip, so that all there is is noise
    for clip in network.told["noisy"]:
        together = torch.corrcoef(clip.transpose(0, 1).flatten(1))[~torch.eye(4, dtype=torch.bool)]
        torch.testing.assert_close(together, torch.full((12,), share), atol=0.05, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_so_many_clips_are_not_told_their_second(share, spec_of):
    network = Told()
    step("temporal", spec_of["temporal"], network, torch.zeros(4000, 3, 2, 2, 2), no_second=share)
    hidden = (network.told["when"] < 0).all(dim=1)
    assert (network.told["when"][~hidden] == 0.5).all()
    assert hidden.float().mean().item() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("stage", MOVING)
def test_the_network_is_told_the_time_of_the_noise_it_sees(stage, spec_of):
    network = Told()
    step(stage, spec_of[stage], network, torch.ones(16, 3, 8, 64, 64))
    told = math.pi / 2 * network.told["t"]
    assert told.std() > 0.1
    torch.testing.assert_close(network.told["noisy"].mean((1, 2, 3, 4)), told.cos(), atol=0.25, rtol=0)


def test_training_windows_begin_anywhere_in_the_clip():
    whole, draw, rng = render([BALLOON], 80, 8, 8), draw_windows(8, 8), random.Random(1)
    starts = []
    for _ in range(24):
        window, second, _ = draw([BALLOON], rng)
        starts.append(round(second.item() * 16))
        torch.testing.assert_close(window, whole[:, :, starts[-1] : starts[-1] + 8], atol=1e-4, rtol=0)
    assert len(set(starts)) > 8 and min(starts) < 18 and max(starts) > 54


def tiny_trainer(runs, **changes) -> Trainer:
    stage = replace(STAGES["t2i"], phases=(Phase(1.0, 1, 2, 8, 4, 2),), **changes)
    trainer = Trainer(stage, runs, "tiny", "small", 5)
    trainer.enter_phase()
    return trainer


def test_the_average_keeps_all_but_a_thousandth_of_what_it_was(tmp_path):
    trainer = tiny_trainer(tmp_path, ema=0.999)
    trainer.step = 100_000  # long after the start, where the average follows fast
    before = [ema.clone() for ema in trainer.ema]
    trainer.train_step()
    for was, ema, now in zip(before, trainer.ema, trainer.trained, strict=True):
        torch.testing.assert_close(ema - was, 0.001 * (now.detach() - was), atol=1e-7, rtol=1e-2)


def test_at_the_start_the_average_follows_fast(tmp_path):
    trainer = tiny_trainer(tmp_path)
    before = [ema.clone() for ema in trainer.ema]
    trainer.train_step()
    far = sum((now - ema).norm() for now, ema in zip(trainer.trained, trainer.ema, strict=True))
    assert far < 0.5 * sum((now - was).norm() for now, was in zip(trainer.trained, before, strict=True))


def test_one_wild_clip_moves_the_optimizer_no_more_than_a_tame_one(tmp_path):
    """Gradients are cut to a length of 1, of which the first moment takes a tenth: 1 - beta1, 0.1."""
    trainer = tiny_trainer(tmp_path)
    wild = trainer.pool.sample(2)
    wild = replace(wild, clips=1e4 * wild.clips)
    trainer.pool.sample = lambda batch: wild
    trainer.train_step()
    moments = [trainer.optimizer.state[p]["exp_avg"] for p in trainer.trained if p in trainer.optimizer.state]
    length = torch.stack([m.float().norm() for m in moments]).norm().item()
    taken = 1 - trainer.optimizer.defaults["betas"][0]
    assert length == pytest.approx(taken, rel=0.05)


def test_a_caption_and_its_flip_start_from_the_same_noise():
    torch.manual_seed(0)
    probe, asked = Probe(ProbeSpec.of(WORLDS["small"])).eval().requires_grad_(False), {}

    def make_clips(captions, seeds):
        asked.update(zip(captions, seeds, strict=True))
        return torch.zeros(len(captions), 3, 2, 64, 64)

    evaluate(make_clips, prompts=12, pairs=4, num_frames=2, probe=probe, show=lambda line: None)
    turned = {"left": "right", "right": "left"}
    flips = {c: " ".join(turned.get(word, word) for word in c.split()) for c in asked}
    pairs = [(c, f) for c, f in flips.items() if f != c and f in asked]
    assert len(pairs) >= 4
    assert all(asked[caption] == asked[flip] for caption, flip in pairs)
