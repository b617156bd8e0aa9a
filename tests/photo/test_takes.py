"""Unkind clips whose truth is known: a tool makes them better, or leaves them alone, and says which."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.media.frames import TensorFrames, as_bytes
from lumiere_core.photo.cinemagraph import cinemagraph_from_clip
from lumiere_core.photo.drift import match_drift
from lumiere_core.photo.steady import stabilised, tripod_of
from lumiere_core.photo.still import setting_of

_spec = importlib.util.spec_from_file_location("takes", Path(__file__).with_name("takes.py"))
takes = sys.modules["takes"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(takes)

FRAMES = 20
STAND = ("dancer", "rolling", "crowd", "still_light")
take = cache(lambda name, frames=FRAMES: takes.take(name, 144, 256, frames))


def frames_of(clip: np.ndarray) -> TensorFrames:
    return TensorFrames(torch.from_numpy(clip).float() / 255)


def mask_of(name: str) -> torch.Tensor | None:
    moves = take(name).moves
    return None if moves is None else torch.from_numpy(moves)


def bytes_of(made) -> np.ndarray:
    return np.stack([as_bytes(frame) for frame in made])


@pytest.mark.parametrize("name", STAND)
def test_a_camera_that_stood_is_left_as_it_is_bit_for_bit(name):
    made = stabilised(frames_of(take(name).clip), mask_of(name))
    assert np.array_equal(bytes_of(made), take(name).clip)
    assert "left alone" in made.said


@pytest.mark.parametrize("name", ["fence", "walker", "car"])
def test_a_shaken_camera_stands_to_a_tenth_of_a_pixel(name):
    film = take(name)
    clip = frames_of(film.clip)
    tripod = tripod_of(clip, mask_of(name), None)
    path = tripod.path([tripod.follow(frame) for frame in clip], 0)
    height, width = film.clip.shape[1:3]
    grid = np.stack(np.meshgrid(np.linspace(0, width, 7), np.linspace(0, height, 5)), -1).reshape(1, -1, 2)
    for true, found in zip(film.camera[1:], path.places[1:], strict=True):
        away = cv2.perspectiveTransform(grid, true) - cv2.perspectiveTransform(grid, found)
        assert np.linalg.norm(away, axis=-1).mean() < 0.1
    assert path.said.startswith(f"steadied {FRAMES} frames")
    assert path.shake[1] < 0.15 < path.shake[0]


def test_the_simplest_model_is_taken_that_explains_the_corners():
    for name, model in {"car": "shift", "walker": "similarity", "fence": "homography"}.items():
        assert f"({model})" in stabilised(frames_of(take(name).clip), mask_of(name)).said


@pytest.mark.parametrize("name", ["dancer", "fence", "walker", "car", "crowd", "still_light"])
def test_even_light_is_left_as_it_is_bit_for_bit(name):
    made = match_drift(frames_of(take(name).clip), mask_of(name))
    assert np.array_equal(bytes_of(made), take(name).clip)
    assert made.said == "colour drift: none"


def test_exposure_is_told_from_someone_in_black_who_enters():
    film = take("rolling", 32)  # two seconds, which a camera's exposure takes
    made = match_drift(frames_of(film.clip))
    out = bytes_of(made)
    even = film.clip / 255 / film.light[:, None, None]
    open_ = ~film.covered
    away = [
        np.abs((frame / 255 - true)[free].mean(0)).max()
        for frame, true, free in zip(out, even, open_, strict=True)
    ]
    assert max(away) < 2 / 255
    assert np.array_equal(out[0], film.clip[0])
    assert (out < 4).mean() <= (film.clip < 4).mean() + 1e-3  # no black is crushed
    assert "gain" in made.said


def test_a_person_partly_outside_the_mask_is_not_taken_for_exposure():
    film = take("dancer")
    mask = torch.zeros(film.clip.shape[1:3])
    mask[:, 128:] = 1  # half of the dancer
    assert np.array_equal(bytes_of(match_drift(frames_of(film.clip), mask)), film.clip)


def passed(frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """A clip from the hand, its clean first frame, and a mask, whose walker stands in the first frame and goes on."""
    cloth = takes.figure(110, 40, 5, dark=True)

    def act(t: int, picture: np.ndarray, cover: np.ndarray) -> None:
        takes.pasted(picture, cover, cloth, 40 + 12 * t, 30)

    camera = takes.hand(frames, 2, 4)
    clip, clean, _ = takes.filmed(144, 256, camera, np.ones((frames, 3)), 0.01, act)
    mask = torch.zeros(144, 256)
    mask[100:130, 190:230] = 1
    return clip, clean, mask


def test_the_still_is_a_clean_plate_where_people_pass():
    clip, clean, mask = passed()
    made = cinemagraph_from_clip(frames_of(clip), mask, loop="none")
    still = next(iter(made))
    number = int(made.said.split("still: frame ")[1].split(",")[0])
    assert number == 0 and "people taken out" in made.said
    outside = mask.numpy() == 0
    assert np.abs(clip[0] / 255 - clean)[outside].max() > 0.4
    calm = cv2.blur(still - clean, (5, 5))
    assert np.abs(calm)[outside].max() < 0.12  # a walker would be 0.4 off
    away = np.abs(still - clean).max(-1)
    untouched = outside & (cv2.blur(np.abs(clip[0] / 255 - clean).max(-1), (31, 31)) < 0.03)
    assert np.array_equal(still[untouched], np.float32(clip[0] / np.float32(255))[untouched])
    assert away[outside].mean() < 0.02


def test_clouds_that_drift_are_no_people():
    """Their middle is a smear, which ended in a line where the mask begins."""
    sky = cv2.GaussianBlur(np.random.default_rng(3).random((144, 400), np.float32), (0, 0), 14)
    sky = ((sky - sky.mean()) / sky.std() * 0.25 + 0.3).clip(0, 1)[..., None]
    ground = takes.world(144, 256)[takes.WHERE : -takes.WHERE, takes.WHERE : -takes.WHERE][90:]
    blue, white = np.float32([0.45, 0.6, 0.85]), np.float32([0.95, 0.95, 0.97])
    clip = np.empty((24, 144, 256, 3), np.uint8)
    for t, frame in enumerate(clip):
        cover = sky[:, 2 * t : 2 * t + 256]
        frame[:] = 255 * (blue + cover * (white - blue))
        frame[90:] = 255 * ground
    mask = torch.zeros(144, 256)
    mask[20:80, 60:150] = 1
    made = cinemagraph_from_clip(frames_of(clip), mask, loop="none", stabilise=False, drift=False)
    outside = mask.numpy() == 0
    assert any(np.array_equal(bytes_of(made)[0][outside], frame[outside]) for frame in clip)


def test_feet_below_the_mask_go_with_who_walks_in_it():
    clip, clean, _ = passed()
    mask = torch.zeros(144, 256)
    mask[10:132, 20:250] = 1  # he stands down to 140
    made = cinemagraph_from_clip(frames_of(clip), mask, loop="none")
    still = next(iter(made))
    below = np.s_[133:139, 40:200]
    assert np.abs(clip[0] / 255 - clean)[below].max() > 0.3
    assert np.abs(cv2.blur(still - clean, (3, 3)))[below].max() < 0.12
    assert "people taken out" in made.said


def test_who_enters_and_stays_is_not_put_into_the_still():
    film = take("rolling")
    mask = torch.zeros(144, 256)
    mask[110:130, 10:60] = 1
    made = cinemagraph_from_clip(frames_of(film.clip), mask, loop="none")
    still = next(iter(made))
    assert np.abs(still - film.clean)[mask.numpy() == 0].mean() < 0.02
    assert "nobody" in made.said


def test_where_all_pixels_move_there_is_no_plate_and_it_says_so():
    clip = torch.rand(12, 72, 96, 3)
    mask = torch.zeros(72, 96)
    mask[20:40, 20:40] = 1
    made = cinemagraph_from_clip(TensorFrames(clip), mask, loop="none")
    assert "no clean plate, most of the picture moves" in made.said
    assert any(torch.equal(torch.from_numpy(next(iter(made)))[mask == 0], frame[mask == 0]) for frame in clip)


def test_a_frame_may_be_the_still():
    clip, _, mask = passed(8)
    made = cinemagraph_from_clip(frames_of(clip), mask, 3, loop="none")
    assert np.array_equal(bytes_of(made)[0][mask.numpy() == 0], clip[3][mask.numpy() == 0])
    with pytest.raises(
        ValueError, match="the still is frame 8, but the clip has 8 frames, 0 to 7. Take one of them"
    ):
        cinemagraph_from_clip(frames_of(clip), mask, 8, loop="none")


def test_the_sharpest_frame_is_the_still():
    clip, _, mask = passed(8)
    blurred = np.stack(
        [cv2.GaussianBlur(frame, (0, 0), 2) if i != 5 else frame for i, frame in enumerate(clip)]
    )
    made = cinemagraph_from_clip(frames_of(blurred), mask, loop="none")
    assert "still: frame 5" in made.said


def test_the_plate_of_a_large_picture_is_made_in_strips_and_is_the_same(monkeypatch):
    clip, _, mask = passed(9)
    where = (mask == 0).numpy()
    whole = setting_of(frames_of(clip), 9, mask, None, False, False, where).tripod.still
    monkeypatch.setattr("lumiere_core.photo.still.PLATE_HELD", 1.0)
    assert np.array_equal(setting_of(frames_of(clip), 9, mask, None, False, False, where).tripod.still, whole)


@pytest.mark.parametrize("frames", [1, 2])
def test_one_or_two_frames_are_no_trouble(frames):
    film = take("fence")
    clip = frames_of(film.clip[:frames])
    assert bytes_of(stabilised(clip, mask_of("fence"))).shape == film.clip[:frames].shape
    assert np.array_equal(bytes_of(match_drift(clip, mask_of("fence"))), film.clip[:frames])
    made = cinemagraph_from_clip(clip, mask_of("fence"), loop="none")
    assert "too few frames for a clean plate" in made.said


def test_a_scene_cut_leaves_the_clip_alone_and_is_said():
    other = 255 - take("dancer").clip[:, ::-1, ::-1]
    clip = np.concatenate([take("walker").clip[:10], other[:10]])
    made = stabilised(frames_of(clip))
    assert np.array_equal(bytes_of(made), clip) and "10 of 20 frames only" in made.said
    made = match_drift(frames_of(clip))
    assert np.array_equal(bytes_of(made), clip) and "of 20 frames show what the still shows" in made.said
