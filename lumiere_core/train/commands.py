"""What the command line runs: a stage with its progress, the export of its results, the evaluation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint import BUNDLED, Lumiere, bundled, load, save
from ..config import PRESETS
from ..generate import Settings, pick_device, text_to_video
from ..video import to_pixels, write_image
from .evaluate import evaluate
from .loop import Trainer, averaged
from .probe import BUNDLED_PROBE, save_probe, train_probe
from .scenes import WORLDS
from .sheet import sheet_of
from .stages import stage_for

SHEET_EVERY = 600.0  # seconds


def check_choice(what: str, value: str, choices: dict) -> None:
    if value not in choices:
        raise ValueError(f"{what} is {value!r}, but it has to be one of {', '.join(choices)}.")


def write_sheet(runs: Path, stage: str) -> None:
    """Draw a contact sheet from a run's averaged weights, beside them."""
    device, dtype = pick_device()
    spec, weights = averaged(runs / stage)
    model = Lumiere(spec)
    model.load_state_dict(weights)
    sheet = sheet_of(model.to(device, dtype, memory_format=torch.channels_last).eval())
    write_image(runs / stage / "sheet.png", to_pixels(sheet[:, None])[0])


def run_stage(
    stage: str, runs: Path, preset: str, world: str, minutes: float | None, device: str | None, seed: int
) -> None:
    """Train one stage to its end, or until a signal; a second call goes on where the first one stopped."""
    check_choice("preset", preset, PRESETS)
    check_choice("world", world, WORLDS)
    if minutes is not None and minutes <= 0:
        raise ValueError(f"minutes is {minutes:g}, but it has to be above 0. Try 40.")
    device = device or pick_device()[0].type
    trainer = Trainer(stage_for(stage, device), runs, preset, world, minutes, device, seed)
    print(
        f"{stage}: {sum(p.numel() for p in trainer.trained) / 1e6:.2f} M parameters to train for {trainer.minutes:g} "
        f"minutes, from step {trainer.step}",
        file=sys.stderr,
    )
    began, first, looked = time.monotonic(), trainer.step, time.monotonic()
    for progress, step, loss in trainer.run():
        if step % 20 == 0:
            rate = (step - first) / (time.monotonic() - began)
            print(
                f"\r{100 * progress:5.1f} %  step {step}  loss {loss:.4f}  {rate:.2f} steps/s ",
                end="",
                file=sys.stderr,
                flush=True,
            )
        if time.monotonic() - looked > SHEET_EVERY:
            trainer.save()
            write_sheet(runs, stage)
            looked = time.monotonic()
    if trainer.progress < 1:
        raise KeyboardInterrupt  # stopped by a signal; what was learnt is saved
    write_sheet(runs, stage)
    print(f"\nwrote {runs / stage / 'sheet.png'}", file=sys.stderr)


def make_probe(world: str, out: Path, seed: int) -> Path:
    """Train the judge of `evaluate` on renders of a world."""
    check_choice("world", world, WORLDS)
    path = out / BUNDLED_PROBE.name
    save_probe(path, train_probe(WORLDS[world], seed=seed))
    return path


def export(runs: Path, out: Path) -> list[Path]:
    """The averaged weights of the temporal and ssr stages as weights files (fp16)."""
    written = []
    for kind, stage in (("base", "temporal"), ("ssr", "ssr")):
        if (runs / stage / "resume.json").exists():
            spec, weights = averaged(runs / stage)
            save(out / BUNDLED[kind], spec, weights)
            written.append(out / BUNDLED[kind])
    if not written:
        raise ValueError(f"there is nothing to export in {runs}. Train the temporal or the ssr stage first.")
    return written


def run_evaluation(
    weights: str | None,
    world: str,
    prompts: int | None,
    steps: int | None,
    json_path: Path | None,
    progress: Callable[[int, int, str], None],
) -> None:
    """Score a base model on held-out prompts and print the table."""
    check_choice("world", world, WORLDS)
    model = load(weights or bundled("base"), *pick_device())

    def make_clips(captions: list[str], seeds: list[int]) -> Tensor:
        return torch.cat(
            [
                text_to_video(model, caption, settings=Settings(seed=seed, steps=steps))
                for caption, seed in zip(captions, seeds, strict=True)
            ]
        )

    report = evaluate(make_clips, world, prompts, progress=progress)
    if json_path:
        report.write(json_path)
