"""The callback with which long work reports its progress. Any folder may import this module."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]  # (done, in all, what is being done); raise in it to stop
