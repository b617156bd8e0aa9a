"""The bundled styles from alpha to alpha: how far from the style's pictures, is the subject still found, does it move.

    python benchmarks/styles.py [--weights FILE] [--alphas 0,0.25,0.5,0.75,1] [--prompts 10] [--steps 20] [--frames 16]
                                [--clips 2] [--styles glowing,...] [--pictures FOLDER] [--figure FILE] [--readme]

The distance is `StyleGauge`'s between the means of colour and detail statistics, from one noise for all alphas. The
subject is read by the bundled probe, which learnt from plain pictures: a fish in ink is none it has seen. Motion is the
mean frame difference of clips over that at alpha 0. --pictures writes a sheet per style: a row for each alpha, below
the pictures it was tuned on; --figure one picture for all; --readme puts the table into weights/styles/README.md.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lumiere_core.generate import Settings, text_to_video  # noqa: E402
from lumiere_core.media.files import to_pixels  # noqa: E402
from lumiere_core.media.grid import labelled  # noqa: E402
from lumiere_core.media.measure import frame_differences  # noqa: E402
from lumiere_core.media.pictures import write_image  # noqa: E402
from lumiere_core.model.checkpoint import Lumiere, bundled, load  # noqa: E402
from lumiere_core.model.style import STYLES_FOLDER, bundled_styles, give_style, read_style  # noqa: E402
from lumiere_core.train.probe import Probe, load_probe  # noqa: E402
from lumiere_core.train.sheet import tiles  # noqa: E402
from lumiere_core.train.style.examples import drawn_examples  # noqa: E402
from lumiere_core.train.style.measure import StyleGauge  # noqa: E402
from lumiere_core.train.world.scenes import WORLDS, Scene, held_out_list, render  # noqa: E402

README = STYLES_FOLDER / "README.md"
MARK = "<!-- benchmarks/styles.py --readme writes from here on -->"


@dataclass(frozen=True)
class Row:
    """One style at one alpha."""

    style: str
    alpha: float
    distance: float
    subject: float  # share of pictures whose subject the probe finds
    motion: float  # over that at alpha 0
    pictures: Tensor


def prompts(count: int, world: str = "small") -> list[Scene]:
    """Scenes whose subject, colour and motion together were left out of training, each subject equally often."""
    rng, combinations = random.Random(2), held_out_list(world)
    rng.shuffle(combinations)
    subjects = [s for s in WORLDS[world].subjects if any(c[0] == s for c in combinations)]
    scenes = []
    for i in range(count):
        mine = [c for c in combinations if c[0] == subjects[i % len(subjects)]]
        combination = mine[i // len(subjects) % len(mine)]
        scenes.append(Scene(*combination, *rng.choice(WORLDS[world].contexts(combination[0])), seed=i))
    return scenes


def picture_of(model: Lumiere, scene: Scene, seed: int, steps: int) -> Tensor:
    """A short clip about the middle of the five seconds, its middle frame. `(3, H, W)`"""
    clip = text_to_video(model, scene.caption, settings=Settings(num_frames=4, steps=steps, seed=seed))
    return clip[0, :, 2]


def rows(
    model: Lumiere,
    probe: Probe,
    styles: Sequence[str],
    alphas: Sequence[float],
    scenes: Sequence[Scene],
    steps: int,
    frames: int,
    clips: int,
) -> Iterator[Row]:
    """Each style at each alpha."""
    size = model.spec.size
    plain = torch.cat([render([scene], 1, size, size, start=2.5)[:, :, 0] for scene in prompts(40)]) * 2 - 1
    before = {name: w.clone() for name, w in model.network.state_dict().items()}
    for name in styles:
        style, still = read_style(bundled_styles()[name]), 0.0
        gauge = StyleGauge.of(drawn_examples(name, size).pictures, plain)
        for alpha in alphas:
            model.network.load_state_dict(before)
            give_style(model, style, alpha)
            pictures = torch.stack([picture_of(model, scene, i, steps) for i, scene in enumerate(scenes)])
            words = probe.words(probe.read(pictures[:, :, None]))
            found = [word["subject"] == scene.subject for word, scene in zip(words, scenes, strict=True)]
            moved = 0.0
            for i, scene in enumerate(scenes[:clips]):
                clip = text_to_video(
                    model, scene.caption, settings=Settings(num_frames=frames, steps=steps, seed=i)
                )
                moved += float(frame_differences(clip[0]).mean())
            still = still or moved
            yield Row(
                name,
                alpha,
                gauge.distance(pictures),
                sum(found) / len(found),
                moved / still if clips else float("nan"),
                pictures,
            )
        model.network.load_state_dict(before)


def table(found: Sequence[Row]) -> str:
    """The figures as Markdown, a row for each style and figure."""
    alphas = sorted({row.alpha for row in found})
    lines = [
        "| style | figure | " + " | ".join(f"alpha {a:g}" for a in alphas) + " |",
        "| --- " * (len(alphas) + 2) + "|",
    ]
    for style in dict.fromkeys(row.style for row in found):
        mine = {row.alpha: row for row in found if row.style == style}
        for what, cell in (
            ("distance", lambda r: f"{r.distance:.2f}"),
            ("subject found", lambda r: f"{100 * r.subject:.0f} %"),
            ("motion", lambda r: f"{r.motion:.2f}"),
        ):
            cells = " | ".join(cell(mine[a]).replace("nan", "-") for a in alphas)
            lines.append(f"| {style if what == 'distance' else ''} | {what} | {cells} |")
    return "\n".join(lines)


def write_sheets(folder: Path, found: Sequence[Row], size: int) -> None:
    """A sheet for each style: its own pictures, then a row for each alpha."""
    for style in dict.fromkeys(row.style for row in found):
        mine = [row.pictures for row in found if row.style == style]
        columns = min(8, len(mine[0]))
        sheet = tiles([list(p[:columns]) for p in (drawn_examples(style, size).pictures, *mine)])
        large = sheet.repeat_interleave(2, 1).repeat_interleave(2, 2)
        path = folder / f"{style.replace(' ', '-')}.png"
        write_image(path, to_pixels(large[:, None])[0], overwrite=True)
        print(f"wrote {path}", file=sys.stderr)


def write_figure(path: Path, found: Sequence[Row], size: int) -> None:
    """One picture for all: a row for each style, with a picture it was tuned on and one prompt at each alpha."""
    columns: list[list[Tensor]] = []
    styles = list(dict.fromkeys(row.style for row in found))
    alphas = sorted({row.alpha for row in found})
    columns.append([shown(drawn_examples(style, size).pictures[i]) for i, style in enumerate(styles)])
    for alpha in alphas:
        at = {row.style: row for row in found if row.alpha == alpha}
        columns.append(
            [shown(at[style].pictures[i % len(at[style].pictures)]) for i, style in enumerate(styles)]
        )
    sheet = labelled(columns, ["tuned on", *(f"alpha {alpha:g}" for alpha in alphas)])
    write_image(path, (sheet * 255).round().byte().numpy(), overwrite=True)
    print(f"wrote {path}", file=sys.stderr)


def shown(picture: Tensor) -> Tensor:
    """`(3, H, W)` in [-1, 1] as `(H, W, 3)` in [0, 1]."""
    return (picture.movedim(0, -1) / 2 + 0.5).clamp(0, 1)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--weights", default=str(bundled("base")))
    p.add_argument("--alphas", default="0,0.25,0.5,0.75,1")
    p.add_argument("--prompts", type=int, default=10)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--frames", type=int, default=16)
    p.add_argument("--clips", type=int, default=2)
    p.add_argument("--styles", default=",".join(bundled_styles()))
    p.add_argument("--pictures")
    p.add_argument("--figure")
    p.add_argument("--readme", action="store_true")
    args = p.parse_args()
    model, probe = load(args.weights), load_probe()
    alphas = [float(alpha) for alpha in args.alphas.split(",")]
    scenes = prompts(args.prompts)
    found = []
    for row in rows(
        model, probe, args.styles.split(","), alphas, scenes, args.steps, args.frames, args.clips
    ):
        figures = f"distance {row.distance:.3f}, subject {row.subject:.2f}, motion {row.motion:.2f}"
        print(f"{row.style}, alpha {row.alpha:g}: {figures}", file=sys.stderr, flush=True)
        found.append(row)
    said = (
        f"`python benchmarks/styles.py --prompts {args.prompts} --steps {args.steps} --frames {args.frames} "
        f"--clips {args.clips}`, base {model.hash}:\n\n{table(found)}\n"
    )
    print(said)
    if args.readme:
        README.write_text(
            README.read_text(encoding="utf-8").split(MARK)[0] + f"{MARK}\n{said}", encoding="utf-8"
        )
    if args.figure:
        write_figure(Path(args.figure), found, model.spec.size)
    if args.pictures:
        write_sheets(Path(args.pictures), found, model.spec.size)


if __name__ == "__main__":
    main()
