"""Long clips in windows: Lumiere_MultiDiffusion beside ComfyUI's own context windows, in one process on one MODEL.

    COMFYUI_PATH=... <ComfyUI's python> benchmarks/context_windows.py [--markdown] [--rows seams,exact] [--quick]
                                                                     [--pictures FOLDER]

Core has many settings; its columns are the node as it comes (static schedule, pyramid, causal fix) with dim 2 and the
window and overlap of ours, and the same with FreeNoise. `--rows settings` compares its other schedules and weights.
Every figure is a median over the same prompts and seeds; `--pictures` writes what was measured, to be looked at.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

OPTIONS = argparse.ArgumentParser(description=__doc__.splitlines()[0])
OPTIONS.add_argument("--markdown", action="store_true", help="the table as Markdown")
OPTIONS.add_argument(
    "--rows", default="seams,loop,exact,prompts,memory", help="parts of the table, by commas"
)
OPTIONS.add_argument("--quick", action="store_true", help="one clip of few steps each: does it run?")
OPTIONS.add_argument("--pictures", type=Path, help="a folder for contact sheets and X-T slices")
CHOSEN = OPTIONS.parse_args()

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "host"))
import inside  # noqa: E402  the host and the pack in it; it sets sys.argv and sys.path

core = inside.core

import comfy.context_windows  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402
from comfy_extras.nodes_context_windows import ContextWindowsManualNode  # noqa: E402
from live_bytes import LiveBytes  # noqa: E402
from PIL import Image  # noqa: E402
from torch import Tensor  # noqa: E402

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
logging.getLogger().setLevel(logging.WARNING)  # core logs each window
comfy.utils.set_progress_bar_enabled(False)

STEPS = 2 if CHOSEN.quick else 6
CLIPS = [  # prompt, seed
    ("a red balloon over the sea by day", 0),
    ("a yellow boat on the sea at sunset", 1),
    ("a blue fish underwater", 2),
    ("a green windmill in the desert by day", 3),
][: 1 if CHOSEN.quick else 4]
DAY, NIGHT = "a red balloon over the meadow by day", "a red balloon over the meadow at night"
MEGABYTE = 1e6


# ------------------------------------------------------------------------------------------------ the contenders
def ours(pack: Any, model: Any, window: int, overlap: int, wrap: bool = False) -> Any:
    return pack.run("MultiDiffusion", model, window, overlap, "triangle", wrap)[0]


def theirs(
    pack: Any,
    model: Any,
    window: int,
    overlap: int,
    schedule: str = "standard_static",
    weights: str = "pyramid",
    freenoise: bool = False,
    split: bool = False,
    causal: bool = True,
) -> Any:
    closed = schedule == "looped_uniform"
    return ContextWindowsManualNode.execute(
        model, window, overlap, schedule, 1, closed, weights, 2, freenoise, "", split, "", causal
    ).args[0]


def with_freenoise(pack: Any, model: Any, window: int, overlap: int) -> Any:
    return theirs(pack, model, window, overlap, freenoise=True)


OURS, CORE, FREENOISE, NONE = "ours", "core", "core, FreeNoise", "no windows"
COLUMNS: dict[str, Callable[..., Any]] = {
    OURS: ours,
    CORE: theirs,
    FREENOISE: with_freenoise,
    NONE: lambda pack, model, window, overlap: model,
}


@dataclass
class Row:
    """What was measured, what would be good, and within which difference two figures are the same."""

    what: str
    cells: dict[str, float | str]
    good: str = "low"  # or "1"
    slack: float = 0.05

    def better(self) -> str:
        def badness(column: str) -> float:
            value = self.cells.get(column)
            if not isinstance(value, float):
                return float("inf")
            return abs(value - 1) if self.good == "1" else value

        if self.good == "-" or CORE not in self.cells:
            return ""
        mine, core_s = badness(OURS), min(badness(CORE), badness(FREENOISE))
        if mine == core_s or abs(mine - core_s) <= self.slack:
            return "even"
        return "ours" if mine < core_s else "core"


# ------------------------------------------------------------------------------------------------------ measuring
class Bench:
    def __init__(self) -> None:
        self.pack = inside.Pack()
        self.measure = self.pack.module("lumiere_core.media.measure")
        self.windows = self.pack.module("lumiere_core.diffusion.windows")
        self.network, self.seen = self.pack.model.model.diffusion_model, 0
        self.network.register_forward_pre_hook(self.count)

    def count(self, network: Any, inputs: tuple) -> None:
        """Frames that the network works on: it fills a window up to a multiple of its time factor."""
        x, n = inputs[0], network.temporal_spec.time_factor
        self.seen += x.shape[0] * -(-x.shape[2] // n) * n

    def sample(
        self,
        model: Any,
        yes: list,
        frames: int,
        seed: int,
        cfg: float,
        sampler: str = "dpmpp_2m",
        steps: int = STEPS,
    ) -> Tensor:
        """A clip `(3, T, H, W)` through the core's KSampler."""
        (latent,) = self.pack.run("EmptyVideo", 64, 64, frames)
        no = self.pack.encode("")
        out = core.common_ksampler(model, seed, steps, cfg, sampler, "sgm_uniform", yes, no, latent)[0]
        return out["samples"][0]

    def borders(self, column: str, frames: int, window: int, overlap: int) -> list[int]:
        """Where the set of windows that a frame lies in changes."""
        if column == OURS:
            parts = [set(part.tolist()) for part, _ in self.windows.Windows(window, overlap).parts(frames)]
        else:
            handler = mock.Mock(context_length=window, context_overlap=overlap)
            parts = list(map(set, comfy.context_windows.create_windows_static_standard(frames, handler, {})))
        inside_of = [[i for i, part in enumerate(parts) if t in part] for t in range(frames)]
        return [t for t in range(1, frames) if inside_of[t] != inside_of[t - 1]]

    def drift(self, clip: Tensor) -> float:
        """How much the large shapes of a clip change: the spread over time of an 8x8 picture."""
        return float(torch.nn.functional.avg_pool2d(clip.movedim(1, 0), 8).std(dim=0).mean())

    def show(self, name: str, clips: dict[str, Tensor]) -> None:
        """A row of twelve frames, and an X-T slice, for each clip."""
        if not CHOSEN.pictures:
            return
        CHOSEN.pictures.mkdir(parents=True, exist_ok=True)
        chosen = [clip[:, :: max(1, clip.shape[1] // 12)][:, :12] for clip in clips.values()]
        sheet = torch.cat([torch.cat(list(frames.movedim(1, 0)), dim=2) for frames in chosen], dim=1)
        slices = torch.cat([self.measure.xt_slice(clip) for clip in clips.values()], dim=2)
        for kind, picture in (("sheet", sheet), ("xt", slices)):
            pixels = ((picture.movedim(0, 2) / 2 + 0.5).clamp(0, 1) * 255).byte().numpy()
            Image.fromarray(pixels).save(CHOSEN.pictures / f"{name}-{kind}.png")


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {column: statistics.median(row[column] for row in rows) for column in rows[0]}


# ---------------------------------------------------------------------------------------------------------- rows
def seams(bench: Bench) -> Iterable[Row]:
    """Do the windows' borders show, does the clip move, does its place stay, and what does it cost?"""
    for window, overlap, frames, cfg in ((80, 16, 160, 3.0), (16, 4, 96, 3.0), (16, 4, 96, 1.0)):
        found: dict[str, list[dict[str, float]]] = {"seam": [], "motion": [], "drift": [], "frames": []}
        for prompt, seed in CLIPS[:2] if window == 80 else CLIPS:
            clips, seen = {}, {}
            for column, put in COLUMNS.items():
                model = put(bench.pack, bench.pack.model, window, overlap)
                bench.seen = 0
                clips[column] = bench.sample(model, bench.pack.encode(prompt), frames, seed, cfg)
                seen[column] = bench.seen / STEPS / (1 if cfg == 1 else 2) / frames
            bench.show(f"w{window}-cfg{cfg:g}-{seed}", clips)
            found["seam"].append(
                {
                    column: bench.measure.seam_score(clip, bench.borders(column, frames, window, overlap))
                    for column, clip in clips.items()
                }
            )
            found["motion"].append(
                {
                    column: float(bench.measure.frame_differences(clip).mean())
                    for column, clip in clips.items()
                }
            )
            found["drift"].append({column: bench.drift(clip) for column, clip in clips.items()})
            found["frames"].append(seen)
        setting = f"{frames} frames, {window}/{overlap}, cfg {cfg:g}"
        yield Row(f"seam score, {setting}", medians(found["seam"]), "1")
        yield Row(f"dynamic degree, {setting}", medians(found["motion"]), "-")
        yield Row(f"drift of the place, {setting}", medians(found["drift"]), "low", 0.01)
        if cfg == 3:
            yield Row(f"frames seen a step over frames, {setting}", medians(found["frames"]), "low", 0.02)


def settings(bench: Bench) -> Iterable[Row]:
    """Core's other schedules and weights at 16/4, cfg 1. Uniform windows move, so they are judged at static borders."""
    for schedule in ("standard_static", "standard_uniform"):
        for weights in ("pyramid", "relative", "flat", "overlap-linear"):
            for causal in (True, False):
                model = theirs(bench.pack, bench.pack.model, 16, 4, schedule, weights, causal=causal)
                scores = []
                for prompt, seed in CLIPS:
                    clip = bench.sample(model, bench.pack.encode(prompt), 100, seed, 1.0)
                    scores.append(bench.measure.seam_score(clip, bench.borders(CORE, 100, 16, 4)))
                name = f"seam score, {schedule}, {weights}, causal fix {'on' if causal else 'off'}"
                yield Row(name, {CORE: statistics.median(scores)}, "-")


def loop(bench: Bench) -> Iterable[Row]:
    """From the last frame back to the first: as far as from any frame to the next?"""
    frames, window, overlap = 64, 16, 4
    around = ours(bench.pack, bench.pack.model, window, overlap, wrap=True)
    looped = theirs(bench.pack, bench.pack.model, window, overlap, schedule="looped_uniform")
    models = {
        "wrap": {OURS: around, CORE: looped, NONE: bench.pack.model},
        "Seamless Loop over windows": {
            OURS: bench.pack.run("Loop", ours(bench.pack, bench.pack.model, window, overlap), 7)[0],
        },
        "Seamless Loop alone, no windows": {OURS: bench.pack.run("Loop", bench.pack.model, 7)[0]},
    }
    for name, columns in models.items():
        scores: list[dict[str, float]] = []
        for prompt, seed in CLIPS:
            clips = {
                column: bench.sample(model, bench.pack.encode(prompt), frames, seed, 1.0)
                for column, model in columns.items()
            }
            scores.append({column: bench.measure.loop_seam_score(clip) for column, clip in clips.items()})
            turned = {column: clip.roll(frames // 2, dims=1) for column, clip in clips.items()}
            bench.show(f"loop-{name.split()[-1]}-{seed}", turned)  # the seam lies in the middle
        yield Row(f"loop seam score, {frames} frames, {window}/{overlap}, {name}", medians(scores), "1", 0.1)


def exact(bench: Bench) -> Iterable[Row]:
    """A MODEL that looks at single frames must not notice windows. Its condition has a value for every frame."""
    model = inside.foreign_model(3, as_batch=False)
    latent = {"samples": torch.zeros(1, 3, 21, 8, 8)}
    prompts = inside.conditioning(0.3, 7), inside.conditioning(-0.4, 11)
    put = {OURS: ours, CORE: theirs}  # FreeNoise changes the noise, so the clip
    for sampler in ("euler", "ddim", "dpmpp_2m", "uni_pc"):

        def sample(model: Any, sampler: str = sampler) -> Tensor:
            out = core.common_ksampler(model, 3, 6, 2.0, sampler, "normal", *prompts, latent)
            return out[0]["samples"]

        whole = sample(model)
        apart = {
            column: float((sample(windowed(bench.pack, model, 8, 3)) - whole).abs().max() / whole.abs().max())
            for column, windowed in put.items()
        }
        yield Row(f"frame-local MODEL, {sampler}: largest relative error", apart, "low", 1e-5)


def crossing(clip: Tensor) -> float:
    """The first frame whose brightness, smoothed over five, is past half way from the beginning's to the end's."""
    light = clip.mean(dim=(0, 2, 3))
    smooth = torch.nn.functional.avg_pool1d(light.view(1, 1, -1), 5, 1, 2, count_include_pad=False).flatten()
    first, last = light[:16].median(), light[-16:].median()
    return float(((smooth - first) / (last - first) > 0.5).nonzero()[0])


def prompts(bench: Bench) -> Iterable[Row]:
    """Day until a frame, then night: is the change where it was asked for?"""
    frames, window, overlap = 96, 16, 4
    day, night = bench.pack.encode(DAY), bench.pack.encode(NIGHT)
    over_time, masked = (
        bench.pack.module("nodes.prompt").scheduled,
        bench.pack.module("nodes.host.sampling").with_options,
    )
    mine = ours(bench.pack, bench.pack.model, window, overlap)
    regions = theirs(bench.pack, bench.pack.model, window, overlap, split=True)

    def schedule(asked: int) -> list:
        """What Lumiere_PromptSchedule gives, with a blend of 0."""
        _, masks = over_time(f"0: {DAY} / {asked}: {NIGHT}", torch.zeros(1, 3, frames, 64, 64), 0, 1)
        return [*masked(day, masks[0]), *masked(night, masks[1])]

    def combined(*entries: list) -> list:
        """ConditioningCombine, node after node."""
        joined = entries[0]
        for entry in entries[1:]:
            (joined,) = core.ConditioningCombine().combine(joined, entry)
        return joined

    for asked in (frames // 2, 30):
        # Core gives each window the prompt of the region its middle is in; regions are equal parts of the clip. Its
        # second way has as many regions as windows, for those who know where the windows lie.
        plain = combined(day, night)
        knowing = combined(*(day if 12 * i + 8 <= asked else night for i in range(8)))
        ways = {"ours": (mine, schedule(asked)), "plain": (regions, plain), "knowing": (regions, knowing)}
        off: list[dict[str, float]] = []
        for seed in range(len(CLIPS[:3])):
            clips = {way: bench.sample(model, yes, frames, seed, 3.0) for way, (model, yes) in ways.items()}
            bench.show(f"prompts-{asked}-{seed}", clips)
            off.append({way: abs(crossing(clip) - asked) for way, clip in clips.items()})
        middle = medians(off)
        for way, name in (("plain", "two prompts combined"), ("knowing", "a prompt for each window")):
            cells = {OURS: middle["ours"], CORE: middle[way]}
            yield Row(
                f"scene change asked at {asked} of {frames}: frames off (core: {name})", cells, "low", 1.0
            )

    try:
        bench.sample(
            theirs(bench.pack, bench.pack.model, window, overlap), schedule(30), frames, 0, 1.0, "euler", 1
        )
        answer = "runs"
    except Exception as error:  # whatever the host says
        answer = f"{type(error).__name__}: {error}"
    yield Row("Prompts over Time in these windows", {OURS: "runs", CORE: answer}, "-")


def memory(bench: Bench) -> Iterable[Row]:
    """Tensors alive at most while sampling, without weights, and what the host made room for."""
    put = {OURS: ours, CORE: theirs, NONE: COLUMNS[NONE]}
    for frames in (80,) if CHOSEN.quick else (80, 400, 800):
        peaks, reserved, apart = {}, {}, {}
        for column, windowed in put.items():
            model = windowed(bench.pack, bench.pack.model, 16, 4)
            load = comfy.model_management.load_models_gpu
            with mock.patch.object(comfy.model_management, "load_models_gpu", wraps=load) as asked:
                with LiveBytes() as live:
                    bench.sample(model, bench.pack.encode("a red fish"), frames, 0, 3.0, "euler", 1)
            peaks[column] = live.peak / MEGABYTE
            reserved[column] = asked.call_args.kwargs["memory_required"] / MEGABYTE
            apart[column] = reserved[column] / peaks[column]
        yield Row(f"live tensors while sampling {frames} frames, 16/4, MB", peaks, "low", 0.05 * peaks[OURS])
        yield Row(f"memory the host makes room for, {frames} frames, MB", reserved, "-")
        yield Row(f"room made over live tensors, {frames} frames", apart, "1", 0.1)


ROWS = {f.__name__: f for f in (seams, settings, loop, exact, prompts, memory)}


def figure(value: float | str | None) -> str:
    if not isinstance(value, float):
        return value or ""
    return f"{value:.0e}" if 0 < value < 1e-3 else f"{value:.3g}"


def main() -> None:
    table = [["", *COLUMNS, "better"]]
    with torch.inference_mode():
        bench = Bench()
        for name in CHOSEN.rows.split(","):
            for row in ROWS[name](bench):
                cells = [figure(row.cells.get(column)) for column in COLUMNS]
                table.append([row.what, *cells, row.better()])
                print("  ".join(table[-1]), file=sys.stderr, flush=True)
    if CHOSEN.markdown:
        table.insert(1, ["---"] * len(table[0]))
        print("\n".join(f"| {' | '.join(line)} |" for line in table))
        return
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
