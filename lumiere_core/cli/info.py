"""The `info` command: describes weights files, and prints a report for bug reports."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .terminal import add_command


def show_motion(path: Path) -> None:
    """Describe a motion file for image models."""
    from ..model.animatediff.files import open_motion

    file = open_motion(path)
    spec, count = file.spec, file.parameters / 1e6
    levels = spec.betas or "the image model's own"
    print(
        f"{path.name}\n  {spec.name}: a motion file for {spec.base}, {count:.2f} M parameters, {file.dtype}\n"
        f"  {len(spec.places)} places; reads {spec.frames} frames at most, {spec.window} suit it best\n"
        f"  noise levels: {levels}; licence of the published file: {spec.license}"
    )


def show_unet(path: Path) -> None:
    """Describe the U-Net of an image model's checkpoint."""
    from ..model.backbones.families import open_unet

    file = open_unet(path)
    family, spec, count = file.family, file.spec, file.parameters / 1e6
    print(
        f"{path.name}\n  {family.name}: an image model's U-Net, {count:.2f} M parameters, {file.dtype}\n"
        f"  {spec.in_channels} channels in, {spec.out_channels} out; reads prompts of {spec.context_dim} channels\n"
        f"  by its family, which no tensor tells: predicts {family.prediction}, noise levels {family.betas}, latents "
        f"times {family.latent_scale}; licence of the published file: {family.license}"
    )


def show_trained(path: Path) -> None:
    """Describe temporal layers that were trained for an image model."""
    from ..model.backbones.trained import read_trained, sizes_of

    file = read_trained(path)
    spec, count = file.spec, sum(t.numel() for t in file.tensors.values())
    print(
        f"{path.name}  ({file.hash})\n  {spec.name} ({sizes_of(spec)}), for Inflate, mode lumiere: {count / 1e6:.2f} M "
        f"parameters\n  trained on {file.trained_on or 'what it does not say'}, {spec.window} frames at {spec.fps:g} "
        f"fps; licence: {file.license or 'none named'}"
    )


def show_info(args: argparse.Namespace) -> None:
    """Describe weights files, or with --self-test this machine."""
    from ..model import checkpoint
    from ..model.animatediff.files import named_as_motion
    from ..model.backbones.families import is_unet
    from ..model.backbones.trained import is_trained
    from ..model.container import open_header
    from ..model.style import FORMAT, read_style

    if args.self_test:
        from .selftest import self_test

        for line in self_test():
            print(line, flush=True)
        return
    paths = [Path(p) for p in args.files] or [checkpoint.bundled(kind) for kind in checkpoint.BUNDLED]
    for path in paths:
        if is_trained(path):
            show_trained(path)
            continue
        if named_as_motion(path):
            show_motion(path)
            continue
        header = open_header(path)
        if is_unet(header.shapes):
            show_unet(path)
            continue
        if header.metadata.get("format") == FORMAT:
            style = read_style(path)
            print(
                f"{path.name}  ({style.hash})\n  a style (LoRA): changes {len(style.changes)} weights\n"
                f"  trained on {style.trained_on or 'what it does not say'}; licence: {style.license or 'none named'}"
            )
            continue
        weights = checkpoint.read(path)
        spec = weights.spec
        told = spec.temporal is not None and spec.temporal.condition_channels
        count = sum(t.numel() for t in weights.tensors.values())
        print(
            f"{path.name}  ({weights.hash})\n  {spec.label or spec.name}: {spec.kind}, {count / 1e6:.2f} M parameters, "
            f"{spec.num_frames} frames at {spec.fps} fps, trained at {spec.size}x{spec.size}\n"
            f"  size in multiples of {spec.unet.size_multiple}; {spec.diffusion}\n"
            f"  {'is told known pixels' if told else 'makes whole clips only'}\n"
            f"  knows {len(spec.text.vocabulary)} words: {', '.join(spec.text.vocabulary)}\n"
            f"  trained on {weights.trained_on or 'what it does not say'}; licence: {weights.license or 'none named'}"
        )


def register(commands: Any) -> None:
    i = add_command(commands, "info", show_info)
    i.add_argument("files", nargs="*", help="weights files; the bundled ones by default")
    i.add_argument("--self-test", action="store_true", help="print a report for a bug report; takes seconds")
