"""The `train` command: a stage of the recipe with its progress, the probe, and the export of the results."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from .backbone import add_backbone, check_backbone, run_backbone
from .terminal import TerminalBar, add_command, check_choice, number, steps_shown

SHEET_EVERY = 600.0  # seconds between two contact sheets, at least
SHEET_SHARE = 0.05  # of the time: a sheet of clips takes minutes


def train_from_args(args: argparse.Namespace) -> None:
    """One stage of the recipe; `temporal` with --backbone, over a checkpoint of yours; `style`, from a few pictures;
    `probe`, the classifier of `evaluate`; `export`, the weights files; `plot`, the logs."""
    from ..outputs import check_folder

    check_backbone(args)

    check_folder(Path(args.out if args.stage in ("export", "probe", "style") else args.runs))
    if args.stage == "export":
        for path in export(Path(args.runs), Path(args.out)):
            print(f"wrote {path}: {path.stat().st_size / 2**20:.1f} MiB")
    elif args.stage == "plot":
        from ..train.plot import plot_runs

        for path in plot_runs(Path(args.runs)):
            print(f"wrote {path}")
    elif args.stage == "probe":
        print(f"wrote {make_probe(args.world, Path(args.out), args.seed)}")
    elif args.stage == "style":
        make_styles(args)
    elif args.backbone:
        run_backbone(args)
    else:
        run_stage(args)


def write_sheet(runs: Path, stage: str) -> None:
    """Draw a contact sheet from a run's averaged weights, beside them."""
    import torch

    from ..media.files import to_pixels
    from ..media.pictures import write_image
    from ..model.checkpoint import Lumiere
    from ..model.device import pick_device
    from ..train.sheet import sheet_of
    from ..train.state import averaged

    device, dtype = pick_device()
    spec, weights = averaged(runs / stage)
    model = Lumiere(spec)
    model.load_state_dict(weights)
    sheet = sheet_of(model.to(device, dtype, memory_format=torch.channels_last).eval())
    write_image(runs / stage / "sheet.png", to_pixels(sheet[:, None])[0], overwrite=True)


def run_stage(args: argparse.Namespace) -> None:
    """Train one stage to its end, or until a signal; a second call goes on where the first one stopped."""
    from ..config import PRESETS
    from ..model.device import check_device, pick_device
    from ..train.state import locked, step_back
    from ..train.world.scenes import WORLDS

    check_choice("preset", args.preset, [name for name, spec in PRESETS.items() if spec.kind == "base"])
    check_choice("world", args.world, WORLDS)
    device = args.device or pick_device()[0].type
    check_device(device)
    folder = Path(args.runs) / args.stage
    with locked(folder):
        if args.before:
            print(f"{folder} goes back to step {step_back(folder)}", file=sys.stderr)
        train_stage(args, device)


def train_stage(args: argparse.Namespace, device: str) -> None:
    """The stage itself, with its progress on the terminal and a sheet of samples now and then."""
    from ..train.stages import stage_for
    from ..train.trainer import Trainer

    stage, runs, source = args.stage, Path(args.runs), Path(args.source) if args.source else None
    trainer = Trainer(
        stage_for(stage, device), runs, args.preset, args.world, args.minutes, device, args.seed, source
    )
    print(
        f"{stage}: {sum(p.numel() for p in trainer.trained) / 1e6:.2f} M parameters to train for {trainer.minutes:g} "
        f"minutes, from step {trainer.step}",
        file=sys.stderr,
    )
    next_sheet = time.monotonic() + SHEET_EVERY
    for _ in steps_shown(trainer):
        if (now := time.monotonic()) > next_sheet:
            trainer.save()
            write_sheet(runs, stage)
            took = time.monotonic() - now
            next_sheet = now + took + max(SHEET_EVERY, took / SHEET_SHARE)
    if trainer.progress < 1:
        raise KeyboardInterrupt  # stopped by a signal; what was learnt is saved
    write_sheet(runs, stage)
    print(f"\nwrote {runs / stage / 'sheet.png'}", file=sys.stderr)


def make_probe(world: str, out: Path, seed: int) -> Path:
    """Train the judge of `evaluate` on renders of a world."""
    from ..train.probe import BUNDLED_PROBE, save_probe, train_probe
    from ..train.world.scenes import WORLDS

    check_choice("world", world, WORLDS)
    path = out / BUNDLED_PROBE.name
    save_probe(path, train_probe(WORLDS[world], seed=seed))
    return path


def make_styles(args: argparse.Namespace) -> None:
    """Tune a style on a folder's pictures, or each of the bundled ones on drawn pictures."""
    from ..train.world.looks import BUNDLED_LOOKS, LOOKS

    if bool(args.images) == bool(args.look):
        raise ValueError("a style needs --images or --look, one of them.")
    if not args.look:
        return make_style(args, "", args.name or Path(args.images).resolve().name)
    check_choice("look", args.look, [*LOOKS, "all"])
    if args.look == "all" and args.name:
        raise ValueError("one name was given for all looks. Leave --name out.")
    for look in BUNDLED_LOOKS if args.look == "all" else [args.look]:
        make_style(args, look, args.name or look)


def make_style(args: argparse.Namespace, look: str, name: str) -> None:
    """One style, saved with a picture of what it was tuned on: drawn in a look, or a folder's pictures."""
    from ..model import checkpoint
    from ..model.device import check_device, pick_device
    from ..model.style import check_style_name
    from ..train.style.examples import drawn_examples, how_many, read_examples
    from ..train.style.save import save_tuned
    from ..train.style.tune import image_model, tune
    from ..train.world.scenes import LICENSE, TRAINED_ON

    path = Path(args.out) / "styles" / check_style_name(name)
    device = args.device or pick_device()[0].type
    check_device(device)
    base = checkpoint.read(args.source or checkpoint.bundled("base"))
    model = image_model(base.spec, base.tensors).to(device)
    if look:
        examples = drawn_examples(look, base.spec.size, args.world)
        license, trained_on = LICENSE, f"{len(examples.captions)} {TRAINED_ON}, in the look {look}"
    else:
        examples = read_examples(Path(args.images), base.spec.size)
        license, trained_on = "not stated", how_many(len(examples.captions))
        read = [model.text.tokenizer(caption) for caption in examples.captions]
        print(
            f"{sum(any(r.ids) for r in read)} of {len(read)} captions hold words the model knows",
            file=sys.stderr,
        )
    changes = tune(model, examples, args.steps, args.seed, TerminalBar())
    written = save_tuned(
        path,
        changes,
        examples,
        license=args.license or license,
        trained_on=args.trained_on or trained_on,
        made_for=f"{base.spec.name} {base.hash}",
        overwrite=args.overwrite,
    )
    print(f"wrote {written}: {written.stat().st_size / 2**20:.1f} MiB")


def export(runs: Path, out: Path) -> list[Path]:
    """The averaged weights of the temporal and ssr stages as weights files (fp16)."""
    from ..model.checkpoint import BUNDLED, save
    from ..train.state import averaged
    from ..train.world.scenes import LICENSE, TRAINED_ON

    written = []
    for kind, stage in (("base", "temporal"), ("ssr", "ssr")):
        if (runs / stage / "resume.json").exists():
            spec, weights = averaged(runs / stage)
            save(out / BUNDLED[kind], spec, weights, license=LICENSE, trained_on=TRAINED_ON)
            written.append(out / BUNDLED[kind])
    if not written:
        raise ValueError(f"there is nothing to export in {runs}. Train the temporal or the ssr stage first.")
    return written


def register(commands: Any) -> None:
    t = add_command(commands, "train", train_from_args)
    t.add_argument("stage", choices=["t2i", "temporal", "ssr", "style", "probe", "export", "plot"])
    t.add_argument("--from", dest="source", help="a weights file to start from, in place of the stage before")
    t.add_argument("--runs", default="runs", help="folder of all runs; a run goes on where it was stopped")
    t.add_argument("--preset", default="mini-cpu", help="sizes of the base model: mini-cpu or mini-gpu")
    t.add_argument("--world", default="small", help="small or full")
    t.add_argument(
        "--minutes", type=number(float, "minutes"), help="minutes of training in all, over all resumptions"
    )
    t.add_argument("--before", action="store_true", help="go on from the state before the last one")
    t.add_argument("--device", default=None, help="cuda or cpu; the best by default")
    t.add_argument("--seed", type=number(int, "train.seed"), default=0)
    t.add_argument(
        "--out", default="weights", help="where export, probe and style write; a style into its styles/"
    )
    t.add_argument(
        "--images", help="for style: a folder of 1 to 20 pictures; their names or text files are captions"
    )
    t.add_argument("--look", help="for style: pictures drawn by this code, in one look or all")
    t.add_argument("--name", help="for style and --backbone: its name")
    t.add_argument("--steps", type=number(int, "style.steps", "steps"), default=250, help="for style")
    t.add_argument("--license", help="for style and --backbone: a line that travels with the file")
    t.add_argument("--trained-on", help="for style and --backbone: a line that travels with the file")
    t.add_argument("--overwrite", action="store_true", help="for style: replace one of that name")
    add_backbone(t)
