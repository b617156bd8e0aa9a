"""The `evaluate` command: scores a base model on prompts left out of its training, or on free wording."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import TerminalBar, add_command, check_choice, number

if TYPE_CHECKING:
    from torch import Tensor


def score(args: argparse.Namespace) -> None:
    """Score a model on held-out prompts of the drawn world."""
    import torch

    from ..generate import Settings, text_to_video
    from ..model.checkpoint import bundled, load
    from ..model.device import pick_device
    from ..outputs import check_output, place, unfinished
    from ..train.evaluate import evaluate
    from ..train.wording import compare_wording, load_paraphrases
    from ..train.world.scenes import WORLDS

    check_choice("world", args.world, WORLDS)
    weights = Path(args.weights or bundled("base"))
    if args.json:
        check_output(Path(args.json), [".json"], weights)
    if args.paraphrases and args.prompts:
        raise ValueError(
            "--prompts is for the held-out prompts, but --paraphrases asks for its own. Leave one out."
        )
    pairs = load_paraphrases(Path(args.paraphrases), args.world) if args.paraphrases else None
    model = load(weights, *pick_device())

    def make_clips(captions: list[str], seeds: list[int]) -> Tensor:
        return torch.cat(
            [
                text_to_video(model, caption, settings=Settings(seed=seed, steps=args.steps))
                for caption, seed in zip(captions, seeds, strict=True)
            ]
        )

    if pairs:
        report = compare_wording(make_clips, pairs, args.world, progress=TerminalBar())
    else:
        report = evaluate(make_clips, args.world, args.prompts, progress=TerminalBar())
    if args.json:
        with unfinished(Path(args.json)) as part:
            report.write(part)
            print(f"wrote {place(part, Path(args.json))}")


def register(commands: Any) -> None:
    e = add_command(commands, "evaluate", score)
    e.add_argument("--weights", help="another base model's file")
    e.add_argument("--world", default="small", help="small or full")
    e.add_argument(
        "--prompts", type=number(int, "prompts"), help="number of held-out prompts to use; all by default"
    )
    e.add_argument(
        "--steps", type=number(int, "steps"), help="denoising steps; the model's own number by default"
    )
    e.add_argument(
        "--paraphrases",
        help="score these free wordings beside the plain captions they stand for, instead of the held-out prompts: a "
        "JSON file such as tests/model/paraphrases.json",
    )
    e.add_argument("--json", help="also write the figures to this JSON file")
