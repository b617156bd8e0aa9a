"""What the base model makes of a picture, a mask or a clip, as `generate --task` makes it, beside the real drawn clip.

    python benchmarks/pictures.py [--weights FILE] [--tasks image,inpaint,...] [--prompts 12] [--steps 10] [--cfg 2]
                                  [--frames 80] [--strengths 0.4,0.6,0.8] [--markdown] [--pictures FOLDER]

Scenes whose subject, colour and motion together were left out of training are drawn; each task is given a part of the
drawn clip (a still, all but a box, an inner part, its first second) and the caption, through the command line from
lossless files to lossless files. "made" is its clip, "real" the drawn one measured alike. A goal is for "made", or for
made / real where it says so. --pictures writes a sheet for each task: a clip made and the real one below it, moments
from left to right, and at the end a row or column of pixels over time, the first frame on top.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.beside import (  # noqa: E402
    FPS,
    MEASURES,
    Found,
    Row,
    both,
    judged,
    moving,
    ratio,
    share,
    sheet,
    table,
)
from lumiere_core.cli import main as command_line  # noqa: E402
from lumiere_core.media.files import from_pixels, to_pixels  # noqa: E402
from lumiere_core.media.pictures import read_image, write_image  # noqa: E402
from lumiere_core.media.video import pyav  # noqa: E402
from lumiere_core.model.checkpoint import bundled, load  # noqa: E402
from lumiere_core.train.probe import Probe, load_probe  # noqa: E402
from lumiere_core.train.report import mean  # noqa: E402
from lumiere_core.train.world.scenes import (  # noqa: E402
    WORLDS,
    Scene,
    held_out_list,
    render,
    subject_cover,
    subject_path,
)

IN_PLACE = ("turning", "burning", "rocking")  # what moves and stays where it is: for cinemagraphs
GIVEN, KEPT = 16, 8  # frames that `extend` is given, and how many of them it keeps: its default


@dataclass(frozen=True)
class Setting:
    """What all runs share."""

    weights: Path
    size: int
    frames: int
    steps: int
    cfg: float
    folder: Path  # for what goes in and comes out


# --- Scenes ---


def travellers(count: int, seed: int = 3) -> list[Scene]:
    """Held-out scenes whose subject goes somewhere, each subject and each direction about equally often."""
    return scenes_of(
        [c for c in held_out_list("small") if Scene(*c, "", "").direction != (0, 0)], count, seed
    )


def stayers(count: int, seed: int = 4) -> list[Scene]:
    """Held-out scenes whose subject moves where it is."""
    return scenes_of([c for c in held_out_list("small") if c[2].split()[0] in IN_PLACE], count, seed)


def scenes_of(combinations: Sequence[tuple[str, str, str]], count: int, seed: int) -> list[Scene]:
    """`count` scenes of these combinations, one (subject, motion) after the other."""
    rng, kinds = random.Random(seed), {}
    for combination in rng.sample(list(combinations), len(combinations)):
        kinds.setdefault((combination[0], combination[2]), []).append(combination)
    kinds = [kinds[key] for key in sorted(kinds)]
    rng.shuffle(kinds)
    chosen = [kinds[i % len(kinds)][i // len(kinds) % len(kinds[i % len(kinds)])] for i in range(count)]
    return [
        Scene(*c, *rng.choice(WORLDS["small"].contexts(c[0])), seed=1000 + i) for i, c in enumerate(chosen)
    ]


def drawn(scene: Scene, setting: Setting) -> Tensor:
    """The real clip, in the 8 bits a file has."""
    clip = render([scene], setting.frames, setting.size, setting.size, FPS)[0] * 2 - 1
    return from_pixels(to_pixels(clip))


# --- The command line, from files to files ---


def write_source(path: Path, clip: Tensor) -> str:
    """A still as PNG, a clip as FFV1 in RGB: nothing is lost in either."""
    frames = to_pixels(clip)
    if len(frames) == 1:
        write_image(path.with_suffix(".png"), frames[0], overwrite=True)
        return str(path.with_suffix(".png"))
    path, av = path.with_suffix(".mkv"), pyav()
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")))
        out.mux(stream.encode())
    return str(path)


def write_mask(path: Path, change: Tensor) -> str:
    """White where something is made. `(H, W)`"""
    grey = (change * 255).round().byte().numpy()
    write_image(path, np.repeat(grey[..., None], 3, axis=2), overwrite=True)
    return str(path)


def generated(setting: Setting, caption: str, seed: int, *options: object) -> Tensor:
    """What `generate` makes of these options, read back from a folder of PNG: `(3, T, H, W)` in [-1, 1]."""
    out = Path(tempfile.mkdtemp(dir=setting.folder)) / "made"
    words = ["generate", "--prompt", caption, "--seed", seed, "--steps", setting.steps, "--cfg", setting.cfg]
    words += ["--fps", FPS, "--no-ssr", "--weights", setting.weights, "--out", out, *options]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = command_line([str(word) for word in words])
    if code:
        raise RuntimeError(f"generate ended with {code}: {said.getvalue()}")
    return from_pixels(np.stack([read_image(path) for path in sorted(out.glob("*.png"))]))


# --- What each task is given: the options, and what of the clip it knows ---


def still(scene: Scene, real: Tensor, setting: Setting) -> tuple[list, Tensor]:
    known = torch.zeros(real.shape[1:])
    known[0] = 1
    options = ["--image", write_source(setting.folder / "still", real[:, :1]), "--frames", setting.frames]
    return options, known


def box(scene: Scene, real: Tensor, setting: Setting) -> tuple[list, Tensor]:
    """All but a box of half the sides about the middle of the subject's path."""
    middle = subject_path([scene], setting.frames, FPS)[0].mean(0).clamp(0.3, 0.7)
    side = setting.size // 2
    left, top = ((middle * setting.size).long() - side // 2).tolist()
    change = torch.zeros(setting.size, setting.size)
    change[top : top + side, left : left + side] = 1
    source = write_source(setting.folder / "clip", real)
    return ["--video", source, "--mask", write_mask(setting.folder / "mask.png", change)], known_in(
        change, real
    )


def inner(scene: Scene, real: Tensor, setting: Setting) -> tuple[list, Tensor]:
    """All but an eighth of the side on each side."""
    room = setting.size // 8
    change = torch.ones(setting.size, setting.size)
    change[room:-room, room:-room] = 0
    part = real[..., room:-room, room:-room]
    return ["--video", write_source(setting.folder / "part", part), "--room", room], known_in(change, real)


def around(scene: Scene, real: Tensor, setting: Setting) -> tuple[list, Tensor]:
    """One still, of which the subject and two pixels around it move."""
    cover = subject_cover([scene], setting.frames, setting.size, setting.size, FPS)[0, 0].amax(0)
    change = (F.max_pool2d((cover > 0.1).float()[None], 5, 1, 2)[0] > 0).float()
    options, _ = still(scene, real, setting)
    known = known_in(change, real)
    known[0] = 1
    return [*options, "--mask", write_mask(setting.folder / "mask.png", change)], known


def beginning(scene: Scene, real: Tensor, setting: Setting) -> tuple[list, Tensor]:
    """The first second, of which the default number of frames is kept: the new clip begins where those do."""
    known = torch.zeros(real.shape[1:])
    known[:KEPT] = 1
    options = ["--video", write_source(setting.folder / "clip", real[:, :GIVEN]), "--keep", KEPT]
    return [*options, "--frames", setting.frames], known


def known_in(change: Tensor, real: Tensor) -> Tensor:
    return (1 - change).expand(real.shape[1:]).clone()


GIVE: dict[str, Callable[[Scene, Tensor, Setting], tuple[list, Tensor]]] = {
    "image": still,
    "inpaint": box,
    "outpaint": inner,
    "cinemagraph": around,
    "extend": beginning,
}


def clips_of(task: str, scenes: Sequence[Scene], setting: Setting, probe: Probe) -> list[Found]:
    """Every scene by one task."""
    found = []
    for seed, scene in enumerate(scenes):
        real = drawn(scene, setting)
        options, known = GIVE[task](scene, real, setting)
        if task == "extend":  # what it goes on from lies later in the drawn clip
            later = render([scene], setting.frames, setting.size, setting.size, FPS, (GIVEN - KEPT) / FPS)[0]
            real = from_pixels(to_pixels(later * 2 - 1))
        made = generated(setting, scene.caption, seed, "--task", task, *options)
        given = real[:, :1].expand_as(real) if task == "cinemagraph" else real
        found.append(judged(probe, scene, seed, made, real, given, known))
        say(f"{task} {seed + 1}/{len(scenes)}: {scene.caption}")
    return found


# --- Editing: the same clip in another colour, at one strength after the other ---


def edits(scenes: Sequence[Scene], strengths: Sequence[float], setting: Setting, probe: Probe) -> list[Row]:
    """A drawn clip whose caption names the next colour: does it take the colour, and what of the clip stays."""
    rows, colours = [], WORLDS["small"].colours
    for strength in strengths:
        found, away = [], []
        for seed, scene in enumerate(scenes):
            real = drawn(scene, setting)
            other = replace(scene, colour=colours[(colours.index(scene.colour) + 2) % len(colours)])
            source = write_source(setting.folder / "clip", real)
            made = generated(
                setting, other.caption, seed, "--task", "edit", "--video", source, "--strength", strength
            )
            nothing = torch.zeros(real.shape[1:])
            found.append(judged(probe, other, seed, made, drawn(other, setting), real, nothing))
            centre = probe.read(torch.stack([made, real])).centre
            away.append(float((centre[0] - centre[1]).norm(dim=-1).mean()))
            say(f"edit {strength:g}, {seed + 1}/{len(scenes)}: {other.caption}")
        n, task = len(found), f"edit {strength:g}"
        made, real = both(found, lambda clip, f: moving(clip, 1 - f.known[-1]))
        rows += [
            Row(
                task,
                "new colour",
                share([f.words.words["colour"] == f.scene.colour for f in found]),
                1.0,
                n,
                clips=found,
            ),
            Row(
                task,
                "same subject",
                share([f.words.words["subject"] == f.scene.subject for f in found]),
                1.0,
                n,
            ),
            Row(task, "subject's distance from its old path, of the width", mean(away), 0.0, n),
            Row(task, "dynamic degree, made / real", ratio(made, real), 1.0, n),
        ]
    return rows


# --- What comes out ---


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def write_sheets(folder: Path, rows: Sequence[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        if row.clips:
            large = sheet(row.clips).repeat_interleave(2, 1).repeat_interleave(2, 2)
            path = folder / f"{row.task.replace(' ', '-')}.png"
            write_image(path, to_pixels(large[:, None])[0], overwrite=True)
            say(f"wrote {path}")


def measured(
    tasks: Sequence[str], prompts: int, strengths: Sequence[float], setting: Setting, pictures: Path | None
) -> list[Row]:
    """The rows of all tasks, one after the other."""
    probe, rows = load_probe(), []
    for task in tasks:
        if task == "edit":
            mine = edits(travellers(prompts), strengths, setting, probe)
        else:
            scenes = (stayers if task == "cinemagraph" else travellers)(prompts)
            found = clips_of(task, scenes, setting, probe)
            mine = [row for measure in MEASURES[task] for row in measure(task, found)]
        say(table(mine, markdown=False))
        if pictures:
            write_sheets(pictures, mine)
        rows += [replace(row, clips=()) for row in mine]
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--weights", type=Path, default=bundled("base"))
    p.add_argument("--tasks", default=",".join((*GIVE, "edit")), help="by commas")
    p.add_argument("--prompts", type=int, default=12, help="of each task")
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--cfg", type=float, default=2.0)
    p.add_argument("--frames", type=int, default=80)
    p.add_argument("--strengths", default="0.4,0.6,0.8", help="of edit, by commas")
    p.add_argument("--markdown", action="store_true", help="the table as Markdown")
    p.add_argument("--pictures", type=Path, help="a folder for sheets")
    args = p.parse_args()
    torch.set_num_threads(1)
    model = load(args.weights)
    strengths = [float(strength) for strength in args.strengths.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(args.weights, model.spec.size, args.frames, args.steps, args.cfg, Path(folder))
        rows = measured(args.tasks.split(","), args.prompts, strengths, setting, args.pictures)
    print(f"base {model.hash}, {args.frames} frames, {args.steps} steps, cfg {args.cfg:g}:\n")
    print(table(rows, args.markdown))


if __name__ == "__main__":
    main()
