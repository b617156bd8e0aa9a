"""The `generate` command: from a prompt to a clip file."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from .. import __version__
from .task import add_task, work_of
from .terminal import TerminalBar, add_command, add_output, number, size

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


def generate_file(args: argparse.Namespace) -> None:
    """Make a clip file from a prompt, and from pictures or a clip where a task takes them."""
    from ..generate import Settings, check_upscaler, resolved, text_to_video, upscale
    from ..media import files, measure
    from ..media.frames import as_bytes
    from ..media.pictures import write_image
    from ..model import checkpoint
    from ..model.device import pick_device
    from ..model.style import find_style, give_style, read_style
    from ..outputs import check_output

    base_path = Path(args.weights or checkpoint.bundled("base"))
    ssr_path = Path(args.ssr_weights or checkpoint.bundled("ssr"))
    out = Path(args.out)
    sources = [path for path in (*(args.image or ()), args.video, args.mask) if path]
    style = read_style(find_style(args.style)) if args.style else None
    inputs = base_path, ssr_path, style and style.path, *sources
    files.check_clip(out, args.fps, args.xt_slice, *inputs, overwrite=args.overwrite)  # before the work
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
        if work.remark:
            print(work.remark, file=sys.stderr)
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
    check_room(resolved(settings, base.spec).num_frames, height, width, ssr.spec.scale if ssr else 1)
    tokens = base.text.tokenizer(args.prompt)
    print(
        f"{base.spec.label or base.spec.name}: {args.prompt!r}, seed {args.seed}, on {device.type} in "
        f"{str(dtype).removeprefix('torch.')}",
        file=sys.stderr,
    )
    if tokens.remark:
        print(tokens.remark, file=sys.stderr)

    bar = TerminalBar()
    clip = text_to_video(base, args.prompt, args.negative, settings, bar, work.part if work else None)
    used = {"base": base.hash}
    if ssr:
        clip = upscale(
            ssr, clip, args.prompt, ssr_settings, progress=bar, task=work.large() if work else None
        )
        used["ssr"] = ssr.hash

    facts = {
        "task": args.task,
        "sources": [Path(path).name for path in sources],
        "prompt": args.prompt,
        "negative": args.negative,
        "model": base.spec.label,
        "weights": used,
        "seed": args.seed,
        "fps": args.fps,
        "base": dataclasses.asdict(resolved(settings, base.spec)),
        "version": __version__,
    }
    if style:
        facts |= {"style": style.name, "alpha": args.alpha}
        used["style"] = style.hash
    if ssr:
        facts["ssr"] = dataclasses.asdict(resolved(ssr_settings, ssr.spec))
    height, width = clip.shape[-2:]
    if work and work.keeps:
        made = work.stitched(clip, args.fps)
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
