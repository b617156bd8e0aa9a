"""The command line: `python -m lumiere_core generate|clip|info|train|evaluate`.

Bad input ends with one sentence and exit code 2, Ctrl-C with 130, SIGTERM with 143; none leaves a half-written file.
One file a command; each has `register`, which adds its options. Torch is imported where a command runs: help comes at
once.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from .. import __version__
from . import clip, evaluate, generate, info, train
from .terminal import BadNumber, stopped_by_signals


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m lumiere_core", description="An open engine for Lumiere: text to clip."
    )
    p.add_argument("--version", action="version", version=__version__)
    commands = p.add_subparsers(dest="command", required=True)
    for command in (generate, clip, info, train, evaluate):
        command.register(commands)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that this terminal cannot show is spelled out
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = parser().parse_args(argv)
        with stopped_by_signals():
            args.run(args)
    except (ValueError, BadNumber) as error:
        print(f"\n{error}" if sys.stderr.isatty() else str(error), file=sys.stderr)
        return 2
    except OSError as error:  # refused by the system where nobody asked it before: a path of 5,000 signs
        what = f"{str(error.filename)[:200]}: " if error.filename else ""
        print(f"{what}{error.strerror or error}. Nothing half-written was left.", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        print(
            "this takes more memory than there is. Use a smaller picture or clip, or fewer frames.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing half-written was left", file=sys.stderr)
        return 130
    return 0
