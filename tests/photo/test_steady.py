"""Camera shake is taken out; what moves on purpose stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.media.frames import TensorFrames, gathered
from lumiere_core.photo import fits, steady


def stabilised(clip: torch.Tensor, *given, **settings) -> torch.Tensor:
    return gathered(steady.stabilised(TensorFrames(clip), *given, **settings))


def picture(height: int = 120, width: int = 160) -> np.ndarray:
    """Blurred noise with plenty of corners."""
    noise = np.random.default_rng(3).random((height, width, 3), np.float32)
    return np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 0.5) * 4 + 0.5, 0, 1)


def shaken(frames: int = 6) -> torch.Tensor:
    """The picture from a hand-held camera: shifted and turned, black where nothing was seen."""
    base, out = picture(), []
    for t in range(frames):
        turn = cv2.getRotationMatrix2D((80, 60), 0.8 * t, 1)
        turn[:, 2] += 1.7 * t, -1.1 * t
        out.append(cv2.warpAffine(base, turn, (160, 120), flags=cv2.INTER_CUBIC).clip(0, 1))
    return torch.from_numpy(np.stack(out))


def errors(clip: torch.Tensor, inset: int = 20) -> torch.Tensor:
    away = (clip - clip[:1])[:, inset:-inset, inset:-inset]
    return away.abs().mean(dim=(1, 2, 3))[1:]


def test_a_shaken_camera_is_steadied():
    clip = shaken()
    before = clip.clone()
    assert errors(stabilised(clip)).max() < 0.2 * errors(clip).min()
    assert torch.equal(clip, before)


def test_no_black_borders_come_into_view():
    def black(clip: torch.Tensor) -> torch.Tensor:
        """Share of each frame that is black where the first frame is not."""
        return ((clip < 0.02).all(-1) & (clip[:1] > 0.1).any(-1)).float().mean(dim=(1, 2))

    clip = shaken()
    assert black(clip)[-1] > 0.03
    assert black(stabilised(clip)).max() < 0.001


def test_a_camera_on_a_tripod_gives_the_clip_back_bit_for_bit():
    clip = torch.from_numpy(picture()).repeat(3, 1, 1, 1)
    clip[1, 50:70, 60:90] = 0.5
    assert torch.equal(stabilised(clip), clip)


def test_what_moves_inside_the_mask_does_not_pull_the_camera():
    base = torch.from_numpy(picture())
    mask = torch.zeros(120, 160)
    mask[:, 40:] = 1
    clip = torch.stack([torch.cat([base[:, :40], base[:, 40:].roll(3 * t, 1)], 1) for t in range(4)])
    assert torch.equal(stabilised(clip, mask), clip)


def test_a_frame_without_corners_is_left_alone():
    clip = torch.full((3, 60, 80, 3), 0.4)
    assert torch.equal(stabilised(clip), clip)


def test_refusals_name_the_number():
    with pytest.raises(ValueError, match="the still is 9x8, but the clip is 8x8"):
        stabilised(torch.rand(3, 8, 8, 3), still=torch.rand(8, 9, 3))


def test_masks_that_say_nothing_do_no_harm():
    clip = shaken(3)
    everywhere = stabilised(clip)
    for mask in (torch.zeros(64, 64), torch.ones(120, 160), torch.ones(64, 64)):
        assert torch.equal(stabilised(clip, mask), everywhere)
    assert torch.equal(stabilised(clip[:1]), clip[:1])


@pytest.mark.parametrize("shape", [(3, 20, 30, 4), (3, 20, 30, 1), (20, 30, 3), (0, 20, 30, 3)])
def test_what_is_no_clip_is_refused_in_a_sentence(shape):
    with pytest.raises(
        ValueError, match="but it has to be .*T, H, W, 3.*Drop an alpha channel, or repeat a grey one"
    ):
        stabilised(torch.rand(shape))


def test_a_frame_from_another_scene_is_left_alone():
    clip = torch.cat([shaken(2), 1 - shaken(1).flip(1, 2)])
    assert torch.equal(stabilised(clip)[2], clip[2])


@pytest.mark.filterwarnings("error")
def test_a_black_frame_in_a_shaken_clip_warns_of_nothing():
    clip = torch.stack([shaken(3)[t % 3] for t in range(12)])
    clip[7] = 0
    assert steady.stabilised(TensorFrames(clip)).said.startswith("steadied 12")


def leaning(frames: int = 16) -> torch.Tensor:
    """Somebody in checks who leans about before a bare wall with small pictures on it, and hides most of it."""
    out, checks, small = [], picture(150, 200), picture(240, 320)
    for t in range(frames):
        frame = np.full((240, 320, 3), 0.6, np.float32)
        for x in range(8, 300, 56):
            for y in (6, 214):
                frame[y : y + 20, x : x + 20] = small[y : y + 20, x : x + 20]
        left, top = round(60 + 8 * np.sin(0.7 * t)), round(45 + 4 * np.sin(0.4 * t))
        frame[top : top + 150, left : left + 200] = checks
        out.append(frame)
    return torch.from_numpy(np.stack(out))


def test_a_few_things_that_never_move_all_over_the_picture_are_a_tripods():
    clip = leaning()
    made = steady.stabilised(TensorFrames(clip))
    assert made.said.startswith("camera left alone: it stands still")
    assert torch.equal(gathered(made), clip)


def test_a_fit_that_turns_the_picture_over_has_no_area():
    box = fits.box_of((160, 120))
    assert fits.area_of(box) == 160 * 120
    assert fits.area_of(box[[1, 0, 2, 3]]) < 0
    assert fits.area_of(box * 0.2) < 0.5 * 160 * 120
