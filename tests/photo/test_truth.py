"""Clips whose truth is known, because it was drawn: how much of what should go is left, and how much is kept."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.media.frames import TensorFrames, gathered
from lumiere_core.media.measure import loop_seam_score
from lumiere_core.photo import cinemagraph, drift, steady
from lumiere_core.photo.examples import texture
from lumiere_core.photo.loops import loop, shots, ways
from lumiere_core.photo.steady import Tripod

HEIGHT, WIDTH, ROOM = 180, 264, 16
PERIOD, FRAMES = 17, 60
TOP, LEFT, BOTTOM, RIGHT = 50, 90, 130, 170  # of the mask


def over_tensors(tool):
    """A tool on clips as tensors `(T, H, W, 3)`."""
    return lambda clip, *given, **settings: gathered(tool(TensorFrames(clip), *given, **settings))


cinemagraph_from_clip = over_tensors(cinemagraph.cinemagraph_from_clip)
match_drift, stabilised = over_tensors(drift.match_drift), over_tensors(steady.stabilised)


def dissolve_loop(clip: torch.Tensor, overlap: int) -> torch.Tensor:
    return over_tensors(ways.make_loop)(clip, "dissolve", overlap=overlap)


def background(seed: int = 1) -> torch.Tensor:
    """Detail of all sizes as photos have it, `(H, W, 3)` with room around, from 0.15 to 0.75; its borders meet."""
    light, tint = (texture(WIDTH + 2 * ROOM, HEIGHT + 2 * ROOM, seed + k, 1.1 + k / 2) for k in (0, 1))
    colours = (
        torch.tensor([1.0, 0.9, 0.8]) * light[..., None] + torch.tensor([0.4, 0, -0.4]) * tint[..., None]
    )
    return (0.45 + 0.1 * colours).clamp(0.15, 0.75)


def seen_at(picture: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """The picture moved right and down by any part of a pixel, exactly (in its spectrum), without the room around."""
    down, across = torch.fft.fftfreq(picture.shape[0])[:, None], torch.fft.rfftfreq(picture.shape[1])[None]
    turn = torch.exp(-2j * torch.pi * (across * x + down * y))[..., None]
    moved = torch.fft.irfft2(torch.fft.rfft2(picture, dim=(0, 1)) * turn, picture.shape[:2], dim=(0, 1))
    return moved[ROOM:-ROOM, ROOM:-ROOM]


def shake(t: int) -> tuple[float, float]:
    """A hand that moves by up to 8 pixels; at t = 0 it is at rest."""
    return 6 * np.sin(0.31 * t) + 2 * np.sin(1.9 * t), 5 * np.sin(0.23 * t) - 3 * np.sin(1.3 * t)


def with_ball(frame: torch.Tensor, turns: float, x: float = 0, y: float = 0) -> torch.Tensor:
    """A bright ball on an even circle through the mask, whose edge comes within 2 pixels of the mask's border."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    angle = torch.tensor(2 * torch.pi * turns)
    centre = (LEFT + RIGHT) / 2 + 24 * angle.cos() + x, (TOP + BOTTOM) / 2 + 24 * angle.sin() + y
    cover = torch.sigmoid((14 - torch.hypot(columns - centre[0], rows - centre[1])) / 1.5)
    return torch.lerp(frame, torch.tensor([0.75, 0.7, 0.6]), cover[..., None])


def window() -> torch.Tensor:
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[TOP:BOTTOM, LEFT:RIGHT] = 1
    return mask


def drawn(shaken: bool, noise: float = 0.0, frames: int = FRAMES, scene: int = 1) -> torch.Tensor:
    """The ball's clip: from a tripod in even light, or from the hand in light that grows from 0.9 to 1.1."""
    picture, generator = background(scene), torch.Generator().manual_seed(0)
    clip = torch.empty(frames, HEIGHT, WIDTH, 3)
    for t, to in enumerate(clip):
        x, y = shake(t) if shaken else (0.0, 0.0)
        frame = with_ball(seen_at(picture, x, y), t / PERIOD, x, y)
        to.copy_(frame * (0.9 + 0.2 * t / (frames - 1) if shaken else 0.9))
        to.add_(noise * torch.randn(to.shape, generator=generator))
    return clip.clamp(0, 1)


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    return drawn(shaken=False)


@pytest.fixture(scope="module")
def filmed() -> torch.Tensor:
    return drawn(shaken=True, noise=0.01)


@pytest.fixture(scope="module")
def steady(filmed) -> torch.Tensor:
    return stabilised(filmed, window())


def test_less_than_one_level_of_255_is_left_of_the_drift(filmed, steady):
    def away(clip: torch.Tensor) -> float:
        """The largest difference of any frame's mean colour from the first frame's, outside the mask."""
        means = clip[:, window() == 0].mean(1)  # (T, 3)
        return float((means - means[0]).abs().max())

    assert away(filmed) > 20 / 255
    assert away(match_drift(steady, window())) < 1 / 255


def shift_between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """By how much pictures `(T, H, W)` are moved, `(T, 2)` as (x, y): the slope of their phases, whole pixels first."""
    height, width = a.shape[-2:]
    hann = torch.hann_window(height)[:, None] * torch.hann_window(width)
    a, b = (torch.fft.rfft2((p - p.mean(dim=(1, 2), keepdim=True)) * hann) for p in (a, b))
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    cross = b * a.conj()
    peak = torch.fft.irfft2(cross / cross.abs().clamp(min=1e-12), (height, width)).flatten(1).argmax(1)
    y, x = (
        (peak // width + height // 2) % height - height // 2,
        (peak % width + width // 2) % width - width // 2,
    )
    whole = torch.stack([x, y], 1).float()  # (T, 2)
    turned = 2 * torch.pi * (across * whole[:, :1, None] + down * whole[:, 1:, None])
    phase = (cross * torch.exp(1j * turned)).angle()
    weight = cross.abs() * (torch.hypot(down, across) < 0.2)
    slopes = (
        -2 * torch.pi * torch.stack([across.expand_as(phase[0]), down.expand_as(phase[0])], -1).flatten(0, 1)
    )
    left = [
        torch.linalg.lstsq(slopes * w.flatten()[:, None].sqrt(), (p * w.sqrt()).flatten()[:, None]).solution
        for p, w in zip(phase, weight, strict=True)
    ]
    return whole + torch.stack(left)[..., 0]


def test_less_than_a_fifth_of_a_pixel_is_left_of_the_shake(filmed, steady):
    def away(clip: torch.Tensor) -> float:
        """The largest shift from the first frame, in the picture to the left and to the right of the mask."""
        luma = clip.mean(-1)
        parts = luma[:, 8:-8, 8 : LEFT - 2], luma[:, 8:-8, RIGHT + 2 : -8]
        return float(torch.stack([shift_between(part[:1], part) for part in parts]).abs().max())

    assert away(filmed) > 6
    assert away(steady) < 0.2


def test_the_camera_is_found_where_it_was(filmed):
    tripod = Tripod(filmed[0], window())
    box = np.array([[[0, 0]], [[WIDTH, 0]], [[0, HEIGHT]], [[WIDTH, HEIGHT]]], np.float64)
    path = tripod.path([tripod.follow(frame.numpy()) for frame in filmed], 0)
    for t in range(1, FRAMES):
        found = cv2.perspectiveTransform(box, path.places[t])
        assert np.abs(found - box - shake(t)).max() < 0.1


@pytest.mark.parametrize("noise", [0, 0.02, 0.05])
@pytest.mark.parametrize("period", [9, 17, 23])
def test_the_period_is_found_exactly(noise, period):
    generator = torch.Generator().manual_seed(period)
    still = background()[ROOM:-ROOM, ROOM:-ROOM]
    clip = torch.stack([with_ball(still, t / period) for t in range(3 * period - 5)])
    clip = (clip + noise * torch.randn(clip.shape, generator=generator)).clamp(0, 1)
    assert loop.best_cut(shots.looked_at(TensorFrames(clip)), 8).count % period == 0


def test_the_period_is_found_in_a_shaken_drifting_clip_too(filmed):
    assert len(cinemagraph_from_clip(filmed, window(), loop="cut")) % PERIOD == 0


@pytest.mark.parametrize("how", ["cut", "dissolve", "ping-pong"])
def test_the_last_step_of_a_loop_is_like_any_other(filmed, how):
    out = cinemagraph_from_clip(filmed, window(), loop=how)
    assert 0.8 < loop_seam_score(out.permute(3, 0, 1, 2)) < 1.25


@pytest.mark.parametrize("how", ["cut", "dissolve", "ping-pong", "none"])
@pytest.mark.parametrize("motion", [1.0, 0.5])
def test_outside_the_mask_nothing_differs_at_all(filmed, how, motion):
    out = cinemagraph_from_clip(filmed[:30], window(), loop=how, motion=motion)
    assert (out[:, window() == 0] - filmed[0, window() == 0]).abs().max() == 0


def test_inside_the_mask_it_is_what_a_tripod_in_even_light_would_have_filmed(filmed, truth):
    out = cinemagraph_from_clip(filmed, window(), loop="none", feather=4)
    inside = (slice(None), slice(TOP + 5, BOTTOM - 5), slice(LEFT + 5, RIGHT - 5))
    away = (out - truth)[inside]
    assert away.mean(dim=(1, 2)).abs().max() < 1 / 255
    assert away.abs().mean() < 0.5 * (filmed - truth)[inside].abs().mean()


def edge(clip: torch.Tensor) -> torch.Tensor:
    """How steep the ball's edge is in each frame, `(T,)`: the mean of the steepest places in the mask."""
    luma = clip.mean(-1)[:, TOP + 9 : BOTTOM - 9, LEFT + 9 : RIGHT - 9]  # without the feather
    down, across = torch.gradient(luma, dim=(1, 2))
    return torch.hypot(down, across).flatten(1).topk(40).values.mean(1)


@pytest.fixture(scope="module")
def rolling() -> torch.Tensor:
    """The ball before a blurred background, so that its edge is the only one; the dissolve has to move it 17 pixels."""
    still = cv2.GaussianBlur(background()[ROOM:-ROOM, ROOM:-ROOM].numpy(), (0, 0), 6) * 0.5 + 0.2
    return torch.stack([with_ball(torch.from_numpy(still), t / PERIOD) for t in range(61)])


def test_a_dissolve_shows_no_ghost_of_a_moving_edge(rolling):
    overlap, end = 8, 53
    faded = torch.stack([rolling[end + i].lerp(rolling[i], (i + 1) / (overlap + 1)) for i in range(overlap)])
    single = edge(rolling).mean()
    assert edge(faded).min() < 0.7 * single
    assert (edge(dissolve_loop(rolling, overlap)) / single - 1).abs().max() < 0.1
    tool = cinemagraph_from_clip(rolling, window(), loop="dissolve", stabilise=False, drift=False)
    assert (edge(tool) / single - 1).abs().max() < 0.1


def test_half_the_motion_shows_no_ghost_of_a_moving_edge(rolling):
    out = cinemagraph_from_clip(rolling[:3], window(), loop="none", motion=0.5, stabilise=False, drift=False)
    assert (edge(out) / edge(rolling).mean() - 1).abs().max() < 0.1
