"""Prompts over time: what an artist writes, and what a frame gets of it."""

from __future__ import annotations

import pytest
import torch

from lumiere_core.diffusion.prompts import PromptSpan, parse, span_weights


def test_a_schedule_is_read_in_either_form():
    expected = [PromptSpan("a calm sea", 0, 40), PromptSpan("a storm", 40, 80)]
    assert parse("0: a calm sea / 40: a storm", 80) == expected
    assert parse("0-39: a calm sea\n40-79: a storm\n", 80) == expected
    assert parse("0: one prompt: with a colon", 8) == [PromptSpan("one prompt: with a colon", 0, 8)]
    assert parse("0: / 4: a fish", 8)[0].text == ""


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("", "is empty. Write it as: 0: a calm sea"),
        ("a calm sea", "entry 1 .*'a calm sea', does not begin with a frame"),
        ("0: a / x: b", "entry 2 .*'x: b'"),
        (
            "5: a",
            "entry 1 .*begins at frame 5 and is the first, which has to begin with the clip. Begin it at 0",
        ),
        ("0-40: a / 40: b", "entry 2 .*overlaps the one before, which goes on to frame 40. Begin it at 41"),
        ("0-30: a / 40: b", "entry 2 .*at frame 40 and leaves a gap after frame 30. Begin it at 31"),
        ("0: a / 90: b", "begins at frame 90, but the clip has 80 frames"),
        ("0: a / 80: b", "begins at frame 80, but the clip has 80 frames, 0 to 79"),
        ("0-9: a / 10-9: b / 10: c", "entry 2 .*goes from frame 10 to 9, which holds no frame"),
        ("0-39: a", "ends at frame 39, but the clip goes on to 79"),
        ("0: a / 40: b / 20: c", "holds no frame. Order the entries"),
        ("-3: a", "begins at frame -3"),
    ],
)
def test_what_cannot_be_is_refused_by_entry_and_frame(schedule, words):
    with pytest.raises(ValueError, match=words):
        parse(schedule, 80)


def test_every_frame_is_wholly_given_away():
    spans = parse("0: a / 10: b / 13: c / 30: d", 40)
    for blend in (0, 1, 8, 30):
        table = span_weights(spans, 40, blend)
        assert table.shape == (4, 40) and table.min() >= 0
        torch.testing.assert_close(table.sum(0), torch.ones(40))


def test_a_change_is_centred_on_its_frame():
    table = span_weights(parse("0: a / 20: b", 40), 40, 8)
    assert table[0, :16].eq(1).all() and table[1, 24:].eq(1).all()
    torch.testing.assert_close(table[1], table[0].flip(0))
    assert table[1].diff().min() >= 0
    hard = span_weights(parse("0: a / 20: b", 40), 40, 0)
    assert hard[0, :20].eq(1).all() and hard[1, 20:].eq(1).all()


def test_the_ends_of_a_clip_do_not_fade_however_long_the_change():
    table = span_weights(parse("0: a / 4: b", 8), 8, 16)
    torch.testing.assert_close(table[1], table[0].flip(0))
    torch.testing.assert_close(table[1, -1], torch.tensor(0.5 + 3.5 / 16))


def test_a_blend_below_0_is_refused():
    with pytest.raises(ValueError, match="blend is -1"):
        span_weights(parse("0: a", 4), 4, -1)
