"""Super-resolution beside bicubic and Lanczos, in one run: on drawn clips it never saw, and on the base model's own.

    python benchmarks/enlarging.py [--weights FILE] [--base FILE] [--scenes 10] [--clips 4] [--frames 16] [--markdown]
                                   [--pictures FOLDER]

On drawn clips the large one is known: PSNR, SSIM (Wang et al. 2004, Gaussian of 1.5 pixels, over RGB), the mean frame
difference over the true one's, and the warping error (Lai et al. 1808.00449): how far a frame is from the next one
carried back along the optical flow, where that flow and the one back agree. On the base model's clips nothing is known:
frame difference and warping error are given over those of bicubic enlargement, flow from bicubic.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lumiere_core.generate import Settings, text_to_video, upscale  # noqa: E402
from lumiere_core.media.files import to_pixels  # noqa: E402
from lumiere_core.media.measure import psnr  # noqa: E402
from lumiere_core.media.pictures import opencv, write_image  # noqa: E402
from lumiere_core.model.checkpoint import Lumiere, bundled, load  # noqa: E402
from lumiere_core.photo.warp import flow_between, warped  # noqa: E402
from lumiere_core.train.gauge import bicubic, travelling  # noqa: E402
from lumiere_core.train.sheet import tiles  # noqa: E402
from lumiere_core.train.world.scenes import WORLDS, Scene, held_out_list, render  # noqa: E402

Enlarge = Callable[
    [Tensor, str], Tensor
]  # small clip (1, 3, T, h, w) in [-1, 1] and its caption -> the large one
AGREE = 1.0  # pixels by which the flow there and back may differ
STILL = 1e-4  # a clip that differs by less stands still: ratios to it say nothing


def lanczos(clip: Tensor, scale: int) -> Tensor:
    """Every frame enlarged by OpenCV's `INTER_LANCZOS4`."""
    cv2 = opencv()
    height, width = clip.shape[-2] * scale, clip.shape[-1] * scale
    frames = [
        cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=cv2.INTER_LANCZOS4)
        for frame in clip[0].permute(1, 2, 3, 0).numpy()
    ]
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)[None]


def ssim(a: Tensor, b: Tensor, span: float = 2.0) -> float:
    """Structural similarity of clips `(1, 3, T, H, W)`, mean over frames, channels and pixels."""
    x = torch.arange(-5, 6, dtype=torch.float32)
    line = torch.exp(-(x**2) / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2).view(1, 1, 11, 11)

    def mean(v: Tensor) -> Tensor:
        return F.conv2d(v.transpose(1, 2).flatten(0, 2)[:, None], window)

    c1, c2, ma, mb = (0.01 * span) ** 2, (0.03 * span) ** 2, mean(a), mean(b)
    va, vb, both = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return float(((2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())


def change(clip: Tensor) -> float:
    """Mean frame difference."""
    return clip.diff(dim=2).abs().mean().item()


def warping_error(clip: Tensor, guide: Tensor) -> float:
    """Mean difference of each frame and the next one, carried back along the flow of `guide`, where that holds.

    Where it holds in no pixel of a frame, all of that frame counts.
    """
    frames, guides = (
        (c[0].permute(1, 2, 3, 0).numpy() / 2 + 0.5).clip(0, 1).astype(np.float32) for c in (clip, guide)
    )
    found = []
    for i in range(len(frames) - 1):
        there, back = flow_between(guides[i], guides[i + 1]), flow_between(guides[i + 1], guides[i])
        away = np.linalg.norm(there + carried(back, there), axis=-1)
        holds = away < AGREE
        found.append(np.abs(warped(frames[i + 1], there) - frames[i])[holds | ~holds.any()].mean())
    return float(np.mean(found))


def carried(field: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """A field `(H, W, 2)` looked up at `p + flow[p]`."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    cv2 = opencv()
    return cv2.remap(
        field, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def on_renders(
    ways: dict[str, Enlarge], scenes: list[Scene], frames: int, size: int, scale: int
) -> dict[str, list]:
    """Rows by way: PSNR, SSIM, frame difference and warping error over the true clip's."""
    rows: dict[str, list] = {name: [] for name in ways}
    for scene in scenes:
        true = render([scene], frames, size, size, start=1.0) * 2 - 1
        small = F.avg_pool3d(true, (1, scale, scale))
        error = warping_error(true, true)
        for name, enlarge in ways.items():
            made = enlarge(small, scene.caption).clamp(-1, 1)
            rows[name].append(
                (
                    psnr(made, true),
                    ssim(made, true),
                    change(made) / max(change(true), STILL),
                    warping_error(made, true) / max(error, STILL),
                )
            )
    return rows


def on_clips(ways: dict[str, Enlarge], base: Lumiere, scenes: list[Scene], frames: int) -> dict[str, list]:
    """Rows by way: frame difference and warping error over those of the first way."""
    rows: dict[str, list] = {name: [] for name in ways}
    for seed, scene in enumerate(scenes):
        small = text_to_video(base, scene.caption, settings=Settings(seed=seed))[:, :, :frames].clamp(-1, 1)
        guide = None
        for name, enlarge in ways.items():
            made = enlarge(small, scene.caption).clamp(-1, 1)
            if guide is None:
                guide, moved, error = made, change(made), warping_error(made, made)
            rows[name].append(
                (change(made) / max(moved, STILL), warping_error(made, guide) / max(error, STILL))
            )
    return rows


def table(title: str, heads: list[str], rows: dict[str, list], markdown: bool) -> None:
    """The means of the rows, printed as one table."""
    print(f"\n{title}\n")
    line = "| {} |" if markdown else "{}"
    join = " | " if markdown else "  "
    print(line.format(join.join(f"{head:>18}" for head in ["", *heads])))
    if markdown:
        print("|" + " --- |" * (len(heads) + 1))
    for name, found in rows.items():
        values = [statistics.fmean(column) for column in zip(*found, strict=True)]
        print(line.format(join.join([f"{name:>18}", *(f"{value:18.3f}" for value in values)])))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--weights", type=Path, default=bundled("ssr"), help="a super-resolution file")
    options.add_argument("--base", type=Path, default=bundled("base"), help="a base model's file")
    options.add_argument("--scenes", type=int, default=10, help="drawn clips")
    options.add_argument("--clips", type=int, default=4, help="the base model's clips")
    options.add_argument("--frames", type=int, default=16, help="frames of each that are measured")
    options.add_argument("--levels", default="0,0.05", help="noise levels of the small clip, by commas")
    options.add_argument("--markdown", action="store_true", help="the tables as Markdown")
    options.add_argument("--pictures", type=Path, help="a folder for contact sheets")
    chosen = options.parse_args()

    model = load(chosen.weights)
    scale = model.spec.scale
    ways: dict[str, Enlarge] = {
        "bicubic": lambda clip, caption: bicubic(clip, scale),
        "Lanczos": lambda clip, caption: lanczos(clip, scale),
    }
    for level in map(float, chosen.levels.split(",")):
        ways[f"SSR, noise {level:g}"] = lambda clip, caption, level=level: upscale(
            model, clip, caption, Settings(seed=1), noise_level=level
        )
    scenes = travelling(WORLDS["small"], held_out_list("small"), chosen.scenes + chosen.clips, seed=7)
    drawn, asked = scenes[: chosen.scenes], scenes[chosen.scenes :]
    with torch.inference_mode():
        rows = on_renders(ways, drawn, chosen.frames, model.spec.size, scale)
        heads = ["PSNR, dB", "SSIM", "frame difference", "warping error"]
        table(f"{len(drawn)} drawn clips; the last two over the true clip's", heads, rows, chosen.markdown)
        if asked:
            base = load(chosen.base)
            rows = on_clips(ways, base, asked, chosen.frames)
            table(f"{len(asked)} clips of the base model, over bicubic's", heads[2:], rows, chosen.markdown)
        if chosen.pictures:
            chosen.pictures.mkdir(parents=True, exist_ok=True)
            for i, scene in enumerate(drawn):
                true = render([scene], 1, model.spec.size, model.spec.size, start=1.0) * 2 - 1
                small = F.avg_pool3d(true, (1, scale, scale))
                made = [enlarge(small, scene.caption)[0, :, 0] for enlarge in ways.values()]
                picture = to_pixels(tiles([[*made, true[0, :, 0]]])[:, None])[0]
                write_image(chosen.pictures / f"enlarged-{i}.png", picture, overwrite=True)


if __name__ == "__main__":
    main()
