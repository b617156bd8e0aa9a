"""What the Space-Time U-Net costs, as ratios taken in one process: goals P1 to P8, explained in README.md here.

    python benchmarks/stunet.py [--only P1,P2] [--rounds N] [--threads N] [--markdown]

Whatever is compared runs in turns, and a ratio is the median over the rounds of CPU time over CPU time: a busy machine
slows both sides. Without the peer (`pip install lumiere-pytorch`) its rows are left out, and the output says so.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:
    sys.path.append(ROOT)

from lumiere_core.config import PRESETS, DiffusionSpec, ModelSpec, TemporalSpec, UNetSpec  # noqa: E402
from lumiere_core.diffusion.process import Denoiser  # noqa: E402
from lumiere_core.diffusion.windows import Windows, fuse, windowed  # noqa: E402
from lumiere_core.model.functional import frames_as_batch, over_time  # noqa: E402
from lumiere_core.model.layers import Operations, ResBlock, film  # noqa: E402
from lumiere_core.model.stunet import SpaceTimeUNet  # noqa: E402
from lumiere_core.model.temporal import ConvInflation  # noqa: E402
from lumiere_core.model.unet import UNet  # noqa: E402
from tests.host.live_bytes import LiveBytes  # noqa: E402

Work = Callable[[], object]
BF16, FP32 = torch.bfloat16, torch.float32
NAMES = {BF16: "bf16", FP32: "fp32"}
NHWC = torch.channels_last


@dataclass(frozen=True)
class Block:
    """A place in the network: channels, pixels a side, and the limits of P1 and P2 there. 16 frames, bf16."""

    channels: int
    size: int
    p1: float
    p2: float


@dataclass(frozen=True)
class Sizes:
    """What is measured. `network` is like the paper's: pixels, four levels, time halved at each."""

    network: ModelSpec
    preset: ModelSpec  # the bundled base model
    windows: ModelSpec  # the bundled super-resolution: what runs over windows
    blocks: tuple[Block, ...]
    gemm: int  # rows and columns
    long: int  # frames of a long clip
    large: ModelSpec | None = None  # only its operations are counted


def _paper_like(width: int, blocks: int, frames: int, size: int) -> ModelSpec:
    unet = UNetSpec(
        channels=(width, 2 * width, 3 * width, 4 * width),
        blocks=(blocks,) * 4,
        attention=(False, False, True, True),
        patch=1,
        embed_width=0,
        head_dim=64,
        groups=32,
    )
    temporal = TemporalSpec(strides=(2, 2, 2), head_dim=64)
    return ModelSpec("paper-like", "base", unet, temporal, num_frames=frames, size=size)


FULL = Sizes(
    network=_paper_like(64, 2, 16, 64),
    preset=PRESETS["mini-cpu"],
    windows=PRESETS["mini-ssr"],
    blocks=(Block(64, 64, 1.6, 3.0), Block(256, 16, 1.35, 1.8)),
    gemm=1024,
    long=800,
    large=_paper_like(192, 3, 80, 128),  # DeepFloyd IF-M's widths
)


@dataclass(frozen=True)
class Row:
    goal: str
    what: str
    measured: str
    limit: str = ""
    holds: bool | None = None  # None: for comparison, without a goal


def at_most(goal: str, what: str, value: float, limit: float) -> Row:
    return Row(goal, what, f"{value:.2f}x", f"at most {limit:.2f}x", value <= limit)


def at_least(goal: str, what: str, value: float, limit: float) -> Row:
    return Row(goal, what, f"{value:.2f}x", f"at least {limit:.2f}x", value >= limit)


def in_turns(rounds: int, *works: Work) -> list[list[float]]:
    """CPU seconds of each work in each round, after one call to warm up."""
    for work in works:
        work()
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, mine in zip(works, seconds, strict=True):
            start = time.process_time()
            work()
            mine.append(time.process_time() - start)
    return seconds


def ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def flops(work: Work) -> int:
    """Operations of the matrix products in a call; 2 a multiply-add."""
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def attention(q: tuple, k: tuple, v: tuple, *_: object, **__: object) -> int:
        return sdpa_flop_count(q, k, v)

    with FlopCounterMode(display=False, custom_mapping={on_cpu: attention}) as counter:
        work()
    return counter.get_total_flops()


def ready(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """With weights drawn by chance, so that no layer multiplies zeros, and channels last."""
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data.copy_(
            torch.randn(p.shape, generator=generator) * (p[0].numel() ** -0.5 if p.ndim > 1 else 0.5)
        )
    return module.to(dtype, memory_format=NHWC).eval().requires_grad_(False)


def inputs(spec: ModelSpec, dtype: torch.dtype, device: str = "cpu") -> dict[str, Tensor]:
    """One clip of the length and size that the model has."""
    return {
        "x": torch.randn(1, 3, spec.num_frames, spec.size, spec.size, dtype=dtype, device=device),
        "t": torch.full((1,), 0.5, device=device),
        "context": torch.randn(1, spec.text.rows, spec.unet.row_width, dtype=dtype, device=device),
    }


def stunet(spec: ModelSpec, dtype: torch.dtype) -> Work:
    """A call of the video model on one clip."""
    model, given = ready(SpaceTimeUNet(spec.unet, spec.temporal), dtype), inputs(spec, dtype)
    return lambda: model(**given)


def frame_by_frame(spec: ModelSpec, dtype: torch.dtype) -> Work:
    """A call of the image model on all frames of the clip, as one batch."""
    model, given = ready(UNet(spec.unet), dtype), inputs(spec, dtype)
    given["x"] = frames_as_batch(given["x"])
    return lambda: model(**given)


def peer() -> object | None:
    try:
        import lumiere_pytorch
    except ImportError:
        return None
    return lumiere_pytorch


class FixedText(nn.Module):
    """Our image model in the signature that lumiere-pytorch inflates: `(images, time)`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.unet = UNet(spec.unet)
        self.register_buffer("context", torch.randn(1, spec.text.rows, spec.unet.row_width))

    def forward(self, images: Tensor, time: Tensor) -> Tensor:
        return self.unet(images, time, self.context)


def peer_stunet(spec: ModelSpec, dtype: torch.dtype) -> Work:
    """The same image model, inflated at the same places by lumiere-pytorch's MPLumiere, in its own memory layout."""
    image = FixedText(spec)
    places: dict[str, list[str]] = {"conv": [], "attn": [], "downsample": [], "upsample": []}
    coarsest = len(spec.unet.channels) - 1
    for side, resize in (("input", "downsample"), ("output", "upsample")):
        blocks, levels = getattr(image.unet, f"{side}_blocks"), getattr(image.unet, f"{side}_levels")
        for i, (block, level) in enumerate(zip(blocks, levels, strict=True)):
            last = len(block) - 1
            if block.resize is not None:
                places[resize].append(f"unet.{side}_blocks.{i}.{last}")
                last -= 1
            if last >= 0 and (side, i) != ("input", 0):  # the first convolution stays alone
                places["attn" if level == coarsest else "conv"].append(f"unet.{side}_blocks.{i}.{last}")
    places["attn"] += [f"unet.middle_block.{i}" for i in (1, 2)]
    model = peer().MPLumiere(
        image,
        image_size=spec.size,
        unet_time_kwarg="time",
        **{f"{kind}_module_names": names for kind, names in places.items()},
    )
    model, given = model.to(dtype).eval(), inputs(spec, dtype)
    return lambda: model(given["x"], time=given["t"])


def block_inputs(block: Block) -> tuple[int, Tensor, Tensor, ConvInflation]:
    """`(frames, x, emb, inflation block)`"""
    channels, frames = block.channels, 16
    x = torch.randn(frames, channels, block.size, block.size, dtype=BF16).to(memory_format=NHWC)
    inflation = ConvInflation(channels, 4 * channels, 8, TemporalSpec(), Operations())
    return frames, x, torch.randn(1, 4 * channels, dtype=BF16), ready(inflation, BF16)


def p1(sizes: Sizes, rounds: int) -> Iterator[Row]:
    """A ResBlock with a temporal convolution behind it, over the ResBlock alone (operations 1.17x).

    That is the reading the goal's operations give. The whole inflation block of the paper's figure 4 is a 2D
    convolution, two norms and a projection more (1.72x operations): its row has no goal.
    """
    for block in sizes.blocks:
        yield from temporal_cost(block, rounds)


def temporal_cost(block: Block, rounds: int) -> Iterator[Row]:
    frames, x, emb, inflation = block_inputs(block)
    c = block.channels
    res = ready(ResBlock(c, c, 4 * c, 8, Operations()), BF16)
    alone, with_conv, with_block = in_turns(
        rounds,
        lambda: res(x, emb, emb),
        lambda: over_time(inflation.conv1d, res(x, emb, emb), frames),
        lambda: inflation(res(x, emb, emb), emb, frames),
    )
    yield at_most(
        "P1", f"C{c}: ResBlock + temporal convolution / ResBlock", ratio(with_conv, alone), block.p1
    )
    yield Row("P1", f"C{c}: ResBlock + whole inflation block / ResBlock", f"{ratio(with_block, alone):.2f}x")


def by_conv1d(block: ConvInflation, x: Tensor, emb: Tensor, frames: int) -> Tensor:
    """The arithmetic of `ConvInflation` as it is usually written: channels first, rearrange, conv1d, rearrange."""
    h, w = x.shape[2:]
    y = F.silu(block.norm1(block.conv2d(x)))
    y = rearrange(y, "(b t) c h w -> (b h w) c t", t=frames)
    y = F.conv1d(y, block.conv1d.weight[..., 0], block.conv1d.bias, padding=block.conv1d.padding[0])
    y = rearrange(y, "(b h w) c t -> (b t) c h w", h=h, w=w)
    y = F.silu(film(block.norm2(y), block.emb_layers(emb)))
    y = block.proj_out(rearrange(y, "n c h w -> n h w c"))
    return x + rearrange(y, "n h w c -> n c h w")


def p2(sizes: Sizes, rounds: int) -> Iterator[Row]:
    """How many times faster an inflation block is than rearrange + conv1d, and than lumiere-pytorch's."""
    for block in sizes.blocks:
        yield from inflation_speed(block, rounds)


def inflation_speed(block: Block, rounds: int) -> Iterator[Row]:
    frames, x, emb, inflation = block_inputs(block)
    c = block.channels
    first, usual = x.contiguous(), copy.deepcopy(inflation).to(memory_format=torch.contiguous_format)
    works = [lambda: inflation(x, emb, frames), lambda: by_conv1d(usual, first, emb, frames)]
    if peer():
        theirs = peer().ConvolutionInflationBlock(dim=c).to(BF16).eval()
        works.append(lambda: theirs(first, batch_size=1))
    ours, written_out, *named = in_turns(rounds, *works)
    yield at_least("P2", f"C{c}: rearrange + conv1d / inflation block", ratio(written_out, ours), block.p2)
    for seconds in named:
        what = f"C{c}: lumiere-pytorch ConvolutionInflationBlock / inflation block"
        yield Row("P2", what, f"{ratio(seconds, ours):.2f}x")


def p3(sizes: Sizes, rounds: int) -> Iterator[Row]:
    """The whole STUNet's operations a second over those of a matrix product, and MPLumiere's beside it.

    The peak is the better of a square matrix product and the same product as a 1x1 convolution: PyTorch gives the two
    to different libraries, and neither is the faster one on every processor.
    """
    n = sizes.gemm
    for dtype, limit in ((BF16, 0.2), (FP32, 0.5)):
        name = NAMES[dtype]
        a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
        rows = torch.randn(16, n, n // 16, 1, dtype=dtype).to(memory_format=NHWC)
        conv = nn.Conv2d(n, n, 1, bias=False).to(dtype, memory_format=NHWC)
        works = [
            lambda a=a, b=b: a @ b,
            lambda rows=rows, conv=conv: conv(rows),
            stunet(sizes.network, dtype),
        ]
        works += [peer_stunet(sizes.network, dtype)] if peer() else []
        product, convolution, *models = in_turns(rounds, *works)
        peak = 2 * n**3 / min(statistics.median(product), statistics.median(convolution))
        rates = [flops(w) / statistics.median(s) for w, s in zip(works[2:], models, strict=True)]
        share = rates[0] / peak
        what = f"{name}: STUNet / GEMM peak of {peak / 1e9:.0f} GFLOP/s"
        yield Row("P3", what, f"{share:.0%}", f"at least {limit:.0%}", share >= limit)
        for rate, seconds in zip(rates[1:], models[1:], strict=True):
            slower = ratio(seconds, models[0])
            yield Row(
                "P3", f"{name}: MPLumiere / GEMM peak", f"{rate / peak:.0%}, {slower:.2f}x the STUNet's time"
            )


COPIES = {"aten::copy_", "aten::clone", "aten::contiguous", "aten::_to_copy"}


def copied_and_joined(work: Work) -> tuple[float, float]:
    """Shares of a call's own CPU time (torch.profiler): layout copies, and joins by `cat` with the copies in them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        work()
    copies, joins, total = 0.0, 0.0, 0.0
    for event in profiler.events():
        inside, above = {event.name}, event.cpu_parent
        while above is not None:
            inside.add(above.name)
            above = above.cpu_parent
        own = event.self_cpu_time_total
        total += own
        joins += own * ("aten::cat" in inside)
        copies += own * (event.name in COPIES and "aten::cat" not in inside)
    return copies / total, joins / total


def p4(sizes: Sizes, rounds: int) -> Iterator[Row]:
    """Copies that change layout or dtype, or repeat frames: their share of a call.

    Joining the skips computes nothing either, but no U-Net of this family goes without: shown beside it.
    """
    settings = ((sizes.network, BF16), (sizes.network, FP32), (sizes.preset, BF16), (sizes.preset, FP32))
    works = [(f"{spec.name}, {NAMES[dtype]}", stunet(spec, dtype)) for spec, dtype in settings]
    works += [("MPLumiere, bf16", peer_stunet(sizes.network, BF16))] if peer() else []
    for name, work in works:
        work()
        copies, joins = zip(*(copied_and_joined(work) for _ in range(rounds)), strict=True)
        share = statistics.median(copies)
        measured = f"{share:.1%} (joins {statistics.median(joins):.1%})"
        goal = {} if name.startswith("MPLumiere") else {"limit": "at most 5%", "holds": share <= 0.05}
        yield Row("P4", f"{name}: layout copies / all", measured, **goal)


def p5(sizes: Sizes, rounds: int) -> Iterator[Row]:
    """The video model over the image model on every frame: operations, and time in bf16."""
    for spec in (sizes.network, sizes.preset):
        video, images = stunet(spec, BF16), frame_by_frame(spec, BF16)
        ours, theirs = in_turns(rounds, video, images)
        yield at_most("P5", f"{spec.name}: operations / frame by frame", flops(video) / flops(images), 0.75)
        yield at_most("P5", f"{spec.name}: time / frame by frame", ratio(ours, theirs), 0.85)
    if spec := sizes.large:
        given = inputs(spec, BF16, "meta")  # shapes without contents: counted, not run
        video = SpaceTimeUNet(spec.unet, spec.temporal, dtype=BF16, device="meta")
        images = UNet(spec.unet, dtype=BF16, device="meta")
        ours = flops(lambda: video(**given))
        theirs = flops(lambda: images(**{**given, "x": frames_as_batch(given["x"])}))
        what = (
            f"IF-M's widths, {spec.num_frames} frames at {spec.size}x{spec.size}: operations / frame by frame"
        )
        yield at_most("P5", what, ours / theirs, 0.75)


SIGMA = torch.tensor(1.0)


def denoiser(spec: ModelSpec, network: Callable[..., Tensor] | None = None) -> Denoiser:
    return Denoiser(
        network or ready(SpaceTimeUNet(spec.unet, spec.temporal), FP32), DiffusionSpec(prediction="x0")
    )


def canvas(spec: ModelSpec, frames: int) -> dict[str, Tensor]:
    """A clip for super-resolution and what comes with it, in host memory."""
    generator, low = torch.Generator().manual_seed(0), spec.size // spec.scale
    return {
        "x": torch.randn(1, 3, frames, spec.size, spec.size, generator=generator),
        "low_res": torch.randn(1, 3, frames, low, low, generator=generator),
        "context": torch.randn(1, spec.text.rows, spec.unet.row_width, generator=generator),
        "noise_level": torch.full((1,), 0.1),
    }


def p6(sizes: Sizes, rounds: int) -> Iterator[Row]:
    """A long clip by windows over as many single windows: what cutting and fusing add (fp32).

    With n windows of w frames that is the time over n*w/T times what the T frames would cost at one window's price.
    """
    spec, frames = sizes.windows, 5 * sizes.windows.window
    one, plan = denoiser(spec), Windows(spec.window, 2)
    clip, window = canvas(spec, frames), canvas(spec, spec.window)
    count = len(plan.parts(frames))
    whole, part = in_turns(
        rounds, lambda: windowed(one, plan)(sigma=SIGMA, **clip), lambda: one(sigma=SIGMA, **window)
    )
    what = f"{frames} frames in {count} windows / {count} x one window"
    yield at_most("P6", what, ratio(whole, part) / count, 1.05)


def device_bytes(spec: ModelSpec, frames: int) -> int:
    """Most bytes at once, besides the weights, on the device while a clip in host memory streams through it.

    The device is PyTorch's "meta": every tensor there has its size and its lifetime, and no contents. So this counts
    what a GPU would hold, without its kernels' own workspace, on a machine without one.
    """
    network = SpaceTimeUNet(spec.unet, spec.temporal, device="meta").requires_grad_(False)
    on_device = denoiser(spec, network)

    def back_to_host(*args: Tensor, **condition: Tensor) -> Tensor:
        return torch.zeros(on_device(*args, **condition).shape)  # what meta tensors can give to a copy

    with LiveBytes("meta") as count:
        windowed(back_to_host, Windows(spec.window, 2), "meta")(sigma=SIGMA, **canvas(spec, frames))
    return count.peak


def p7(sizes: Sizes, rounds: int) -> Iterator[Row]:
    """Bytes alive on the device for a clip ten times as long, while the canvas stays in host memory."""
    short, long = (device_bytes(sizes.windows, frames) for frames in (sizes.long // 10, sizes.long))
    what = f"{sizes.long} frames / {sizes.long // 10}: device bytes ({short / 2**20:.1f} MiB, windows of "
    yield at_most(
        "P7",
        f"{what}{sizes.windows.window} at {sizes.windows.size}x{sizes.windows.size})",
        long / short,
        1.05,
    )


def half_the_windows(which: int, spec: ModelSpec, frames: int, threads: int) -> object:
    """Every second window of the clip, each weighted with its share: what one of two processes does."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        one, clip = denoiser(spec), canvas(spec, frames)

        def call(part: Tensor, covered: Tensor) -> Tensor:
            given = {**clip, "x": part, "low_res": clip["low_res"][:, :, covered]}
            return one(sigma=SIGMA, **given)

        return fuse(call, clip["x"], list(Windows(spec.window, 2).parts(frames))[which::2]).numpy()


def p8(sizes: Sizes, rounds: int) -> Iterator[Row]:
    """A streamed clip, and one whose windows two processes shared, against the clip made in memory (fp32).

    Each process fuses its own windows with their shares, and the two clips are added. On a machine with a GPU the
    streamed one crosses to it window by window; without one, host and device are the same memory.
    """
    spec, frames = sizes.windows, 3 * sizes.windows.window
    device = "cuda" if torch.cuda.is_available() else "cpu"
    one, clip, plan = denoiser(spec), canvas(spec, frames), Windows(spec.window, 2)
    one.network.to(device)
    in_memory = windowed(one, plan)(
        sigma=SIGMA.to(device), **{k: v.to(device) for k, v in clip.items()}
    ).cpu()
    streamed = windowed(lambda *a, **k: one(*a, **k).cpu(), plan, device)(sigma=SIGMA, **clip)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(half_the_windows, i, spec, frames, torch.get_num_threads()) for i in range(2)]
        shared = sum(torch.from_numpy(job.result()) for job in jobs)
    for what, other, limit in (("streamed", streamed, 1e-6), ("by two processes", shared, 1e-6)):
        error = (other - in_memory).abs().max().item()
        yield Row(
            "P8",
            f"{what} - in memory, largest difference",
            f"{error:.1e}",
            f"at most {limit:.0e}",
            error <= limit,
        )


GOALS = {goal.__name__.upper(): goal for goal in (p1, p2, p3, p4, p5, p6, p7, p8)}


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    wide = [n for n in ("amx_tile", "avx512_bf16") if getattr(torch.cpu, f"_is_{n}_supported", bool)()]
    threads = f"{torch.get_num_threads()} thread(s)"
    return f"{name} ({', '.join(wide) or 'no bf16 instructions'}), {threads}, PyTorch {torch.__version__}"


def line(cells: tuple[str, ...], markdown: bool) -> str:
    if markdown:
        return f"| {' | '.join(cells)} |"
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, (2, 78, 32, 16, 5), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(GOALS), help="goals to measure, as P1,P2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", action="store_true", help="a table for the README")
    args = parser.parse_args()
    wanted = args.only.upper().split(",")
    if unknown := [name for name in wanted if name not in GOALS]:
        parser.error(f"there is no {', '.join(unknown)}; the goals are {', '.join(GOALS)}")
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads have to be at least 1")
    torch.set_num_threads(args.threads)

    print(machine(), end="\n\n")
    if not peer():
        print("lumiere-pytorch is not installed, so its rows are left out: pip install lumiere-pytorch\n")
    print(line(("", "what", "measured", "goal", "holds"), args.markdown))
    if args.markdown:
        print(line(("---",) * 5, True))
    for name in wanted:
        with torch.inference_mode():
            for row in GOALS[name](FULL, args.rounds):
                holds = {True: "yes", False: "no", None: ""}[row.holds]
                print(line((row.goal, row.what, row.measured, row.limit, holds), args.markdown), flush=True)


if __name__ == "__main__":
    main()
