"""Super-resolution in windows with and without MultiDiffusion, in one run: what is seen at the windows' borders.

    python benchmarks/fusing.py [--scenes 3] [--frames 80] [--levels 0,0.1] [--markdown] [--figure docs/fusing.png]

Small clips drawn from captions it never saw are enlarged in windows of 16 frames: "fused" shares 2 frames between
neighbours and fuses them at every step (Bar-Tal et al. 2302.08113), "one by one" shares none. The noise is the same.
The seam score is the mean frame difference at the windows' borders over that elsewhere, the dynamic degree the mean
frame difference, both as multiples of the true clip's: 1 is ideal.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lumiere_core.diffusion.windows import Windows  # noqa: E402
from lumiere_core.generate import Settings, upscale  # noqa: E402
from lumiere_core.media.files import to_pixels  # noqa: E402
from lumiere_core.media.measure import difference_chart, frame_differences, seam_score  # noqa: E402
from lumiere_core.media.pictures import write_image  # noqa: E402
from lumiere_core.model.checkpoint import bundled, load  # noqa: E402
from lumiere_core.train.gauge import travelling  # noqa: E402
from lumiere_core.train.world.scenes import WORLDS, held_out_list, render  # noqa: E402

HEIGHT, BAR = 256, 6  # pixels of a chart before it is cut, and of a bar
WAYS = {"fused": 2, "one by one": 0}  # frames that neighbouring windows share


def scores(made: Tensor, true: Tensor, borders: list[int]) -> tuple[float, float]:
    """Seam score and dynamic degree of a clip `(3, T, H, W)`, both over the true one's."""
    degree = frame_differences(made).mean() / frame_differences(true).mean()
    return seam_score(made, borders) / seam_score(true, borders), float(degree)


def figure(charts: list[Tensor]) -> Tensor:
    """Charts below each other, `(3, height, width)` in [0, 1], without the step back to the first frame, and no taller
    than their tallest bar.
    """
    charts = [chart[:, :, :-BAR] for chart in charts]
    empty = min(int((chart > 0.5).any(0).any(1).int().argmax()) for chart in charts)
    return torch.cat([chart[:, max(0, empty - BAR) :] for chart in charts], 1)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--weights", type=Path, default=bundled("ssr"), help="a super-resolution file")
    options.add_argument("--scenes", type=int, default=3)
    options.add_argument("--frames", type=int, default=80)
    options.add_argument("--levels", default="0,0.1", help="noise levels of the small clip, by commas")
    options.add_argument("--markdown", action="store_true", help="the table as Markdown")
    options.add_argument("--figure", type=Path, help="a PNG of the first scene's frame differences")
    chosen = options.parse_args()

    model = load(chosen.weights)
    size, scale, window = model.spec.size, model.spec.scale, model.spec.window
    borders = {way: Windows(window, shared).borders(chosen.frames) for way, shared in WAYS.items()}
    scenes = travelling(WORLDS["small"], held_out_list("small"), chosen.scenes, seed=11)
    rows: dict[str, list[tuple[float, float]]] = {}
    charts = []
    with torch.inference_mode():
        for scene in scenes:
            true = render([scene], chosen.frames, size, size) * 2 - 1
            small = F.avg_pool3d(true, (1, scale, scale))
            for level in map(float, chosen.levels.split(",")):
                for way, shared in WAYS.items():
                    settings = Settings(seed=1, overlap=shared)
                    made = upscale(model, small, scene.caption, settings, noise_level=level)[0].clamp(-1, 1)
                    rows.setdefault(f"{way}, noise {level:g}", []).append(scores(made, true[0], borders[way]))
                    if scene is scenes[0]:
                        charts.append(difference_chart(made, borders[way], HEIGHT, BAR))
    line = "| {:>22} | {:>10} | {:>14} |" if chosen.markdown else "{:>22}  {:>10}  {:>14}"
    print(line.format("", "seam score", "dynamic degree"))
    if chosen.markdown:
        print("| --- | --- | --- |")
    for name, found in rows.items():
        print(line.format(name, *(f"{statistics.fmean(column):.2f}" for column in zip(*found, strict=True))))
    if chosen.figure:
        write_image(chosen.figure, to_pixels(figure(charts)[:, None] * 2 - 1)[0], overwrite=True)


if __name__ == "__main__":
    main()
