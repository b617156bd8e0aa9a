"""Every number of every node in a real host: what comes over a link passes the host's checks, but not ours."""

from __future__ import annotations

from collections.abc import Callable


def test_every_number_is_refused_in_a_sentence_before_the_node_works(ask: Callable[[str], dict]) -> None:
    found = ask("inside_numbers.py")["refusals"]
    assert len({(row["node"], row["widget"]) for row in found}) > 40
    for row in found:
        assert row["said"].startswith(f"{row['widget']} is "), row
        assert "but it has to be " in row["said"] and "Try " in row["said"] and len(row["said"]) < 180, row
