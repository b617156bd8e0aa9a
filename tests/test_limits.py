"""Every number that can be set: what cannot be is refused in a sentence, before any work."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator

import pytest

from lumiere_core.cli import main, parser
from lumiere_core.limits import LIMITS, Limit, check, spelled

NOWHERE = [math.nan, math.inf, -math.inf, 10**30, -(10**5000), 1e308]


@pytest.mark.parametrize("row", LIMITS)
def test_a_row_takes_its_ends_and_its_advice_and_nothing_outside(row):
    limit = LIMITS[row]
    for value in (limit.low, limit.high, limit.advice):
        check(row, value)
    for value in [limit.low - 1, limit.high * 2 + 1, *NOWHERE, None, "3", 3j]:
        with pytest.raises(ValueError, match=r" is .{1,60}, but it has to be .* Try ") as refused:
            check(row, value)
        assert str(refused.value).startswith(row.rpartition(".")[2])
        assert len(str(refused.value)) < 160


def test_whole_numbers_are_whole():
    with pytest.raises(ValueError, match=r"steps is 2.5, but it has to be a whole number from 1 to 9. Try 3"):
        Limit(1, 9, 3).check("steps", 2.5, whole=True)
    Limit(1, 9, 3).check("steps", 2.0, whole=True)


def test_a_number_is_spelled_out_while_it_can_be_read():
    assert spelled(2**64 - 1) == "18446744073709551615"
    assert spelled(10**29) == "1" + "0" * 29
    assert spelled(-(10**5000)) == "a number of 5001 digits"
    assert spelled(0.05) == "0.05" and spelled(16.0) == "16" and spelled(math.nan) == "nan"


def options() -> Iterator[tuple[list[str], str]]:
    """(the words before it, the option) of every number on the command line."""

    def walk(p: argparse.ArgumentParser, words: list[str]) -> Iterator:
        for action in p._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, inner in action.choices.items():
                    yield from walk(inner, [*words, name])
            elif getattr(action.type, "__qualname__", "") == "number.<locals>.read":
                yield words, action.option_strings[0]
            else:
                assert action.type is None or action.dest == "size", f"{words} {action.dest} is not checked"

    return walk(parser(), [])


@pytest.mark.parametrize(
    ("words", "option"), list(options()), ids=lambda v: v if isinstance(v, str) else "-".join(v)
)
@pytest.mark.parametrize("text", ["nan", "inf", "-1e308", "9" * 30, "9" * 5000, "1e999", "a", ""])
def test_every_number_on_the_command_line_is_refused_before_the_work(words, option, text, capsys):
    place = {"loop": ["c.mp4"], "cinemagraph": ["c.mp4"], "brush": ["p.png"], "train": ["t2i"]}.get(
        words[-1], []
    )
    began = time.monotonic()
    assert main([*words, *place, f"{option}={text}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(option[2:].replace("-", "_") + " is ") or option == "--ssr-steps"
    assert said.count("\n") == 1 and "Try " in said and len(said) < 160
    assert time.monotonic() - began < 1


def test_the_command_line_has_the_numbers_this_test_thinks_of():
    assert len(list(options())) > 20


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("100000", "size is 100000 pixels, but it has to be a whole number from 1 to 4096. Try 64."),
        ("64x", ""),
        ("64x-5", "written as 64 or 96x64"),
        ("nan", "written as 64 or 96x64"),
        ("1e9", "written as 64 or 96x64"),
        ("64x" + "9" * 5000, "999...' pixels, but it has to be a whole number from 1 to 4096"),
    ],
)
def test_a_size_is_two_numbers(text, sentence, capsys):
    if not sentence:
        assert parser().parse_args(["generate", "--size", text]).size == (64, 64)
        return
    assert main(["generate", "--size", text]) == 2
    assert sentence in capsys.readouterr().err


def test_a_clip_that_cannot_fit_into_memory_is_refused_with_what_it_would_take(capsys):
    """Within every row, and yet 6 TB: known before a model is asked for anything."""
    began = time.monotonic()
    assert main(["generate", "--size", "4096", "--frames", "4096", "--no-ssr"]) == 2
    said = capsys.readouterr().err
    assert "4096 frames of 4096x4096 take 6597.1 GB of memory" in said and "smaller --size" in said
    assert time.monotonic() - began < 30
