"""Numbers and cancel in a real host: what comes over a link passes the host's checks, but not ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(scope="module")
def told(ask: Callable[[str], dict]) -> dict:
    return ask("inside_numbers.py")


def test_every_number_is_refused_in_a_sentence_before_the_node_works(told: dict) -> None:
    found = told["refusals"]
    assert len({(row["node"], row["widget"]) for row in found}) > 40
    for row in found:
        assert row["said"].startswith(f"{row['widget']} is "), row
        assert "but it has to be " in row["said"] and "Try " in row["said"] and len(row["said"]) < 180, row


@pytest.mark.parametrize("node", ["EmptyVideo", "VideoMask"])
def test_a_clip_that_no_machine_holds_is_refused_with_what_it_would_take(told: dict, node: str) -> None:
    assert "4096 frames of " in told["too_large"][node] and " GB of memory" in told["too_large"][node]


@pytest.mark.parametrize("node", ["SeamScore", "PromptSchedule", "Sample"])
def test_cancel_ends_a_node_soon(told: dict, node: str) -> None:
    """Within a second on a machine of its own; one window of the network is the longest wait."""
    assert told["stopped"][node] < 5
