"""What a file may say: rules for values read from JSON, one a field. Nothing in here knows torch.

A rule takes the name of a field and its value as JSON has it, and returns the value as the field has it. It raises
ValueError with the name, the value and what it has to be. NaN is outside every range, and `true` is no number.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Callable
from typing import Any

Rule = Callable[[str, Any], Any]


def refused(name: str, value: Any, wanted: str) -> ValueError:
    """The sentence for a value that breaks its rule; a long value is cut short."""
    return ValueError(f"{name} is {reprlib.repr(value)}, but it has to be {wanted}.")


def whole(low: int, high: int, step: int = 1) -> Rule:
    """A whole number from low to high, in steps from low on."""

    def rule(name: str, value: Any) -> int:
        if type(value) is not int or not low <= value <= high or (value - low) % step:
            steps = f" in steps of {step}" if step > 1 else ""
            raise refused(name, value, f"a whole number from {low} to {high}{steps}")
        return value

    return rule


def real(low: float, high: float) -> Rule:
    """A number from low to high, as a float."""

    def rule(name: str, value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise refused(name, value, f"a number from {low:g} to {high:g}")
        return float(value)

    return rule


def one_of(*choices: Any) -> Rule:
    """One of these, of the same type."""

    def rule(name: str, value: Any) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise refused(name, value, " or ".join(repr(choice) for choice in choices))
        return value

    return rule


def line(shortest: int, longest: int) -> Rule:
    """A line of text with nothing in it that a terminal would obey."""

    def rule(name: str, value: Any) -> str:
        if type(value) is not str or not shortest <= len(value) <= longest or not value.isprintable():
            raise refused(name, value, f"a line of {shortest} to {longest} characters")
        return value

    return rule


def each(entry: Rule, shortest: int, longest: int) -> Rule:
    """A list of so many entries with one rule, as a tuple."""

    def rule(name: str, value: Any) -> tuple:
        if type(value) is not list or not shortest <= len(value) <= longest:
            raise refused(name, value, f"a list of {shortest} to {longest}")
        return tuple(entry(f"{name}[{i}]", v) for i, v in enumerate(value))

    return rule


def optional(inner: Rule) -> Rule:
    """`null`, or what the inner rule takes."""
    return lambda name, value: None if value is None else inner(name, value)


def record(cls: type, **rules: Rule) -> Rule:
    """A dataclass from a JSON object, with one rule for each of its fields. A field left out takes its default."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    assert rules.keys() == fields.keys(), (
        f"{cls.__name__}: rules for {sorted(rules)}, fields {sorted(fields)}"
    )
    needed = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }

    def rule(name: str, value: Any) -> Any:
        if type(value) is not dict:
            more = ", ..." if len(fields) > 12 else ""
            raise refused(name, value, "an object with " + ", ".join(list(fields)[:12]) + more)
        if unknown := sorted(value.keys() - fields.keys()):
            raise ValueError(
                f"{name} has {reprlib.repr(unknown[0])}, which this version does not know. Update the pack."
            )
        if missing := sorted(needed - value.keys()):
            raise ValueError(f"{name} lacks {missing[0]}.")
        return cls(**{key: rules[key](f"{name}.{key}", v) for key, v in value.items()})

    return rule
