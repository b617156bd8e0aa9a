"""What all commands share: adding a command, a progress bar, and reading options."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from ..limits import LIMITS, spelled


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    """Add a command. Its help text is the docstring of `run`."""
    c = commands.add_parser(name, help=run.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    c.set_defaults(run=run)
    return c


def add_output(command: argparse.ArgumentParser, default: str) -> None:
    """Where a clip goes."""
    command.add_argument(
        "--out",
        default=default,
        help=".mp4, .webm, .gif, or a folder for PNG pictures; a name that is taken gets a number",
    )
    command.add_argument("--overwrite", action="store_true", help="replace files of that name instead")


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the work as Ctrl-C does, so that nothing half-written stays behind."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup stays nohup
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class TerminalBar:
    """A progress bar on one line. If the output is not a terminal, only the finished bar is printed."""

    def __init__(self) -> None:
        self.what, self.start = "", 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        if what != self.what:
            self.what, self.start = what, time.monotonic()
        seconds = time.monotonic() - self.start
        left = seconds / done * (total - done)
        fill = "#" * round(30 * done / total)
        end = "\n" if done == total else ""
        if sys.stderr.isatty() or end:
            print(
                f"\r{what:>16} [{fill:<30}] {done}/{total}  {seconds:.0f} s, {left:.0f} s left ",
                end=end,
                file=sys.stderr,
                flush=True,
            )


def steps_shown(run: Any) -> Iterator[None]:
    """The steps of a `Training`, with their progress on the terminal."""
    began, first = time.monotonic(), run.step
    for progress, step, loss in run.run():
        if step % 20 == 0:
            rate = (step - first) / (time.monotonic() - began)
            print(
                f"\r{100 * progress:5.1f} %  step {step}  loss {loss:.4f}  {rate:.2f} steps/s ",
                end="",
                file=sys.stderr,
                flush=True,
            )
        yield


class BadNumber(Exception):
    """A number that cannot be. Unlike a ValueError it passes through argparse, which would bury it under its usage."""


def number(kind: type, row: str, name: str = "") -> Callable[[str], float]:
    """Reads an option: an int or a float within that row of `limits`, so that it is refused before any work."""
    limit, name = LIMITS[row], name or row.rpartition(".")[2]

    def read(text: str) -> float:
        value: Any = text
        with contextlib.suppress(ValueError):  # what is no number is refused as it was written
            value = kind(text)
        try:
            limit.check(name, value, whole=kind is int)
        except ValueError as error:
            raise BadNumber(str(error)) from error
        return value

    return read


def size(text: str) -> tuple[int, int]:
    """`64` or `96x64` (width x height)."""
    width, _, height = text.lower().partition("x")
    if not width.isdecimal() or not (height or width).isdecimal():
        raise BadNumber(f"size is {spelled(text)}, but it is written as 64 or 96x64 (width x height).")
    read = number(int, "size")
    return read(width), read(height or width)


def check_choice(what: str, value: str, choices: Collection[str]) -> None:
    """Raises ValueError if value is not one of the choices."""
    if value not in choices:
        raise ValueError(f"{what} is {value!r}, but it has to be one of {', '.join(choices)}.")
