"""The `evaluate` command: a base model's scores on prompts that its training never saw."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import TerminalBar, add_command, check_choice, number

if TYPE_CHECKING:
    from torch import Tensor


def score(args: argparse.Namespace) -> None:
    """Score held-out prompts in the drawn world."""
    import torch

    from ..generate import Settings, text_to_video
    from ..media.outputs import check_output, place, unfinished
    from ..model.checkpoint import bundled, load
    from ..model.device import pick_device
    from ..train.evaluate import evaluate
    from ..train.world.scenes import WORLDS

    check_choice("world", args.world, WORLDS)
    weights = Path(args.weights or bundled("base"))
    if args.json:
        check_output(Path(args.json), [".json"], weights)
    model = load(weights, *pick_device())

    def make_clips(captions: list[str], seeds: list[int]) -> Tensor:
        return torch.cat(
            [
                text_to_video(model, caption, settings=Settings(seed=seed, steps=args.steps))
                for caption, seed in zip(captions, seeds, strict=True)
            ]
        )

    report = evaluate(make_clips, args.world, args.prompts, progress=TerminalBar())
    if args.json:
        with unfinished(Path(args.json)) as part:
            report.write(part)
            print(f"wrote {place(part, Path(args.json))}")


def register(commands: Any) -> None:
    e = add_command(commands, "evaluate", score)
    e.add_argument("--weights", help="another base model's file")
    e.add_argument("--world", default="small", help="small or full")
    e.add_argument("--prompts", type=number(int, "prompts"), help="only so many of the held-out prompts")
    e.add_argument("--steps", type=number(int, "steps"), help="denoising steps")
    e.add_argument("--json", help="write the figures here as well")
