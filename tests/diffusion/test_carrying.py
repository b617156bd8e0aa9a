"""What a known frame shows goes on in the frames beside it, where it is or where it has gone to."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.diffusion import carrying
from lumiere_core.diffusion.carrying import (
    CARRIED_FROM,
    about,
    added_up,
    carried,
    looked_up,
    motion_since,
    run_from,
)
from lumiere_core.diffusion.condition import Condition, chosen_frames, first_and_last, first_frame

LOW, FRAMES, SIZE = torch.tensor(CARRIED_FROM / 2), 24, 32


def scene(frames: int = FRAMES, speed: float = 0.5) -> torch.Tensor:
    """A striped disc goes right over a pattern that stands still. `(1, 3, T, H, W)`"""
    y, x = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
    ground = 0.2 * torch.sin(x * 1.3) * torch.sin(y * 1.1) - 0.5
    pictures = []
    for t in range(frames):
        left = x - 8 - speed * t
        cover = torch.sigmoid(2 * (5 - (left**2 + (y - 16) ** 2).sqrt()))
        disc = 0.6 + 0.3 * torch.sin(y * 2)
        pictures.append(torch.lerp(ground, disc, cover))
    return torch.stack(pictures).expand(3, -1, -1, -1)[None]


def soft(clip: torch.Tensor) -> torch.Tensor:
    """As a small model draws it: every thing in its place, and blurred."""
    return about(clip[0].transpose(0, 1), 1).transpose(0, 1)[None]


def test_what_stands_still_keeps_the_picture_of_it_to_the_end():
    real = scene(speed=0.0)
    model = soft(real)
    made = carried(model, LOW, first_frame(real[:, :, :1], FRAMES))
    off, before = ((v - real).abs().mean(dim=(0, 1, 3, 4)) for v in (made, model))
    assert (off[1:] < 0.4 * before[1:]).all() and off[1] < 0.1 * before[1]
    torch.testing.assert_close(made[:, :, -1], made[:, :, 16])  # and lets go of no more of it


def test_what_moves_takes_its_drawing_along_and_leaves_none_behind():
    real = scene()
    model = soft(real)
    made = carried(model, LOW, first_frame(real[:, :, :1], FRAMES))
    off, before = ((v - real).abs().mean(dim=(0, 1, 3, 4)) for v in (made, model))
    assert off[1] < 0.4 * before[1] and (off[1:13] < 0.8 * before[1:13]).all()
    first_place = (slice(None), slice(None), -1, slice(12, 21), slice(4, 11))
    ghost = (scene(1)[:, :, :1] - real)[first_place].abs().mean()
    assert ghost > 0.5 and (made - real)[first_place].abs().mean() < 0.15 * ghost


def test_the_model_is_not_frozen_where_it_shows_something_else():
    real = scene()
    other = real.flip(2)
    made = carried(other, LOW, first_frame(real[:, :, :1], FRAMES))
    later = made[:, :, 16:] - other[:, :, 16:]
    assert later.abs().mean() < 0.1 * (real - other)[:, :, 16:].abs().mean()


def test_two_known_frames_go_over_into_each_other():
    pictures = torch.stack([torch.full((3, SIZE, SIZE), v) for v in (0.3, 0.34)], dim=1)[None]
    task = first_and_last(pictures, 5)
    made = carried(torch.full((1, 3, 5, SIZE, SIZE), 0.32), LOW, task)
    between = made[0, 0, 1:4, 16, 16]
    torch.testing.assert_close(between, torch.tensor([0.31, 0.32, 0.33]), atol=2e-3, rtol=0)


@pytest.mark.parametrize("known", ["nothing", "a part of a frame", "everything"])
def test_without_a_wholly_known_frame_beside_one_to_make_nothing_changes(known):
    x0, mask = scene(), torch.zeros(1, 1, FRAMES, SIZE, SIZE)
    if known != "nothing":
        mask[:, :, 0 if known == "a part of a frame" else slice(None)] = 1
    if known == "a part of a frame":
        mask[..., 0] = 0
    assert carried(x0, LOW, Condition(x0.flip(2), mask)) is x0


def test_above_its_noise_level_the_model_decides_alone():
    real = scene()
    task = first_frame(real[:, :, :1], FRAMES)
    model = soft(real)
    assert carried(model, torch.tensor(CARRIED_FROM * 1.01), task) is model
    assert not torch.equal(carried(model, torch.tensor([CARRIED_FROM]), task), model)


@pytest.mark.parametrize(
    ("way", "closed", "run", "bounded"),
    [
        (1, False, [1, 2, 3], False),
        (-1, False, [1, 0], False),
        (1, True, [1, 2, 3, 0], True),
        (-1, True, [1, 0, 3, 2], True),
    ],
)
def test_a_run_ends_with_the_clip_or_goes_round_a_loop(way, closed, run, bounded):
    assert run_from(1, way, [False, True, False, False], closed) == (run, bounded)


def test_a_run_ends_before_the_next_known_frame():
    assert run_from(1, 1, [False, True, False, True], closed=False) == ([1, 2], True)


def test_pieces_of_a_long_clip_are_one(monkeypatch):
    real = scene()
    task = chosen_frames(real[:, :, 4:5], [4], FRAMES)
    whole = carried(soft(real), LOW, task)
    monkeypatch.setattr(carrying, "PIECE", 3)
    torch.testing.assert_close(carried(soft(real), LOW, task), whole, atol=1e-5, rtol=0)


def test_motion_is_found_and_adds_up():
    frames = scene(9, speed=0.5)[0].transpose(0, 1)
    total = added_up(motion_since(frames[1:], frames[:-1]))
    middle = total[-1, :, 13:20, 10:15].mean(dim=(1, 2))
    assert -4.2 < float(middle[1]) < -2.8 and abs(float(middle[0])) < 0.3  # of 4 pixels
    assert total[:, :, :, 26:].abs().max() < 0.05, "what stands still has no motion"
    parts = added_up(motion_since(frames[1:5], frames[:4]))
    torch.testing.assert_close(added_up(motion_since(frames[5:], frames[4:-1]), parts[-1:]), total[4:])


def test_pixels_from_beyond_the_border_are_those_on_it():
    picture = torch.arange(4.0).expand(1, 1, 4, 4)
    motion = torch.zeros(1, 2, 4, 4)
    motion[:, 1] = 2.5
    torch.testing.assert_close(looked_up(picture, motion)[0, 0, 0], torch.tensor([2.5, 3, 3, 3]))
