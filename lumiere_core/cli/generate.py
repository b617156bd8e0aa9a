"""The `generate` command: from a prompt to a clip file."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .task import Work, add_task, work_of
from .terminal import TerminalBar, add_command, add_output, number, size

if TYPE_CHECKING:  # torch is imported where it is used: help comes at once
    from torch import Tensor

    from ..generate import Settings
    from ..model.checkpoint import Lumiere
    from ..model.style import Style

# Sampling holds the noisy clip, x0 and what a step is made of beside it: 8 to 10 clips were measured.
CLIPS = 8


def check_room(frames: int, height: int, width: int, scale: int = 1) -> None:
    """Raises ValueError where the clip, or its enlargement, cannot fit into this machine's memory."""
    from ..media.memory import check_memory, gigabytes

    height, width = scale * height, scale * width
    check_memory(
        f"{frames} frames of {width}x{height}",
        CLIPS * gigabytes(frames, height, width),
        "Choose fewer --frames or a smaller --size" + (", or --no-ssr." if scale > 1 else "."),
    )


@dataclass(frozen=True)
class Run:
    """One run of the command, checked: the models it loads, and what it asks of each."""

    base: Lumiere
    ssr: Lumiere | None
    style: Style | None
    work: Work | None  # beside the prompt: pictures or a clip, and a task
    settings: Settings  # of the base model
    ssr_settings: Settings


def generate_file(args: argparse.Namespace) -> None:
    """Make a clip file from a prompt, and from pictures or a clip where a task takes them."""
    run = checked_run(args)
    introduce(args, run)
    clip = made_clip(args, run)
    write_results(args, run, clip)


def checked_run(args: argparse.Namespace) -> Run:
    """Load the models. Raises ValueError for all that can be wrong before the work: names, settings, memory."""
    from ..generate import Settings, check_upscaler, resolved
    from ..media.files import check_clip
    from ..model import checkpoint
    from ..model.device import pick_device
    from ..model.style import find_style, give_style, read_style
    from ..outputs import check_output

    base_path = Path(args.weights or checkpoint.bundled("base"))
    ssr_path = Path(args.ssr_weights or checkpoint.bundled("ssr"))
    style = read_style(find_style(args.style)) if args.style else None
    inputs = base_path, ssr_path, style and style.path, *sources_of(args)
    check_clip(args.out, args.fps, args.xt_slice, *inputs, overwrite=args.overwrite)
    if args.xt_slice:
        check_output(Path(args.xt_slice), [".png"], *inputs)
    device, dtype = pick_device()
    base = checkpoint.load(base_path, device, dtype)
    if style:
        give_style(base, style, args.alpha)
    ssr = checkpoint.load(ssr_path, device, dtype) if args.ssr else None
    ssr_settings = Settings(seed=args.seed, steps=args.ssr_steps, overlap=args.overlap, loop=args.loop)
    if ssr:
        check_upscaler(ssr.spec, ssr_settings)
    work = work_of(args, base.spec)
    width, height = args.size or (base.spec.size, base.spec.size)
    frames = args.frames
    if work:
        frames, height, width = work.part.clip.shape[2:]
    settings = Settings(
        num_frames=frames,
        width=width,
        height=height,
        steps=args.steps,
        cfg_scale=args.cfg,
        rescale=args.rescale,
        sampler=args.sampler,
        seed=args.seed,
        window=args.window,
        overlap=args.overlap,
        loop=args.loop,
        free_noise=args.free_noise,
        strength=work.strength if work else 1.0,
        each_its_own=args.task == "edit",
    )
    settings = resolved(settings, base.spec)
    check_room(settings.num_frames, height, width, ssr.spec.scale if ssr else 1)
    return Run(base, ssr, style, work, settings, ssr_settings)


def sources_of(args: argparse.Namespace) -> list[str]:
    """The pictures and clips that were given."""
    return [path for path in (*(args.image or ()), args.video, args.mask) if path]


def introduce(args: argparse.Namespace, run: Run) -> None:
    """Say what will be made, by what and on which device, and what of the prompt or the source may not be meant."""
    if run.work and run.work.remark:
        print(run.work.remark, file=sys.stderr)
    spec, weight = run.base.spec, next(run.base.network.parameters())
    print(
        f"{spec.label or spec.name}: {args.prompt!r}, seed {args.seed}, on {weight.device.type} in "
        f"{str(run.base.network.dtype).removeprefix('torch.')}",
        file=sys.stderr,
    )
    if remark := run.base.text.tokenizer(args.prompt).remark:
        print(remark, file=sys.stderr)


def made_clip(args: argparse.Namespace, run: Run) -> Tensor:
    """The clip `(1, 3, T, H, W)` in [-1, 1], enlarged where that is asked for."""
    from ..generate import text_to_video, upscale

    bar, work = TerminalBar(), run.work
    clip = text_to_video(run.base, args.prompt, args.negative, run.settings, bar, work.part if work else None)
    if not run.ssr:
        return clip
    known = work.large() if work else None
    return upscale(run.ssr, clip, args.prompt, run.ssr_settings, progress=bar, task=known)


def facts_of(args: argparse.Namespace, run: Run) -> dict[str, Any]:
    """What goes into the file's comment: enough to make the clip again."""
    from ..generate import resolved

    used = {"base": run.base.hash}
    facts = {
        "task": args.task,
        "sources": [Path(path).name for path in sources_of(args)],
        "prompt": args.prompt,
        "negative": args.negative,
        "model": run.base.spec.label,
        "weights": used,
        "seed": args.seed,
        "fps": args.fps,
        "base": dataclasses.asdict(run.settings),
        "version": __version__,
    }
    if run.ssr:
        used["ssr"] = run.ssr.hash
        facts["ssr"] = dataclasses.asdict(resolved(run.ssr_settings, run.ssr.spec))
    if run.style:
        used["style"] = run.style.hash
        facts |= {"style": run.style.name, "alpha": args.alpha}
    return facts


def write_results(args: argparse.Namespace, run: Run, clip: Tensor) -> None:
    """Write the clip, laid into the source where something of that stays, and its trace."""
    from ..media import files, measure
    from ..media.frames import as_bytes
    from ..media.pictures import write_image

    facts, out = facts_of(args, run), Path(args.out)
    height, width = clip.shape[-2:]
    if run.work and run.work.keeps:
        made = run.work.stitched(clip, args.fps)
        height, width = made.height, made.width
        comment = files.describe(facts)
        out = files.write_frames(out, map(as_bytes, made), args.fps, comment, overwrite=args.overwrite)
    else:
        out = files.write_clip(out, clip[0], args.fps, facts, args.overwrite)
    print(f"wrote {out}: {clip.shape[2]} frames of {width}x{height} at {args.fps:g} fps")
    if args.xt_slice:
        image = files.to_pixels(measure.xt_slice(clip[0])[:, None])[0]
        trace = write_image(args.xt_slice, image, files.describe(facts), args.overwrite)
        print(f"wrote {trace}: the middle row over time")


def register(commands: Any) -> None:
    g = add_command(commands, "generate", generate_file)
    g.add_argument("--prompt", default="", help="what to show, in words the model knows; may be empty")
    add_task(g)
    g.add_argument("--negative", default="", help="what not to show")
    g.add_argument(
        "--frames", type=number(int, "film.frames"), help="number of frames; the model's own by default"
    )
    g.add_argument("--fps", type=number(float, "file.fps"), default=16, help="frames per second of the file")
    g.add_argument("--size", type=size, help="64 or 96x64 (width x height) before super-resolution")
    g.add_argument("--steps", type=number(int, "steps"), help="denoising steps of the base model")
    g.add_argument("--cfg", type=number(float, "cfg"), help="guidance scale, 0 to 30; 1 is off")
    g.add_argument(
        "--rescale",
        type=number(float, "rescale"),
        help="reduces contrast to that of the prompt alone, 0 to 1; 0 is off",
    )
    g.add_argument("--sampler", default="dpmpp_2m", help="dpmpp_2m, euler or ddim")
    g.add_argument(
        "--seed",
        type=number(int, "seed"),
        default=0,
        help="the same seed gives the same clip on the same machine",
    )
    g.add_argument("--window", type=number(int, "window"), help="frames the base model sees at a time")
    g.add_argument(
        "--overlap", type=number(int, "overlap"), default=2, help="frames neighbouring windows share"
    )
    g.add_argument(
        "--free-noise", action=argparse.BooleanOptionalAction, default=True, help="windows share their noise"
    )
    g.add_argument("--loop", action="store_true", help="make a loop: the last frame leads back to the first")
    g.add_argument(
        "--ssr", action=argparse.BooleanOptionalAction, default=True, help="enlarge the clip four times"
    )
    g.add_argument(
        "--ssr-steps", type=number(int, "steps", "ssr-steps"), help="denoising steps of super-resolution"
    )
    g.add_argument("--style", help="a style: watercolour, line drawing, flat sticker, glowing, or a file")
    g.add_argument(
        "--alpha",
        type=number(float, "alpha"),
        default=0.75,
        help="how much of the style: 0 is none, 1 all; 0.5 to 1 is usual",
    )
    g.add_argument("--weights", help="another base model's file")
    g.add_argument("--ssr-weights", help="another super-resolution file")
    add_output(g, "output/clip.mp4")
    g.add_argument("--xt-slice", help="write the middle row over time as a PNG picture")
