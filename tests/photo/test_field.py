"""The field of a drawing: it follows its strokes, stops at anchors and at edges, and fills the mask evenly."""

from __future__ import annotations

import numpy as np
import pytest

from lumiere_core.photo.field import Waves, depth, grid_of, layers_of
from lumiere_core.photo.strokes import BRUSH_PRESETS, Drawing, Stroke

ASPECT = 1.5
WIDTH, HEIGHT = grid_of(1500, 1000)
GREY = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
ALL = np.ones((HEIGHT, WIDTH), np.float32)


def layers(*strokes: Stroke, anchors=(), moves=ALL, photo=GREY, preset="drift", direction=None):
    return layers_of(Drawing(strokes, tuple(anchors)), Stroke(preset), direction, photo, moves, ASPECT)


def at(field: np.ndarray, x: float, y: float) -> np.ndarray:
    return field[int(y * HEIGHT), int(x * WIDTH)]


RIGHT = Stroke("drift", 0.1, ((0.1, 0.2), (0.9, 0.2)))
LEFT = Stroke("drift", 0.1, ((0.9, 0.8), (0.1, 0.8)))


def test_one_stroke_moves_all_of_the_mask_alike():
    (layer,) = layers(RIGHT)
    np.testing.assert_allclose(layer.push[..., 0], 0.1, atol=1e-4)
    np.testing.assert_allclose(layer.push[..., 1], 0, atol=1e-4)


def test_between_two_strokes_the_motion_turns_over_evenly():
    (layer,) = layers(RIGHT, LEFT)
    down = [at(layer.push, 0.5, y)[0] for y in (0.2, 0.35, 0.5, 0.65, 0.8)]
    assert down == pytest.approx([0.1, 0.05, 0, -0.05, -0.1], abs=0.015)


def test_a_slanted_stroke_keeps_its_slope_on_a_photo_that_is_no_square():
    (layer,) = layers(Stroke("drift", 0.1, ((0.2, 0.2), (0.6, 0.8))))  # 0.4 widths across, 0.4 widths down
    assert at(layer.push, 0.5, 0.5) == pytest.approx([0.1 / 2**0.5] * 2, abs=1e-3)


def test_anchors_stay_and_a_fence_of_them_holds_what_is_behind():
    (layer,) = layers(RIGHT, anchors=[(0.5, 0.6)])
    assert np.abs(at(layer.push, 0.5, 0.6)).max() == 0
    fence = [(x / 40, 0.5) for x in range(41)]
    (layer,) = layers(RIGHT, anchors=fence)
    assert np.hypot(*at(layer.push, 0.5, 0.9)) < 0.01 < 0.02 < np.hypot(*at(layer.push, 0.5, 0.35))


def test_motion_stops_at_a_hard_edge_sooner_than_on_even_ground():
    hard = GREY.copy()
    hard[HEIGHT // 2 :] = 0.9
    still = [(x / 40, 0.95) for x in range(41)]
    behind = [at(layers(RIGHT, anchors=still, photo=photo)[0].push, 0.5, 0.6)[0] for photo in (GREY, hard)]
    before = [at(layers(RIGHT, anchors=still, photo=photo)[0].push, 0.5, 0.4)[0] for photo in (GREY, hard)]
    assert behind[1] < 0.3 * behind[0] and before[1] > before[0]


def test_motion_does_not_leak_from_one_part_of_a_mask_into_another():
    moves = ALL.copy()
    moves[28:36] = 0
    (layer,) = layers(RIGHT, LEFT, moves=moves)
    assert at(layer.push, 0.5, 0.35)[0] > 0.08 and at(layer.push, 0.5, 0.65)[0] < -0.08


def test_without_strokes_all_of_the_mask_moves_in_the_direction_but_its_anchors():
    (layer,) = layers(anchors=[(0.5, 0.5)], direction=90)
    assert at(layer.push, 0.1, 0.1) == pytest.approx([0, -0.015], abs=1e-4)
    assert np.abs(at(layer.push, 0.5, 0.5)).max() == 0


def test_the_masks_own_shape_leads_round_its_bends():
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    x, y = (x + 0.5) / WIDTH, (y + 0.5) / HEIGHT
    river = (np.abs(y - 0.5 - 0.25 * np.sin(2 * np.pi * x)) < 0.12).astype(np.float32)
    (layer,) = layers(Stroke("drift", 0.1), moves=river)
    for place, slope in ((0.15, 1), (0.5, -1), (0.85, 1)):
        push = at(layer.push, place, 0.5 + 0.25 * np.sin(2 * np.pi * place))
        assert np.hypot(*push) == pytest.approx(0.1, abs=0.01)
        assert push[0] > 0.02 and slope * push[1] > 0.01
    assert at(layer.push, 0.25, 0.75)[0] > 0.09  # where it turns, it goes straight on


def test_presets_share_the_mask_and_each_has_its_own_field():
    flow, sway = layers(Stroke("drift", None, RIGHT.points), Stroke("sway", None, ((0.5, 0.9), (0.5, 0.6))))
    assert flow.row is BRUSH_PRESETS["drift"] and sway.row is BRUSH_PRESETS["sway"]
    assert at(flow.share, 0.5, 0.2) == pytest.approx(1, abs=0.01) and at(sway.share, 0.5, 0.2) < 0.01
    assert (
        at(sway.share, 0.5, 0.7) == pytest.approx(1, abs=0.01) and np.hypot(*at(flow.push, 0.5, 0.7)) < 0.001
    )


@pytest.mark.parametrize("root", [(0.5, 0.9), (0.5, 0.1)])
def test_what_sways_hangs_where_its_stroke_begins(root):
    tip = (0.5, 1 - root[1])
    (layer,) = layers(Stroke("sway", None, (root, tip)))
    push = np.hypot(*np.moveaxis(layer.push, 2, 0))
    assert at(push, *root) < 0.02 < 0.3 < at(push, 0.5, 0.5) < at(push, *tip)
    assert at(push, *tip) == pytest.approx(1, abs=0.05)
    assert abs(at(layer.push, 0.5, 0.5)[1]) < 0.01  # across its stem
    assert (
        at(push, 0.05, root[1]) < 0.02 and at(push, 0.05, tip[1]) > 0.9
    )  # and so does what stands beside it


def test_water_far_away_is_slower_and_a_mask_from_the_top_is_seen_from_above():
    moves = ALL.copy()
    moves[: HEIGHT // 2] = 0
    (layer,) = layers(Stroke("flow", 0.1, ((0.1, 0.7), (0.9, 0.7))), moves=moves)
    speeds = [at(layer.push, 0.5, y)[0] for y in (0.55, 0.75, 0.95)]
    assert speeds[0] < 0.6 * speeds[2] and speeds[1] == pytest.approx(0.1, rel=0.05)
    size, away = depth(ALL, np.linspace(0, 1, 5))
    assert (size == 1).all() and (away == np.linspace(0, 1, 5)).all()


@pytest.mark.parametrize("preset", ["ripple", "sway", "flicker"])
def test_waves_close_and_begin_with_none(preset):
    (layer,) = layers(Stroke(preset))
    places = np.linspace(0.05, 0.95, 40), np.linspace(0.05, 0.95, 30)
    waves = Waves(layer, *places, ALL, ASPECT, 5, 3)
    assert np.abs(waves.at(0.0)).max() == 0
    np.testing.assert_allclose(waves.at(1.0), 0, atol=1e-5)
    assert 0.15 < waves.at(0.3).std() < 1
    assert not np.allclose(Waves(layer, *places, ALL, ASPECT, 5, 4).at(0.3), waves.at(0.3))
