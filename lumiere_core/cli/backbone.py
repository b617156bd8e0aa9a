"""`train temporal --backbone`: temporal layers over an SD1.5, SD2 or SDXL checkpoint, from a folder of clips."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .terminal import TerminalBar, number, steps_shown

if TYPE_CHECKING:
    from ..model.backbones.families import UNetFile
    from ..train.backbone.clips import Clips
    from ..train.backbone.trainer import Beginning

MINUTES = 240.0


def add_backbone(command: argparse.ArgumentParser) -> None:
    """Its options."""
    group = command.add_argument_group("temporal, over a checkpoint of yours")
    group.add_argument("--backbone", help="an SD1.5, SD2, SDXL or x4 upscaler checkpoint, .safetensors")
    group.add_argument("--clips", help="a folder of clips, each with a caption in a .txt of the same name")
    group.add_argument(
        "--comfyui", help="the ComfyUI whose loaders read the checkpoint; found where it can be"
    )
    group.add_argument(
        "--frames", type=number(int, "task.frames"), default=16, help="of a clip that is learnt"
    )
    group.add_argument("--fps", type=number(float, "fps"), default=8.0, help="of these frames")
    group.add_argument(
        "--size", type=number(int, "size"), default=256, help="pixels a side of their middle squares"
    )
    group.add_argument("--batch", type=number(int, "train.batch"), default=1, help="clips a step")


def check_backbone(args: argparse.Namespace) -> None:
    """Raises ValueError where --backbone and --clips are not given together, and to the stage they are for."""
    if bool(args.backbone) != bool(args.clips):
        raise ValueError("--backbone and --clips go together: a checkpoint, and clips to train its time on.")
    if args.backbone and args.stage != "temporal":
        raise ValueError(f"--backbone is for train temporal, not for train {args.stage}. Leave it out.")


def run_backbone(args: argparse.Namespace) -> None:
    """Encode what is not encoded yet, train to the end or until a signal, and write the layers."""
    import torch

    from ..model.backbones.families import open_unet
    from ..model.backbones.trained import check_origin
    from ..model.device import check_device, pick_device
    from ..model.style import check_style_name
    from ..model.unet import check_size
    from ..train.backbone.clips import Shape, read_folder
    from ..train.backbone.trainer import beginning
    from ..train.state import locked, step_back

    device = args.device or pick_device()[0].type
    check_device(device)
    check_origin(args.license or "", args.trained_on or "")
    file = open_unet(args.backbone)
    shape = Shape(args.frames, args.fps, args.size)
    check_size("size", args.size, file.family.cell * file.spec.size_multiple)
    name = Path(check_style_name(args.name or f"{file.path.stem}-temporal")).stem
    torch.manual_seed(args.seed)
    start = beginning(file, shape, Path(args.source) if args.source else None)
    clips = read_folder(Path(args.clips), shape)
    folder = Path(args.runs) / name
    with locked(folder):
        if args.before:
            print(f"{folder} goes back to step {step_back(folder)}", file=sys.stderr)
        train_over(args, device, file, start, clips, folder)


def train_over(
    args: argparse.Namespace, device: str, file: UNetFile, start: Beginning, clips: Clips, folder: Path
) -> None:
    """The run itself, in a folder that is held."""
    import torch

    from ..model.container import digest
    from ..train.backbone.encoding import Cache, Encoded
    from ..train.backbone.trainer import BackboneTrainer, forgetful, over_frozen

    cache = Cache(folder / "clips", file.path, digest(file.path)[:12], args.comfyui)
    encoded = Encoded.of(clips, cache, args.size, TerminalBar())
    half = torch.bfloat16 if device.startswith("cuda") else torch.float32
    network = over_frozen(file.load(half), start, device)
    forgetful(network)
    trainer = BackboneTrainer(
        network,
        start.spec,
        f"{file.path.name} {cache.hash}",
        encoded,
        folder,
        args.minutes or MINUTES,
        args.batch,
        device,
        args.seed,
    )
    count = len(encoded.learnt)
    print(
        f"{file.family.name}: {sum(p.numel() for p in trainer.trained) / 1e6:.2f} M parameters to train on {count} "
        f"stretches of clips for {trainer.minutes:g} minutes, from step {trainer.step}",
        file=sys.stderr,
    )
    trainer.log()
    for _ in steps_shown(trainer):
        pass
    trainer.log()
    path = folder / f"{folder.name}.safetensors"
    trained_on = args.trained_on or f"{count} stretches of clips, over {trainer.made_for}"
    trainer.write(path, args.license or "not stated", trained_on)
    print(f"\nwrote {path}: put it into models/animatediff_models for Inflate, mode lumiere", file=sys.stderr)
    if trainer.progress < 1:
        raise KeyboardInterrupt  # stopped by a signal; what was learnt is saved
