"""Weather and light made by code: they loop to the bit, go their own way, and leave the rest of the photo alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lumiere_core.media.frames import TensorFrames, gathered
from lumiere_core.photo.examples import texture
from lumiere_core.photo.overlays.air import Overlay, along, as_linear, as_srgb, splat
from lumiere_core.photo.overlays.noise import Drifting, Swirls
from lumiere_core.photo.overlays.overlay import OVERLAYS, overlaid_frames

WIDTH, HEIGHT = 192, 108


def photo(width: int = WIDTH, height: int = HEIGHT, level: float = 0.25) -> torch.Tensor:
    """A dim, grainy picture with a bright part, `(1, H, W, 3)`."""
    grain = level + 0.03 * texture(width, height, 1, 0.6)[..., None].expand(-1, -1, 3)
    grain = grain.clone()
    grain[: height // 4, : width // 4] += 0.5
    return grain.clamp(0, 1)[None]


def made(
    kind: str, frames: int = 12, source: torch.Tensor | None = None, fps: float = 16, **settings
) -> torch.Tensor:
    extra = {name: settings.pop(name) for name in ("mask", "matte") if name in settings}
    clip = TensorFrames(photo() if source is None else source, fps)
    return gathered(overlaid_frames(clip, Overlay(kind, **settings), frames, **extra))


def source_below() -> torch.Tensor:
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[90:100, 80:112] = 1
    return mask


@pytest.mark.parametrize("kind", OVERLAYS)
def test_every_overlay_comes_back_to_the_bit_also_where_things_live_longer_than_the_loop(kind):
    still = photo().expand(14, -1, -1, -1)
    twice = made(kind, 7, still)
    assert torch.equal(twice[:7], twice[7:])
    assert (twice[0] - twice[3]).abs().max() > 0.02


@pytest.mark.parametrize("kind", OVERLAYS)
def test_no_seam_is_seen_where_the_loop_joins(kind, joins_like_any_step):
    assert joins_like_any_step(made(kind, 32))


@pytest.mark.parametrize("kind", OVERLAYS)
def test_a_seed_gives_the_same_frames_and_another_one_others(kind):
    first = made(kind, 3, seed=1)
    assert torch.equal(first, made(kind, 3, seed=1))
    assert not torch.equal(first, made(kind, 3, seed=2))


@pytest.mark.parametrize("kind", OVERLAYS)
def test_none_of_it_is_the_photo_and_more_of_it_shows_more(kind):
    assert torch.equal(made(kind, 2, amount=0), photo().expand(2, -1, -1, -1))
    little, much = ((made(kind, 4, amount=a) - photo()).abs().mean() for a in (0.3, 2.0))
    assert much > 1.5 * little > 0


@pytest.mark.parametrize("kind", [name for name, row in OVERLAYS.items() if not row.rises])
def test_outside_its_mask_an_overlay_changes_no_bit(kind):
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[20:90, 40:150] = 1
    clip = made(kind, 4, mask=mask, amount=2.0)
    assert torch.equal(clip[:, mask == 0], photo()[:, mask == 0].expand(4, -1, -1))
    assert (clip - photo()).abs().max() > 0.02


@pytest.mark.parametrize("kind", [name for name, row in OVERLAYS.items() if row.rises])
def test_what_rises_begins_at_its_mask_and_leaves_what_is_below_alone(kind):
    clip = made(kind, 8, mask=source_below(), wind=0.0)
    changed = (clip - photo()).abs().amax((0, 3)) > 0
    below = 105 if kind == "steam" else HEIGHT  # sparks have a halo
    assert not changed[below:].any() and not changed[:, :10].any() and not changed[:, -10:].any()
    assert changed[60:90, 80:112].any() and changed[91:99, 82:110].any()


@pytest.mark.parametrize("kind", OVERLAYS)
def test_behind_a_matte_nothing_is_changed_and_a_matte_may_move(kind):
    matte = torch.zeros(4, HEIGHT, WIDTH)
    for i in range(4):
        matte[i, :, 30 + 20 * i : 70 + 20 * i] = 1
    source = photo().expand(4, -1, -1, -1)
    clip = made(kind, 4, source, matte=matte, amount=2.0)
    assert torch.equal(clip[matte == 1], source[matte == 1])
    assert not torch.equal(clip, source)
    over_a_photo = made(kind, 4, matte=matte, amount=2.0)
    assert torch.equal(over_a_photo, clip)
    nothing_before = made(kind, 4, source, matte=torch.zeros(1, 8, 8))
    assert torch.equal(nothing_before, made(kind, 4, source))


def shift_between(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    import cv2

    window = cv2.createHanningWindow(a.shape[::-1], cv2.CV_32F)
    return cv2.phaseCorrelate(a - a.mean(), b - b.mean(), window)[0]


def mean_way(kind: str, **settings) -> np.ndarray:
    """How far an overlay moves from frame to frame, in pixels, x and y, on average."""
    clip = made(kind, 24, torch.full((1, 96, 160, 3), 0.2), fps=48, **settings).mean(3).numpy()
    return np.median([shift_between(clip[i], clip[i + 1]) for i in range(23)], axis=0)


@pytest.mark.parametrize(("kind", "down"), [("steam", -1), ("sparks", -1), ("rain", 1), ("snow", 1)])
def test_steam_and_sparks_rise_and_rain_and_snow_fall(kind, down):
    assert down * mean_way(kind, wind=0.0)[1] > 0.1


def test_wind_blows_to_its_side():
    for kind in ("mist", "snow"):
        assert mean_way(kind, wind=1.5)[0] > 0.05 > -0.05 > mean_way(kind, wind=-1.5)[0]


def test_steam_fades_with_height():
    clip = made("steam", 16, torch.full((1, HEIGHT, WIDTH, 3), 0.2), mask=source_below(), wind=0.0)
    rows = (clip - 0.2).abs().sum((0, 2, 3))
    assert rows[70:85].mean() > 2 * rows[40:55].mean() > 4 * rows[10:25].mean() > 0


def test_rain_is_nearer_and_farther():
    """Streaks of several lengths: the near ones many times as long as the far ones."""
    import cv2

    clip = made("rain", 2, torch.full((1, 540, 540, 3), 0.05), wind=0.0)
    bright = (clip[0].mean(2).numpy() > 0.12).astype(np.uint8)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(bright)
    heights = boxes[1:, cv2.CC_STAT_HEIGHT]
    assert count > 30 and np.quantile(heights, 0.97) > 3 * np.quantile(heights, 0.3)


@pytest.mark.parametrize("kind", ["sparks", "rays"])
def test_light_never_darkens_and_fog_never_leaves_black(kind):
    assert (made(kind, 4, amount=4.0) - photo()).min() > -1e-4
    white = torch.ones(1, HEIGHT, WIDTH, 3)
    assert torch.equal(made(kind, 2, white), white.expand(2, -1, -1, -1))


def test_a_tint_colours_the_overlay():
    for kind in OVERLAYS:
        change = (made(kind, 3, photo(level=0.1), tint="#ff2010", amount=2.0) - photo(level=0.1)).mean(
            (0, 1, 2)
        )
        assert change[0] > change[1] and change[0] > change[2], kind


def test_at_night_fog_is_no_white_sheet():
    dark, day = (made("mist", 2, photo(level=level), amount=4.0)[:, 80:].mean() for level in (0.03, 0.6))
    assert dark < 0.65 * day


@pytest.mark.parametrize("kind", OVERLAYS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (65, 7)])
def test_pictures_of_any_shape_do_no_harm(kind, shape):
    clip = made(kind, 2, torch.rand(1, *shape, 3))
    assert clip.shape == (2, *shape, 3) and clip.isfinite().all() and clip.min() >= 0 and clip.max() <= 1


@pytest.mark.parametrize("kind", OVERLAYS)
def test_a_size_of_the_picture_changes_no_look(kind):
    """The same change in brightness at twice the size, within a third."""
    small, large = (
        (made(kind, 6, photo(w, h), fps=12) - photo(w, h)).abs().mean() for w, h in ((240, 136), (480, 272))
    )
    assert 0.67 < small / large < 1.5


@pytest.mark.parametrize("fps", [0.05, 300.0])
def test_any_rate_does_no_harm(fps):
    assert made("steam", 2, fps=fps).isfinite().all()
    assert made("snow", 2, fps=fps).isfinite().all()


def test_a_clip_keeps_its_own_motion_and_length():
    clip = torch.rand(5, HEIGHT, WIDTH, 3)
    over = overlaid_frames(TensorFrames(clip, 12), Overlay("rain", amount=0), 80)
    assert (over.count, over.fps, over.heard) == (5, 12, 0)
    assert torch.equal(gathered(over), clip)


def test_frames_come_one_at_a_time_and_two_passes_do_not_disturb_each_other():
    over = overlaid_frames(TensorFrames(photo()), Overlay("steam"), 1_000_000)
    one, other = iter(over), iter(over)
    next(one)
    assert np.array_equal(next(one), [next(other), next(other)][1])


@pytest.mark.parametrize(
    ("settings", "frames", "words"),
    [
        ({"kind": "lava"}, 4, "kind is 'lava', but it has to be one of steam"),
        ({"amount": 9.0}, 4, "amount is 9"),
        ({"speed": 0.0}, 4, "speed is 0"),
        ({"size": float("nan")}, 4, "size is nan"),
        ({"wind": 3.0}, 4, "wind is 3"),
        ({"tint": "red"}, 4, "tint is 'red', but it is written as #rrggbb"),
        ({"seed": -1}, 4, "seed is -1"),
        ({}, 1, "frames is 1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_number(settings, frames, words):
    with pytest.raises(ValueError, match=words):
        overlaid_frames(TensorFrames(photo()), Overlay(**settings), frames)


def test_an_empty_mask_and_a_matte_of_another_length_are_refused():
    with pytest.raises(ValueError, match="the mask is empty"):
        made("mist", 2, mask=torch.zeros(8, 8))
    with pytest.raises(ValueError, match="3 frames"):
        made("mist", 2, matte=torch.ones(3, 8, 8))


def test_drifting_noise_is_as_strong_at_every_moment_and_closes():
    x, y = np.meshgrid(np.linspace(0, 3, 90, dtype=np.float32), np.linspace(0, 2, 60, dtype=np.float32))
    noise = Drifting(x, y, 0.4, (0.02, -0.01), 2.0, 5.0, np.random.default_rng(0), 2.4)
    seen = [noise.at(i / 40) for i in range(40)]
    assert 0.8 < min(n.std() for n in seen) and max(n.std() for n in seen) < 1.2
    steps = [float(np.abs(seen[(i + 1) % 40] - seen[i]).mean()) for i in range(40)]
    assert max(steps) < 1.5 * min(steps)
    bends = [np.abs(seen[(i + 1) % 40] - 2 * seen[i] + seen[i - 1]).mean() for i in range(40)]
    assert max(bends) < 0.5 * np.mean(steps), "no moment at which it turns back"


def test_swirling_air_has_no_sources():
    flow = Swirls(1.6, 0.9, 0.3, (0, -0.2), 2.0, 5.0, np.random.default_rng(0)).flow(0.3)
    apart = np.gradient(flow[..., 0], axis=1) + np.gradient(flow[..., 1], axis=0)
    assert np.abs(apart).mean() < 0.02 * np.abs(np.gradient(flow[..., 0], axis=0)).mean()
    assert 0.8 < np.sqrt((flow**2).sum(2).mean()) < 1.2


def test_points_are_laid_down_whole_between_cells_and_cut_at_the_border():
    laid = splat(np.array([1.5, 0.0]), np.array([1.0, -9.0]), np.array([2.0, 5.0]), 3, 3)
    assert np.allclose(laid, [[0, 1, 0], [0, 1, 0], [0, 0, 0]])
    x, y, weight = along(np.zeros(1), np.zeros(1), np.array([4.0]), np.array([0.0]), np.array([3.0]), 8)
    assert -4 < x.min() < x.max() < 0 and not y.any() and np.isclose(weight.sum(), 3)
    assert weight[0] < weight[4]


def test_light_and_srgb_are_each_other_s_opposite():
    values = np.linspace(0, 1, 256, dtype=np.float32)
    assert np.abs(as_srgb(as_linear(values)) - values).max() < 1e-4
    assert np.isclose(as_linear(np.float32([0.5]))[0], 0.21404, atol=1e-4)
