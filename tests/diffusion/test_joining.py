"""Within a frame what is made joins what is known: no step at the border, and less of what follows the noise."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.diffusion.condition import Condition, cinemagraph, first_frame, inpaint, outpaint
from lumiere_core.diffusion.joining import (
    AGAIN_AT,
    GUIDED_ABOVE,
    LIVELIER,
    LIVELY,
    SEEN_TWICE,
    is_joined,
    joining,
    levelled,
    livelier,
    membrane,
)

FRAMES, SIZE = 3, 32
LOW = torch.tensor([SEEN_TWICE])


def clip() -> torch.Tensor:
    """A slope from dark to light. `(1, 3, T, H, W)`"""
    return torch.linspace(-0.5, 0.5, SIZE).expand(1, 3, FRAMES, SIZE, SIZE)


def box() -> torch.Tensor:
    """M of one frame: unknown in the middle."""
    known = torch.ones(1, 1, 1, SIZE, SIZE)
    known[..., 10:22, 10:22] = 0
    return known


def still() -> torch.Tensor:
    return clip()[:, :, :1]


TASKS = {
    "inpaint": (inpaint(clip(), box(), FRAMES), True),
    "outpaint": (outpaint(clip(), (8, 8, 8, 8), FRAMES), True),
    "cinemagraph": (cinemagraph(still(), box(), FRAMES), True),
    "first frame": (first_frame(still(), FRAMES), False),
    "all known": (Condition(clip(), torch.ones(1, 1, FRAMES, SIZE, SIZE)), False),
    "nothing known": (Condition(clip(), torch.zeros(1, 1, FRAMES, SIZE, SIZE)), False),
}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_known_and_made_meet_in_frames_that_are_known_in_part(name):
    task, meets = TASKS[name]

    def denoise(x, sigma):
        return x

    assert is_joined(task) is meets
    assert (joining(denoise, task, clip()) is denoise) is not meets


@pytest.mark.parametrize("name", TASKS)
def test_a_cinemagraph_alone_moves_more_than_the_mean_of_what_could_be(name):
    x0, task = torch.randn_like(TASKS[name][0].clip), TASKS[name][0]
    if name != "cinemagraph":
        assert livelier(x0, torch.tensor(LIVELY[1]), task) is x0
        return
    for sigma, more in (
        (LIVELY[1] * 1.01, 0),
        (LIVELY[1], LIVELIER),
        (LIVELY[0] * 1.01, LIVELIER),
        (LIVELY[0], 0),
    ):
        made = livelier(x0, torch.tensor([sigma]), task)
        torch.testing.assert_close(made.mean(dim=2), x0.mean(dim=2))
        torch.testing.assert_close(made.diff(dim=2), (1 + more) * x0.diff(dim=2))


def test_a_model_that_is_too_light_everywhere_is_put_right_from_the_border():
    task = TASKS["inpaint"][0]
    made = levelled(clip() + 0.3, LOW, task)
    torch.testing.assert_close(made, clip(), atol=1e-5, rtol=0)


def test_the_model_keeps_what_it_draws_away_from_the_border():
    drawing = torch.zeros_like(clip())
    drawing[..., 14:18, 14:18] = 0.7
    task = TASKS["inpaint"][0]
    torch.testing.assert_close(levelled(clip() + drawing, LOW, task), clip() + drawing, atol=1e-6, rtol=0)


def test_each_clip_of_a_batch_is_put_right_by_itself():
    inside, around = TASKS["inpaint"][0], Condition(clip() * 0.5, 1 - TASKS["inpaint"][0].known)
    off = torch.cat([inside.clip + 0.3, around.clip - 0.2])
    both = Condition(torch.cat([inside.clip, around.clip]), torch.cat([inside.known, around.known]))
    torch.testing.assert_close(levelled(off, LOW, both), both.clip, atol=1e-5, rtol=0)


def test_above_its_noise_level_the_model_decides_alone():
    x0, task = clip() + 0.3, TASKS["inpaint"][0]
    assert levelled(x0, torch.tensor(GUIDED_ABOVE * 1.01), task) is x0
    assert levelled(x0, torch.tensor([GUIDED_ABOVE]), task) is not x0


def test_a_membrane_between_two_sides_is_a_slope():
    known, values = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    known[..., 0], known[..., -1], values[..., -1] = 1, 1, 1
    slope = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    torch.testing.assert_close(membrane(values, known), slope, atol=0.03, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (5, 3), (33, 64)])
def test_a_membrane_of_any_size_holds_what_is_known_and_is_nothing_where_nothing_is(size):
    values, known = torch.randn(2, 3, *size), torch.zeros(2, 1, *size)
    known[0, :, 0] = 1
    spread = membrane(values, known)
    torch.testing.assert_close(spread[0, :, 0], values[0, :, 0])
    assert spread.isfinite().all() and not spread[1].any()


def test_what_follows_the_noise_falls_away_at_the_last_levels():
    """A model that lets a tenth of the noise through: turned over, it cancels where it is made."""
    task, noise = TASKS["outpaint"][0], torch.randn(1, 3, FRAMES, SIZE + 16, SIZE + 16)
    levels = []

    def denoise(x, sigma):
        levels.append(float(sigma.flatten()[0]))
        return task.clip + 0.1 * (x - task.clip)

    call = joining(denoise, task, noise)
    speckled = task.clip + SEEN_TWICE * noise
    once, twice = denoise(speckled, LOW) - task.clip, call(speckled, LOW) - task.clip
    assert levels == [float(LOW), float(LOW), pytest.approx(AGAIN_AT)]
    unknown = (task.known == 0).expand_as(once)
    assert twice[unknown].std() < 0.7 * once[unknown].std()
    del levels[:]
    call(speckled, LOW * 1.01)
    assert len(levels) == 1
