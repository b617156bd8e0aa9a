"""Cinemagraphs from clips: one part moves, the rest is one picture, and nothing shows twice."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.media.frames import TensorFrames, gathered
from lumiere_core.photo import cinemagraph
from lumiere_core.photo.cinemagraph import calmed
from lumiere_core.photo.warp import flow_between, warped


def cinemagraph_from_clip(clip: torch.Tensor, *given, **settings) -> torch.Tensor:
    return gathered(cinemagraph.cinemagraph_from_clip(TensorFrames(clip), *given, **settings))


def picture(height: int = 90, width: int = 120) -> torch.Tensor:
    noise = np.random.default_rng(3).random((height, width, 3), np.float32)
    return torch.from_numpy(np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 0.5) * 4 + 0.5, 0, 1))


def window() -> torch.Tensor:
    mask = torch.zeros(90, 120)
    mask[20:70, 30:90] = 1
    return mask


@pytest.fixture(scope="module")
def waving() -> torch.Tensor:
    """The picture, its middle pushed 3 pixels to and fro; the edge of the window stays."""
    y, x = np.meshgrid(np.arange(90, dtype=np.float32), np.arange(120, dtype=np.float32), indexing="ij")
    bulge = np.sin(np.pi * ((y - 19) / 52).clip(0, 1)) * np.sin(np.pi * ((x - 29) / 62).clip(0, 1))
    pushes = 3 * np.sin(2 * np.pi * np.arange(16) / 16)
    still = picture().numpy()
    frames = [warped(still, np.stack([push * bulge, 0 * bulge], 2).astype(np.float32)) for push in pushes]
    return torch.from_numpy(np.stack(frames))


def moved(clip: torch.Tensor) -> float:
    """Mean length of the optical flow from the first frame, inside the mask, in pixels."""
    flows = [flow_between(clip[0].numpy(), frame.numpy())[30:60, 40:80] for frame in clip]
    return float(np.mean([np.linalg.norm(flow, axis=-1).mean() for flow in flows]))


@pytest.mark.parametrize("loop", ["cut", "dissolve", "ping-pong", "none"])
@pytest.mark.parametrize("motion", [1.0, 0.5])
def test_outside_the_mask_it_is_the_still_bit_for_bit(waving, loop, motion):
    before = waving.clone()
    out = cinemagraph_from_clip(waving, window(), loop=loop, motion=motion)
    assert torch.equal(out[:, window() == 0], picture()[window() == 0].expand(len(out), -1, -1))
    assert (out[:, 30:60, 40:80] - picture()[30:60, 40:80]).abs().mean() > 0.001
    assert torch.equal(waving, before)


def test_a_hand_held_clip_becomes_a_photo_that_moves(waving):
    shaken = []
    for t, frame in enumerate(waving):
        turn = cv2.getRotationMatrix2D((60, 45), 0.3 * t, 1)
        turn[:, 2] += 0.5 * t, -0.4 * t
        shaken.append(cv2.warpAffine(frame.numpy(), turn, (120, 90), flags=cv2.INTER_CUBIC))
    fade = 1 - 0.2 * torch.linspace(0, 1, 16).view(-1, 1, 1, 1)
    clip = torch.from_numpy(np.stack(shaken)).clamp(0, 1) * fade
    out = cinemagraph_from_clip(clip, window(), 0, loop="none")
    torch.testing.assert_close(out.mean(dim=(1, 2)), waving.mean(dim=(1, 2)), atol=0.02, rtol=0)
    assert (out - waving)[:, 30:60, 40:80].abs().mean() < 0.25 * (clip - waving)[:, 30:60, 40:80].abs().mean()


def test_half_the_motion_moves_half_as_far(waving):
    out = cinemagraph_from_clip(waving, window(), loop="none", motion=0.5, stabilise=False, drift=False)
    assert moved(waving) > 1
    assert 0.4 < moved(out) / moved(waving) < 0.6


def test_grey_in_the_mask_moves_less_far(waving):
    mask = window() * torch.linspace(0, 1, 120).clamp(min=0.05)
    out = cinemagraph_from_clip(waving, mask, loop="none", feather=4, stabilise=False, drift=False)
    flow, full = (flow_between(c[0].numpy(), c[4].numpy())[35:55, 40:80, 0] for c in (out, waving))
    share = np.abs(flow).mean(0) / np.abs(full).mean(0)
    assert share[:5].mean() == pytest.approx(42 / 119, abs=0.1)
    assert share[-5:].mean() == pytest.approx(77 / 119, abs=0.1)


def test_less_motion_is_no_double_exposure():
    # A white square that moves by 8 pixels: a blend would show two grey ones, a warp shows one white one.
    clip = torch.zeros(2, 60, 90, 3)
    clip[0, 20:40, 30:50] = clip[1, 20:40, 38:58] = 1
    share = np.full((60, 90), 0.5, np.float32)
    out = torch.from_numpy(calmed(clip[1].numpy(), clip[0].numpy(), share))[30, :, 0]
    assert 18 <= (out > 0.9).sum() <= 22 and ((out > 0.2) & (out < 0.8)).sum() <= 2
    assert float((out * torch.arange(90)).sum() / out.sum()) == pytest.approx(39.5 + 4, abs=1)


def test_no_motion_means_the_still(waving):
    out = cinemagraph_from_clip(waving, window(), motion=0)
    assert torch.equal(out, waving[0].expand_as(out))


@pytest.mark.filterwarnings("error")
def test_no_motion_warns_of_nothing(waving):
    assert len(cinemagraph_from_clip(waving, window(), motion=0, loop="per pixel")) > 1


def test_another_picture_may_be_the_still(waving):
    still = (picture() * 0.8).contiguous()
    out = cinemagraph_from_clip(waving, window(), still, loop="none")
    assert torch.equal(out[:, window() == 0], still[window() == 0].expand(16, -1, -1))
    assert (out.mean(dim=(1, 2)) - still.mean(dim=(0, 1))).abs().max() < 0.02


def test_it_says_how_far_it_is(waving):
    said = []
    cinemagraph_from_clip(waving, window(), motion=0.5, progress=lambda *step: said.append(step))
    for what in ("looking", "steadying"):
        assert [step for step in said if step[2] == what] == [(i, 16, what) for i in range(1, 17)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"motion": 1.5}, "motion is 1.5, but it has to be between 0 and 1"),
        ({"moves": torch.zeros(64, 64)}, "mask is empty"),
        ({"still": torch.rand(9, 9, 3)}, "the still is 9x9, but the clip is 120x90"),
        ({"loop": "magic"}, "loop is 'magic'"),
        ({"clip": torch.rand(5, 90, 120, 4)}, r"shape \(5, 90, 120, 4\), but it has to be .* Drop an alpha"),
        ({"clip": torch.rand(5, 90, 120, 1)}, r"shape \(5, 90, 120, 1\), but it has to be .* repeat a grey"),
        ({"clip": torch.rand(0, 90, 120, 3)}, "at least one frame"),
        ({"clip": torch.rand(1, 90, 120, 3), "loop": "cut"}, "number of frames is 1, but a loop"),
        ({"clip": torch.rand(1, 90, 120, 3)}, "1 frame"),
        ({"moves": torch.ones(3, 90, 120)}, "the mask has 3 frames, but the clip has 1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_number(waving, settings, words):
    with pytest.raises(ValueError, match=words):
        cinemagraph_from_clip(**{"clip": waving, "moves": window(), **settings})


def test_a_cut_is_named_with_what_to_do(waving):
    clip = torch.cat([waving, 1 - waving.flip(1, 2)])
    with pytest.raises(
        ValueError, match="a cut at frame 16, .* the 16 frames before it or the 16 from it on"
    ):
        cinemagraph_from_clip(clip, window())


@pytest.mark.parametrize("mask", [torch.ones(90, 120), torch.ones(64, 64), torch.ones(7, 3)])
def test_everything_may_move(waving, mask):
    out = cinemagraph_from_clip(waving, mask, loop="none")
    torch.testing.assert_close(out, waving, atol=0.02, rtol=0)


@pytest.mark.parametrize("left_black", [np.s_[40, 60], np.s_[:1]])
def test_nearly_everything_may_move(waving, left_black):
    mask = torch.ones(90, 120)
    mask[left_black] = 0
    blurred = [cv2.GaussianBlur(frame.numpy(), (0, 0), 1 + abs(i - 5)) for i, frame in enumerate(waving[:10])]
    clip = TensorFrames(torch.from_numpy(np.stack(blurred)))
    made = cinemagraph.cinemagraph_from_clip(clip, mask, loop="none", stabilise=False, drift=False)
    assert "still: frame 5" in made.said


def test_a_single_frame_is_its_own_cinemagraph(waving):
    assert torch.equal(cinemagraph_from_clip(waving[:1], window(), loop="none"), waving[:1])
