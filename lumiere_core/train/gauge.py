"""What a run is learning, on a fixed set that it never trains on: error, word gap and boiling at each noise level.

Written to `log.jsonl` in the run's folder, one line each few minutes, and drawn by `train plot`.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..diffusion.process import Process, time_of
from ..model.checkpoint import Lumiere
from .data import SECONDS
from .world.scenes import Combination, Scene, World, render

LEVELS = (
    955.0,
    250.0,
    50.0,
    12.0,
    3.0,
    1.0,
    0.3,
)  # noise levels, from where a clip begins to where it is all but done
OPPOSITE = {"left": "right", "right": "left", "rising": "sinking", "sinking": "rising"}
LOG = "log.jsonl"


def opposite(scene: Scene) -> Scene:
    """The same words but for the direction, which is turned round."""
    return replace(scene, motion=" ".join(OPPOSITE.get(word, word) for word in scene.motion.split()))


def travelling(world: World, combinations: Sequence[Combination], count: int, seed: int = 1) -> list[Scene]:
    """Scenes of held-out combinations whose subject goes somewhere, each in turn until there are `count`."""
    rng = random.Random(seed)
    going = [c for c in combinations if Scene(*c, "", "").direction != (0, 0)]
    going = rng.sample(going, len(going))
    return [
        Scene(*c, *rng.choice(world.contexts(c[0])), seed=rng.getrandbits(31))
        for c in itertools.islice(itertools.cycle(going), count)
    ]


class Gauge:
    """A fixed set of held-out clips, and what a model makes of them in one step.

    num_frames, fps  of the clips; 1 is for the image model
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        num_frames: int,
        fps: float,
        size: int,
        device: str = "cpu",
        seed: int = 2,
    ) -> None:
        rng, latest = random.Random(seed), SECONDS - num_frames / fps
        starts = [rng.uniform(0, max(0.0, latest)) for _ in scenes]
        clips = [
            render([s], num_frames, size, size, fps, start, device=device)
            for s, start in zip(scenes, starts, strict=True)
        ]
        self.scenes, self.clips = list(scenes), torch.cat(clips) * 2 - 1  # (N, 3, T, H, W)
        frame = torch.arange(num_frames, device=device) / fps
        self.when = (torch.tensor(starts, device=device)[:, None] + frame) / SECONDS
        self.generator = torch.Generator(device)

    @torch.inference_mode()
    def one_step(self, model: Lumiere, sigma: float, scenes: Sequence[Scene], batch: int) -> Iterator[Tensor]:
        """x0 of the noised clips in one step, by these scenes' captions. Yields `(3, T, H, W)`."""
        process, device = Process(model.spec.diffusion), self.clips.device
        context = model.text.encode([scene.caption for scene in scenes])
        level = torch.tensor(sigma, device=device)
        self.generator.manual_seed(3)  # the same noise each time
        for i in range(0, len(scenes), batch):
            clips = self.clips[i : i + batch]
            noise = torch.randn(clips.shape, generator=self.generator, device=device)
            x = clips + level * process.shared(noise)
            told = {"context": context[i : i + batch], "when": self.when[i : i + batch]}
            t = time_of(level).expand(len(clips))
            scaled = process.scaled(x, level)
            with torch.autocast(device.type, torch.bfloat16):
                if model.spec.temporal is None:
                    out = model.network(scaled[:, :, 0], t, **told)[:, :, None]
                else:
                    out = model.network(scaled, t, **told)
            yield from process.x0(out.float(), x, level)

    def measure(self, model: Lumiere, batch: int = 8) -> dict[str, dict[str, float]]:
        """Figures by noise level.

        error    mean squared error of x0
        gap      by how much the opposite direction word makes it worse; 0 is a model that does not read it
        boiling  mean frame difference of x0 over that of the true clips; clips only
        """
        true = self.clips.diff(dim=2).abs().mean().item() if self.clips.shape[2] > 1 else 0.0
        figures: dict[str, dict[str, float]] = {"error": {}, "gap": {}, "boiling": {}}
        for sigma in LEVELS:
            made = torch.stack(list(self.one_step(model, sigma, self.scenes, batch)))
            turned = torch.stack(list(self.one_step(model, sigma, [opposite(s) for s in self.scenes], batch)))
            error, other = ((x0 - self.clips).square().mean().item() for x0 in (made, turned))
            figures["error"][f"{sigma:g}"] = round(error, 5)
            figures["gap"][f"{sigma:g}"] = round(other / error - 1, 4)
            if true:
                figures["boiling"][f"{sigma:g}"] = round(made.diff(dim=2).abs().mean().item() / true, 3)
        return figures


def append(folder: Path, facts: dict[str, Any]) -> None:
    """Add a line to the run's log."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
