"""The command line: `python -m lumiere_core generate|clip|info|train|evaluate`. The same functions the nodes call.

Bad input ends with one sentence and exit code 2, Ctrl-C with 130; neither leaves a half-written file.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__
from .commands import register


class Bar:
    """A progress bar on one line of the terminal; silent where the output is no terminal, but for the last line."""

    def __init__(self) -> None:
        self.what, self.start = "", 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        if what != self.what:
            self.what, self.start = what, time.monotonic()
        seconds = time.monotonic() - self.start
        left = seconds / done * (total - done)
        fill = "#" * round(30 * done / total)
        end = "\n" if done == total else ""
        if sys.stderr.isatty() or end:
            print(
                f"\r{what:>16} [{fill:<30}] {done}/{total}  {seconds:.0f} s, {left:.0f} s left ",
                end=end,
                file=sys.stderr,
                flush=True,
            )


def size(text: str) -> tuple[int, int]:
    """`64` or `96x64` (width x height)."""
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height or width)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"size is {text!r}, but it is written as 64 or 96x64 (width x height)"
        ) from None


def generate(args: argparse.Namespace) -> None:
    """A prompt becomes a clip file."""
    from . import checkpoint, measure, video
    from .generate import Settings, check_upscaler, pick_device, resolved, text_to_video, upscale
    from .opencv import opencv

    base_path = Path(args.weights or checkpoint.bundled("base"))
    ssr_path = Path(args.ssr_weights or checkpoint.bundled("ssr"))
    out = Path(args.out)
    video.check_clip(out, args.fps)  # before the work, not after it
    if args.xt_slice:
        video.check_folder(Path(args.xt_slice))
        opencv()
    device, dtype = pick_device()
    base = checkpoint.load(base_path, device, dtype)
    ssr = checkpoint.load(ssr_path, device, dtype) if args.ssr else None
    ssr_settings = Settings(seed=args.seed, steps=args.ssr_steps, overlap=args.overlap, loop=args.loop)
    if ssr:
        check_upscaler(ssr.spec, ssr_settings)
    width, height = args.size or (base.spec.size, base.spec.size)
    settings = Settings(
        num_frames=args.frames,
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
    )
    tokens = base.text.tokenizer(args.prompt)
    print(
        f"{base.spec.label or base.spec.name}: {args.prompt!r}, seed {args.seed}, on {device.type} in "
        f"{str(dtype).removeprefix('torch.')}",
        file=sys.stderr,
    )
    if tokens.remark:
        print(tokens.remark, file=sys.stderr)

    bar = Bar()
    clip = text_to_video(base, args.prompt, args.negative, settings, bar)
    used = {"base": base.hash}
    if ssr:
        clip = upscale(ssr, clip, args.prompt, ssr_settings, progress=bar)
        used["ssr"] = ssr.hash

    facts = {
        "prompt": args.prompt,
        "negative": args.negative,
        "model": base.spec.label,
        "weights": used,
        "seed": args.seed,
        "fps": args.fps,
        "base": dataclasses.asdict(resolved(settings, base.spec)),
        "version": __version__,
    }
    if ssr:
        facts["ssr"] = dataclasses.asdict(resolved(ssr_settings, ssr.spec))
    video.write_clip(out, clip[0], args.fps, facts)
    print(f"wrote {out}: {clip.shape[2]} frames of {clip.shape[4]}x{clip.shape[3]} at {args.fps:g} fps")
    if args.xt_slice:
        image = video.to_pixels(measure.xt_slice(clip[0])[:, None])[0]
        print(
            f"wrote {video.write_image(args.xt_slice, image, video.describe(facts))}: the middle row over time"
        )


def info(args: argparse.Namespace) -> None:
    """What a weights file is, or what is installed."""
    from . import checkpoint

    if args.self_test:
        from .selftest import self_test

        for line in self_test():
            print(line, flush=True)
        return
    paths = [Path(p) for p in args.files] or [checkpoint.bundled(kind) for kind in checkpoint.BUNDLED]
    for path in paths:
        weights = checkpoint.read(path)
        spec = weights.spec
        count = sum(t.numel() for t in weights.tensors.values())
        print(
            f"{path.name}  ({weights.hash})\n  {spec.label or spec.name}: {spec.kind}, {count / 1e6:.2f} M parameters, "
            f"{spec.num_frames} frames at {spec.fps} fps, trained at {spec.size}x{spec.size}\n"
            f"  size in multiples of {spec.unet.size_multiple}; {spec.diffusion}\n"
            f"  knows {len(spec.text.vocabulary)} words: {', '.join(spec.text.vocabulary)}"
        )


def train(args: argparse.Namespace) -> None:
    """One stage of the recipe; `probe`, the judge of `evaluate`; `export`, which writes the weights files."""
    from .train.commands import export, make_probe, run_stage

    if args.stage == "export":
        for path in export(Path(args.runs), Path(args.out)):
            print(f"wrote {path}: {path.stat().st_size / 2**20:.1f} MiB")
    elif args.stage == "probe":
        print(f"wrote {make_probe(args.world, Path(args.out), args.seed)}")
    else:
        run_stage(args.stage, Path(args.runs), args.preset, args.world, args.minutes, args.device, args.seed)


def evaluate(args: argparse.Namespace) -> None:
    """Score held-out prompts in the drawn world."""
    from .train.commands import run_evaluation

    run_evaluation(
        args.weights, args.world, args.prompts, args.steps, Path(args.json) if args.json else None, Bar()
    )


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m lumiere_core", description="An open engine for Lumiere: text to clip."
    )
    p.add_argument("--version", action="version", version=__version__)
    commands = p.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        c = commands.add_parser(
            name, help=run.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        c.set_defaults(run=run)
        return c

    g = command("generate", generate)
    g.add_argument("--prompt", default="", help="what moves where, as the model knows it; empty is allowed")
    g.add_argument("--negative", default="", help="what it should not be")
    g.add_argument("--frames", type=int, help="frames; the model's own number by default")
    g.add_argument("--fps", type=float, default=16, help="frames per second of the file")
    g.add_argument("--size", type=size, help="64 or 96x64 (width x height) before super-resolution")
    g.add_argument("--steps", type=int, help="denoising steps of the base model")
    g.add_argument("--cfg", type=float, help="guidance scale; 1 is none")
    g.add_argument("--rescale", type=float, help="guidance rescale, 0 to 1")
    g.add_argument("--sampler", default="dpmpp_2m", help="dpmpp_2m, euler or ddim")
    g.add_argument(
        "--seed", type=int, default=0, help="the same seed gives the same clip on the same machine"
    )
    g.add_argument("--window", type=int, help="frames the base model sees at a time")
    g.add_argument("--overlap", type=int, default=2, help="frames neighbouring windows share")
    g.add_argument(
        "--free-noise", action=argparse.BooleanOptionalAction, default=True, help="windows share their noise"
    )
    g.add_argument("--loop", action="store_true", help="a closed loop: after the last frame comes the first")
    g.add_argument(
        "--ssr", action=argparse.BooleanOptionalAction, default=True, help="super-resolution, four times"
    )
    g.add_argument("--ssr-steps", type=int, help="denoising steps of super-resolution")
    g.add_argument("--weights", help="another base model's file")
    g.add_argument("--ssr-weights", help="another super-resolution file")
    g.add_argument(
        "--out", default="output/clip.mp4", help=".mp4, .webm, .gif, or a new folder for PNG pictures"
    )
    g.add_argument("--xt-slice", help="write the middle row over time as a PNG picture")

    register(commands, Bar)

    i = command("info", info)
    i.add_argument("files", nargs="*", help="weights files; the bundled ones by default")
    i.add_argument("--self-test", action="store_true", help="a report to paste into a bug report, in seconds")

    t = command("train", train)
    t.add_argument("stage", choices=["t2i", "temporal", "ssr", "probe", "export"])
    t.add_argument("--runs", default="runs", help="folder of all runs; a run goes on where it was stopped")
    t.add_argument("--preset", default="mini-cpu", help="sizes of the base model: mini-cpu or mini-gpu")
    t.add_argument("--world", default="small", help="small or full")
    t.add_argument("--minutes", type=float, help="length of the stage over all resumptions")
    t.add_argument("--device", default=None, help="cuda or cpu; the best by default")
    t.add_argument("--seed", type=int, default=0)
    t.add_argument("--out", default="weights", help="where export and probe write")

    e = command("evaluate", evaluate)
    e.add_argument("--weights", help="another base model's file")
    e.add_argument("--world", default="small", help="small or full")
    e.add_argument("--prompts", type=int, help="only so many of the held-out prompts")
    e.add_argument("--steps", type=int, help="denoising steps")
    e.add_argument("--json", help="write the figures here as well")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        args.run(args)
    except ValueError as error:
        print(f"\n{error}" if sys.stderr.isatty() else str(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing half-written was left", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
