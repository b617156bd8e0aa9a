"""How long work says how far it is. Any room may import this one."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]  # (done, in all, what is being done); raise in it to stop
