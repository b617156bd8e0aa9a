"""A camera that moves over a photo: it loops, shows nothing beyond the photo, and near things move more."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
import torch

from lumiere_core.media.frames import TensorFrames, gathered
from lumiere_core.media.measure import block_steps
from lumiere_core.photo.camera.move import MOVES, CameraMove, Scenery, View, moved_frames, view_at
from lumiere_core.photo.camera.relief import fitted_nearness, sheets_of
from lumiere_core.photo.examples import texture

WIDTH, HEIGHT = 240, 136


def meadow(width: int = WIDTH, height: int = HEIGHT) -> torch.Tensor:
    """A green, textured ground, `(H, W, 3)`."""
    shade = 0.5 + 0.1 * texture(width, height, 2, 1.0)
    return (torch.tensor([0.3, 0.9, 0.3]) * shade[..., None]).clamp(0, 1)


def post(width: int = WIDTH, height: int = HEIGHT) -> tuple[torch.Tensor, torch.Tensor]:
    """A red post before the meadow, and its nearness `(1, H, W)`."""
    picture, near = meadow(width, height), torch.full((1, height, width), 0.1)
    box = slice(height // 4, height * 3 // 4), slice(width * 5 // 12, width * 7 // 12)
    picture[box] = torch.tensor([0.8, 0.1, 0.1]) * (
        0.9 + 0.1 * torch.rand(1, generator=torch.Generator().manual_seed(0))
    )
    near[0][box] = 0.9
    return picture, near


def made(move: str, frames: int = 8, picture=None, depth=None, **settings) -> torch.Tensor:
    picture = post()[0] if picture is None else picture
    clip = TensorFrames(picture[None] if picture.ndim == 3 else picture)
    return gathered(moved_frames(clip, CameraMove(move, **settings), frames, depth))


def red(frame: torch.Tensor) -> torch.Tensor:
    return (frame[..., 0] > 2 * frame[..., 1]).float()


def middle(weight: torch.Tensor) -> tuple[float, float]:
    y, x = torch.meshgrid(*(torch.arange(n).float() for n in weight.shape), indexing="ij")
    return float((x * weight).sum() / weight.sum()), float((y * weight).sum() / weight.sum())


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("with_depth", [False, True])
def test_there_and_back_is_a_loop_without_a_seam(move, with_depth, joins_like_any_step):
    clip = made(move, 24, depth=post()[1] if with_depth else None)
    assert joins_like_any_step(clip)
    assert (clip[0] - clip[12]).abs().mean() > 0.002
    begin, end = (astuple(view_at(CameraMove(move), done)) for done in (0.0, 1.0))
    assert begin == pytest.approx(end)


@pytest.mark.parametrize("move", MOVES)
def test_no_frame_shows_anything_beyond_the_photo(move):
    white = torch.ones(HEIGHT, WIDTH, 3)
    depth = torch.rand(1, 9, 16, generator=torch.Generator().manual_seed(0))
    assert made(move, 6, white, depth, amount=0.3, parallax=2.0).min() > 0.999


def test_a_zoom_begins_with_the_photo_itself_and_one_outwards_ends_with_it():
    picture, depth = post()
    assert torch.equal(made("zoom in", 6, depth=depth)[0], picture)
    assert torch.equal(made("zoom out", 6, path="one way")[-1], picture)
    assert torch.equal(made("pan left", 4, amount=0.0), picture.expand(4, -1, -1, -1))


def test_a_zoom_of_a_fifth_makes_things_a_fifth_larger():
    last = made("zoom in", 9, path="one way", amount=0.2)[-1]
    assert float(red(last).sum() / red(post()[0]).sum()) == pytest.approx(1.44, abs=0.04)


@pytest.mark.parametrize(
    ("move", "way"), [("pan right", (-1, 0)), ("pan left", (1, 0)), ("pan down", (0, -1))]
)
def test_a_camera_that_goes_right_sees_things_go_left(move, way):
    clip = made(move, 9, path="one way", amount=0.1)
    (ax, ay), (bx, by) = (middle(red(clip[i])) for i in (0, -1))
    wanted = np.array(way) * 0.1 * np.array([WIDTH, HEIGHT]) / 0.9  # what is seen is cropped by as much
    assert np.array([bx - ax, by - ay]) == pytest.approx(wanted, abs=1.0)


def test_a_slow_zoom_does_not_shake():
    """Steps of a tenth of a pixel are alike: from one to the next they grow or shrink by little."""
    steps = block_steps(made("zoom in", 60, meadow(), path="one way", amount=0.02))[20:40].sqrt().mean((1, 2))
    assert float(steps.diff().diff().abs().max() / steps.mean()) < 0.1


def test_near_things_move_more_than_far_ones():
    picture, depth = post()
    flat, deep = (made("pan right", 9, depth=d, path="one way", amount=0.06) for d in (None, depth))
    alike, more = (abs(middle(red(clip[-1]))[0] - middle(red(clip[0]))[0]) for clip in (flat, deep))
    assert more > 1.5 * alike
    turned = moved_frames(
        TensorFrames(picture[None]),
        CameraMove("pan right", "one way", 0.06),
        9,
        1 - depth,
        white_is_near=False,
    )
    assert torch.equal(gathered(turned), deep)


def test_what_a_near_thing_hid_is_filled_with_what_is_around_it():
    picture, depth = post()
    clip = made("pan right", 9, depth=depth, path="one way", amount=0.1)
    for frame in clip[[0, -1]]:
        solid = red(frame)
        assert float(solid.sum()) == pytest.approx(float(red(picture).sum() / (1 - 0.1 * 1.8) ** 2), rel=0.1)
        ground = frame[solid == 0]
        assert ground.amax(1).min() > 0.8 * meadow().amax(2).min(), "a hole"
        assert (ground[:, 1] > 0.9 * ground[:, 0]).float().mean() > 0.995, "a rim of the post"
        left, right = (middle(solid)[0] + side * 30 for side in (-1, 1))
        for column in (int(left), int(right)):  # the filled ground is no flat patch
            beside = frame[HEIGHT // 3 : HEIGHT * 2 // 3, column - 4 : column + 4, 1]
            assert beside.std() > 0.25 * meadow()[..., 1].std()


def test_at_rest_the_sheets_are_the_photo():
    picture, depth = post()
    scenery = Scenery(picture.numpy(), depth[0].numpy(), CameraMove("zoom in"))
    assert len(scenery.sheets) > 1
    assert np.abs(scenery.seen(View()) - picture.numpy()).max() < 0.01


def test_an_edge_that_is_soft_small_and_noisy_in_the_depth_stays_whole():
    picture, depth = post(480, 272)
    small = torch.nn.functional.avg_pool2d(depth[None], 6)[0]
    small = torch.nn.functional.avg_pool2d(small[None], 3, 1, 1)[0]
    small = small + 0.01 * torch.randn(small.shape, generator=torch.Generator().manual_seed(0))
    last = made("pan right", 5, picture, small, path="one way", amount=0.05)[-1]
    import cv2

    count, _, boxes, _ = cv2.connectedComponentsWithStats(red(last).numpy().astype(np.uint8))
    areas = sorted(boxes[1:, cv2.CC_STAT_AREA], reverse=True)
    assert areas[0] > 0.97 * sum(areas), f"{count - 1} pieces"


def test_thin_posts_before_a_textured_ground_stay_whole_and_leave_nothing_behind():
    picture, near = meadow(480, 272), torch.full((1, 272, 480), 0.1)
    for left in range(100, 380, 40):
        picture[60:, left : left + 5] = torch.tensor([0.8, 0.1, 0.1])
        near[0, 60:, left : left + 5] = 0.9
    small = torch.nn.functional.interpolate(near[None], (147, 259), mode="area")[0]
    last = made("pan right", 5, picture, small, path="one way", amount=0.05)[-1]
    posts = red(last)
    assert float(posts.sum()) == pytest.approx(float(red(picture).sum()) / 0.9**2, rel=0.2)
    inside = posts[100:260]  # every row crosses the same seven posts, straight
    assert (inside.diff(dim=1) > 0).sum(1).float().eq(7).float().mean() > 0.95
    assert inside.mean(0).gt(0.5).sum() > 0.85 * inside.amax(0).gt(0).sum() - 14


def test_a_depth_of_another_size_is_fitted_and_said_and_a_flat_one_is_said():
    picture, depth = post()
    small = torch.nn.functional.avg_pool2d(depth[None], 4)[0]
    clip = moved_frames(TensorFrames(picture[None]), CameraMove("circle"), 4, small)
    assert clip.said == "depth fitted from 60x34 to 240x136"
    flat = moved_frames(TensorFrames(picture[None]), CameraMove("circle"), 4, torch.ones(1, HEIGHT, WIDTH))
    assert flat.said == "the depth is flat, so everything moves alike"
    assert torch.equal(gathered(flat), made("circle", 4))
    assert fitted_nearness(np.ones((4, 4), np.float32), picture.numpy()) is None


def test_a_clip_keeps_its_length_and_takes_a_depth_for_each_frame():
    picture, depth = post()
    clip = torch.stack([picture, picture.flip(1), picture])
    over = moved_frames(TensorFrames(clip, 12), CameraMove("pan up"), 80, depth.repeat(3, 1, 1))
    assert (over.count, over.fps, over.heard) == (3, 12, 0)
    assert gathered(over).shape == clip.shape
    with pytest.raises(ValueError, match="the depth has 2 frames, but the clip has 3"):
        moved_frames(TensorFrames(clip), CameraMove(), 80, depth.repeat(2, 1, 1))


@pytest.mark.parametrize("shape", [(1, 1), (2, 90), (65, 3)])
def test_tiny_photos_do_no_harm(shape):
    for move in ("zoom in", "circle"):
        clip = made(move, 3, torch.rand(*shape, 3), torch.rand(1, 5, 5))
        assert clip.shape == (3, *shape, 3) and clip.isfinite().all()


def test_a_move_one_way_begins_and_ends_at_rest():
    steps = block_steps(made("zoom in", 40, meadow(), path="one way", amount=0.2))[:-1].sqrt().mean((1, 2))
    assert max(steps[0], steps[-1]) < 0.2 * steps.max()


@pytest.mark.parametrize(
    ("settings", "frames", "words"),
    [
        ({"move": "roll"}, 4, "move is 'roll', but it has to be one of zoom in"),
        ({"path": "back"}, 4, "path is 'back', but it has to be one of there and back"),
        ({"amount": 0.9}, 4, "amount is 0.9"),
        ({"parallax": -1.0}, 4, "parallax is -1"),
        ({}, 1, "frames is 1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_number(settings, frames, words):
    with pytest.raises(ValueError, match=words):
        moved_frames(TensorFrames(meadow()[None]), CameraMove(**settings), frames)


def test_a_photo_without_depth_is_one_sheet():
    (sheet,) = sheets_of(meadow().numpy(), None)
    assert sheet.cover is None and (sheet.left, sheet.top) == (0, 0)
