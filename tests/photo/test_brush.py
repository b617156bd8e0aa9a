"""Motion painted into a photo: it moves where and as painted, closes as a loop, and tears nowhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.photo import brush as brushes
from lumiere_core.photo.brush import Brush, brushed_frames, motion_brush, painter
from lumiere_core.photo.strokes import BRUSH_PRESETS, Drawing, Stroke
from lumiere_core.photo.warp import flow_between

HEIGHT, WIDTH = 120, 160


def photo() -> torch.Tensor:
    """Noise with detail of several sizes, like water."""
    r = np.random.default_rng(5)
    layers = [
        cv2.GaussianBlur(r.standard_normal((HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), s) * s
        for s in (1, 3, 8)
    ]
    return torch.from_numpy(np.clip(0.5 + 0.25 * sum(layers), 0, 1).astype(np.float32))


def lake() -> torch.Tensor:
    """A round mask in the middle."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return ((((x - 80) / 65) ** 2 + ((y - 60) / 50) ** 2) < 1).float()


def along(path) -> Drawing:
    return Drawing((Stroke(points=path),))


def steps(clip: torch.Tensor) -> torch.Tensor:
    """Mean differences of neighbours, the last one from the end to the beginning."""
    return (clip - clip.roll(-1, 0)).abs().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("preset", BRUSH_PRESETS)
def test_outside_the_mask_the_photo_is_untouched_and_inside_it_moves(preset):
    image, mask = photo(), lake()
    before = image.clone()
    clip = motion_brush(image, mask, Brush(preset), 12, 8)
    assert torch.equal(clip[:, mask == 0], image[mask == 0].expand(12, -1, -1))
    assert (clip[:, mask > 0] - image[mask > 0]).abs().mean() > 0.002
    assert 0 <= clip.min() and clip.max() <= 1
    assert torch.equal(image, before)


@pytest.mark.parametrize("preset", [p for p in BRUSH_PRESETS if p != "flicker"])
def test_the_brushed_clip_is_a_perfect_loop(preset):
    clip = motion_brush(photo(), lake(), Brush(preset), 48, 16)
    step = steps(clip)
    assert 0.8 < step[-1] / step[:-1].mean() < 1.25


def test_a_flame_closes_as_smoothly_as_it_burns():
    # Its brightness changes by much and by little in turns, so how it bends where the loop closes is held against how
    # it bends elsewhere.
    light = motion_brush(photo(), lake(), Brush("flicker"), 48, 16).mean(dim=(1, 2, 3))
    bend = light.roll(-1) - 2 * light + light.roll(1)
    assert max(bend[0].abs(), bend[-1].abs()) < 1.1 * bend[1:-1].abs().max()
    assert light.std() > 0.005


def gravel() -> torch.Tensor:
    """Stones with dark gaps between: what is shown twice at once is seen."""
    r = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    places = r.uniform(0, 1, (220, 2)) * (WIDTH, HEIGHT)
    away = np.hypot(x[..., None] - places[:, 0], y[..., None] - places[:, 1])
    first, second = np.sort(away, axis=2)[..., :2].transpose(2, 0, 1)
    stones = r.uniform(0.35, 0.8, (220, 3))[away.argmin(2)] * ((second - first) / 2).clip(0.2, 1)[..., None]
    return torch.from_numpy(cv2.GaussianBlur(stones.astype(np.float32), (0, 0), 0.6))


def letters() -> torch.Tensor:
    page = np.full((HEIGHT, WIDTH, 3), 0.85, np.float32)
    for line in range(6):
        place = (4, 18 + 20 * line)
        cv2.putText(
            page, "flowing letters", place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0.1, 0.1, 0.15), 1, cv2.LINE_AA
        )
    return torch.from_numpy(cv2.GaussianBlur(page, (0, 0), 0.5))


PHOTOS = {"water": photo, "gravel": gravel, "letters": letters}


def sharpness(clip: torch.Tensor) -> torch.Tensor:
    """The mean gradient in the middle of each frame, `(T,)`."""
    luma = clip[:, 20:-20, 20:-20].mean(-1)
    return torch.hypot(luma.diff(dim=1)[:, :, :-1], luma.diff(dim=2)[:, :-1]).mean(dim=(1, 2))


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("preset", [p for p in BRUSH_PRESETS if p != "flicker"])
def test_a_clip_is_as_sharp_and_as_bright_as_its_photo(name, preset):
    still = PHOTOS[name]()
    clip = motion_brush(still, torch.ones(HEIGHT, WIDTH), Brush(preset, motion=2), 24, 8)
    sharp = sharpness(clip) / sharpness(still[None])
    light = clip.mean(dim=(1, 2, 3)) / still.mean()
    assert sharp.min() > 0.9 and sharp.max() < 1.1
    assert (light - 1).abs().max() < 0.01


def unlike(clip: torch.Tensor, still: torch.Tensor) -> float:
    """How far places of the clip are from any place of the photo that may have come there: two at once are nowhere."""
    wide = torch.nn.functional.interpolate(
        still.mean(-1)[None, None], scale_factor=(1, 4), mode="bicubic", align_corners=False
    )[0, 0]
    least = torch.full(clip.shape[:3], 9.0)
    for shift in range(-60, 61):
        apart = (clip.mean(-1) - wide.roll(shift, 1)[:, ::4]) ** 2
        least = least.minimum(torch.nn.functional.avg_pool2d(apart[:, None], 9, 1, 4)[:, 0])
    return float(least[:, 20:-20, 25:-25].mean().sqrt() / still.std())


@pytest.mark.parametrize("name", ["gravel", "letters"])
def test_structured_texture_is_seldom_seen_twice(name, monkeypatch):
    """Against both phases mixed everywhere all the time, as in Holynski et al."""
    still = torch.cat([PHOTOS[name](), PHOTOS[name]().flip(1)], 1)  # so that patches are larger than stones

    def doubled() -> float:
        frame_at = painter(still, torch.ones(HEIGHT, 2 * WIDTH), Brush("flow", speed=0.04), 1.5)
        return unlike(torch.stack([frame_at(i / 8) for i in range(1, 8)]), still)

    now = doubled()
    monkeypatch.setattr(brushes, "DISSOLVE", 1.0)
    assert now < 0.85 * doubled()


@pytest.mark.parametrize("preset", BRUSH_PRESETS)
def test_every_loop_begins_with_the_photo_and_leaves_it_smoothly(preset):
    frame_at = painter(photo(), lake(), Brush(preset), 4)
    assert torch.equal(frame_at(0.0), photo()) and torch.equal(frame_at(1.0), photo())
    near, far = ((frame_at(p) - photo()).abs().mean() for p in (0.001, 0.01))
    assert near < 0.3 * far


def test_texture_begins_to_go_over_without_a_jerk():
    """On a ramp of grey carried texture is a time-lapse of heights: halving the step quarters a smooth bend, and
    halves a kink. Finer steps would measure OpenCV 4's `remap`, which knows places to a 32nd of a pixel."""
    ramp = torch.linspace(0.2, 0.8, 64).view(1, 64, 1).expand(48, 64, 3)

    def bend(count: int) -> float:
        frame_at = painter(ramp, torch.ones(48, 64), Brush("drift", speed=0.1, edge=0.0), 3)
        light = torch.stack([frame_at(0.1 + 0.8 * i / count)[24, 32, 0] for i in range(count)])
        return (light[2:] - 2 * light[1:-1] + light[:-2]).abs().max().item()

    assert bend(80) < 0.4 * bend(40)


def test_motion_is_as_even_when_texture_starts_anew():
    step = steps(motion_brush(photo(), lake(), Brush("flow"), 48, 16))
    assert step.max() / step.min() < 1.25


@pytest.mark.parametrize("preset", BRUSH_PRESETS)
def test_no_motion_means_the_photo(preset):
    clip = motion_brush(photo(), lake(), Brush(preset, motion=0), 3, 8)
    assert torch.equal(clip, photo().expand(3, -1, -1, -1))


def mean_flow(stroke: Brush) -> np.ndarray:
    """Optical flow (x, y) in the middle of the lake over one early step, in pixels."""
    frame_at = painter(photo(), lake(), stroke, 3)
    return flow_between(frame_at(0.0).numpy(), frame_at(1 / 48).numpy())[45:75, 60:100].mean((0, 1))


@pytest.mark.parametrize(("direction", "way"), [(0, (1, 0)), (90, (0, -1)), (180, (-1, 0)), (270, (0, 1))])
def test_water_flows_where_it_was_told_to(direction, way):
    flow = mean_flow(Brush("flow", direction=direction, speed=0.1))
    assert 0.7 < float(flow @ np.array(way)) / (0.1 * WIDTH / 16) < 1.3  # pixels per frame
    assert abs(flow @ np.array(way[::-1])) < 0.2


def test_water_follows_a_painted_path():
    down, up = (((0.5, 0.1), (0.5, 0.9)), ((0.5, 0.9), (0.5, 0.1)))
    assert mean_flow(Brush("flow", drawing=along(down)))[1] > 0.2
    assert mean_flow(Brush("flow", drawing=along(up)))[1] < -0.2


def test_a_path_of_many_points_is_as_good_as_one_of_two():
    many = tuple((0.5, 0.1 + 0.8 * i / 999) for i in range(1000))
    np.testing.assert_allclose(
        mean_flow(Brush("flow", drawing=along(many))),
        mean_flow(Brush("flow", drawing=along((many[0], many[-1])))),
        atol=0.02,
    )


def test_greys_move_less_than_white():
    grey = mean_distance(Brush("ripple"), 0.3 * lake())
    assert 0.1 < grey / mean_distance(Brush("ripple"), lake()) < 0.6


def mean_distance(stroke: Brush, mask: torch.Tensor) -> float:
    return float((motion_brush(photo(), mask, stroke, 8, 8) - photo()).abs().mean())


def test_the_edge_is_still_so_nothing_tears():
    image, mask = photo(), lake()
    rim = (mask > 0) & (torch.from_numpy(cv2.erode(mask.numpy(), np.ones((3, 3)))) == 0)
    clip = motion_brush(image, mask, Brush("flow"), 16, 16)
    change = (clip - image).abs().mean(dim=(0, 3))
    assert change[rim].mean() < 0.1 * change[mask > 0].mean()


def test_what_stands_still_is_not_mirrored_in_from_beyond_the_border():
    """Water flows in from the left, where a red post stands in it."""
    still, mask = photo(), torch.ones(HEIGHT, WIDTH)
    still[..., 0] = 0.3
    still[40:80, 6:14], mask[38:82, 5:15] = torch.tensor([1.0, 0.0, 0.0]), 0
    clip = motion_brush(still, mask, Brush("flow", speed=0.1), 12, 8)
    assert clip[:, :, :, 0][:, mask > 0].max() < 0.5


def test_a_whole_photo_may_move():
    clip = motion_brush(photo(), torch.ones(HEIGHT, WIDTH), Brush("flow"), 8, 8)
    assert torch.isfinite(clip).all() and steps(clip).min() > 0


@pytest.mark.parametrize("size", [(3, 5), (1, 40), (40, 1)])
def test_tiny_photos_do_no_harm(size):
    for preset in BRUSH_PRESETS:
        assert motion_brush(torch.rand(*size, 3), torch.ones(size), Brush(preset), 3, 8).shape == (
            3,
            *size,
            3,
        )


def test_the_same_seed_gives_the_same_waves():
    a, b, c = (motion_brush(photo(), lake(), Brush("sway", seed=s), 4, 8) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_photo_is_made_ready_once_for_all_its_frames(monkeypatch):
    made = []
    finer = brushes.Finer
    monkeypatch.setattr(brushes, "Finer", lambda picture: made.append(picture) or finer(picture))
    motion_brush(photo(), lake(), frames=4)
    assert len(made) == 1


def test_frames_come_one_at_a_time():
    frames = brushed_frames(photo(), lake(), frames=10_000)
    assert next(iter(frames)).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("stroke", "frames", "fps", "words"),
    [
        (Brush("magic"), 8, 8, "preset is 'magic', but it has to be one of drift, flow"),
        (Brush(motion=5), 8, 8, "motion is 5, but it has to be between 0 and 4"),
        (Brush(speed=-1), 8, 8, "speed is -1"),
        (Brush(edge=0.6), 8, 8, "edge is 0.6"),
        (Brush(drawing=along(((0, 0),))), 8, 8, "path has 1 point"),
        (Brush(), 1, 8, "frames is 1, but it has to be between 2"),
        (Brush(), 8, 0, "fps is 0, but it has to be between 0.01"),
    ],
)
def test_what_cannot_be_painted_is_refused_with_the_number(stroke, frames, fps, words):
    with pytest.raises(ValueError, match=words):
        brushed_frames(photo(), lake(), stroke, frames, fps)


def test_what_is_neither_photo_nor_clip_is_refused():
    with pytest.raises(ValueError, match="one picture"):
        motion_brush(photo()[None, None], lake())


def test_a_second_brush_keeps_the_motion_of_the_first():
    left, right = lake(), lake()
    left[:, 70:], right[:, :90] = 0, 0
    first = motion_brush(photo(), left, Brush("flow"), 8, 8)
    both = motion_brush(first, right, Brush("ripple"), 8, 8)
    assert torch.equal(both[:, right == 0], first[:, right == 0])
    assert (both - first)[:, right > 0].abs().mean() > 0.002


@pytest.mark.parametrize(("frames", "loop"), [(8, 8), (4, 4), (5, 8), (80, 8)])
def test_a_brush_on_a_clip_keeps_its_length(frames, loop):
    clip = motion_brush(photo().expand(8, -1, -1, -1), lake(), Brush("ripple"), frames, 8)
    assert len(clip) == 8
    same = [i for i in range(8) if torch.equal(clip[i], clip[0])]
    assert same == list(range(0, 8, loop))


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="mask is empty"):
        motion_brush(photo(), torch.zeros(64, 64))


def test_a_mask_of_another_size_is_scaled_and_one_that_is_not_single_refused():
    clip = motion_brush(photo(), torch.nn.functional.pad(torch.ones(20, 20), (22, 22, 22, 22)), frames=2)
    assert torch.equal(clip[:, :30], photo()[:30].expand(2, -1, -1, -1)) and not torch.equal(clip[1], photo())
    with pytest.raises(ValueError, match="the mask has 2 frames, but the clip has 1"):
        motion_brush(photo(), torch.ones(2, 20, 20))
    for channels in (1, 4):
        with pytest.raises(ValueError, match="has to be one picture"):
            motion_brush(torch.rand(20, 20, channels), torch.ones(20, 20))
