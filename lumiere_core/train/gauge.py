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
import torch.nn.functional as F
from torch import Tensor

from ..diffusion.process import Process, time_of
from ..media.measure import psnr
from ..model.checkpoint import Lumiere
from .data import SECONDS, DrawClips
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


@torch.inference_mode()
def one_step(model: Lumiere, clips: Tensor, level: Tensor, noise: Tensor, **told: Tensor) -> Tensor:
    """x0 of clips noised to `level`, predicted in one step. `(B, 3, T, H, W) -> (B, 3, T, H, W)`

    clips  in [-1, 1]
    level  noise level, a scalar or `(B,)`
    noise  of each frame by itself
    told   what the network reads beside clip and time
    """
    process = Process(model.spec.diffusion)
    level = level.expand(len(clips))
    wide = level.view(-1, 1, 1, 1, 1)
    x = clips + wide * process.shared(noise)
    scaled, t = process.scaled(x, wide), time_of(level)
    with torch.autocast(clips.device.type, torch.bfloat16):
        if model.spec.temporal is None:
            out = model.network(scaled[:, :, 0], t, **told)[:, :, None]
        else:
            out = model.network(scaled, t, **told)
    return process.x0(out.float(), x, wide)


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

    def made(self, model: Lumiere, sigma: float, scenes: Sequence[Scene], batch: int) -> Iterator[Tensor]:
        """x0 of the noised clips in one step, by these scenes' captions. Yields `(3, T, H, W)`."""
        context = model.text.encode([scene.caption for scene in scenes])
        level = torch.tensor(sigma, device=self.clips.device)
        self.generator.manual_seed(3)  # the same noise each time
        for i in range(0, len(scenes), batch):
            clips, part = self.clips[i : i + batch], slice(i, i + batch)
            noise = torch.randn(clips.shape, generator=self.generator, device=clips.device)
            yield from one_step(model, clips, level, noise, context=context[part], when=self.when[part])

    def measure(self, model: Lumiere, batch: int = 8) -> dict[str, dict[str, float]]:
        """Figures by noise level.

        error    mean squared error of x0
        gap      by how much the opposite direction word makes it worse; 0 is a model that does not read it
        boiling  mean frame difference of x0 over that of the true clips; clips only
        """
        true = self.clips.diff(dim=2).abs().mean().item() if self.clips.shape[2] > 1 else 0.0
        figures: dict[str, dict[str, float]] = {"error": {}, "gap": {}, "boiling": {}}
        for sigma in LEVELS:
            made = torch.stack(list(self.made(model, sigma, self.scenes, batch)))
            turned = torch.stack(list(self.made(model, sigma, [opposite(s) for s in self.scenes], batch)))
            error, other = ((x0 - self.clips).square().mean().item() for x0 in (made, turned))
            figures["error"][f"{sigma:g}"] = round(error, 5)
            figures["gap"][f"{sigma:g}"] = round(other / error - 1, 4)
            if true:
                figures["boiling"][f"{sigma:g}"] = round(made.diff(dim=2).abs().mean().item() / true, 3)
        return figures


def bicubic(clip: Tensor, scale: int) -> Tensor:
    """Every frame enlarged. `(B, 3, T, h, w) -> (B, 3, T, scale h, scale w)`"""
    frames = clip.transpose(1, 2).flatten(0, 1)
    large = F.interpolate(frames, scale_factor=float(scale), mode="bicubic")
    return large.unflatten(0, (len(clip), -1)).transpose(1, 2)


class EnlargingGauge:
    """Fixed held-out pairs, small and large, and what super-resolution makes of the small ones in one step.

    draw  clips of one subject and place with their small versions: every second one exact, the others spoilt
    """

    def __init__(self, scenes: Sequence[Scene], draw: DrawClips, device: str = "cpu", seed: int = 2) -> None:
        rng = random.Random(seed)
        # Each scene twice: exact and spoilt. The exact ones come first.
        drawn = [draw([scene, scene], rng) for scene in scenes]
        self.captions = [scene.caption for scene in scenes] * 2
        self.clips, self.small = (
            torch.cat([torch.cat([getattr(pair, name)[i::2] for pair in drawn]) for i in (0, 1)]).to(device)
            * 2
            - 1
            for name in ("clips", "small")
        )
        self.generator = torch.Generator(device)

    @torch.inference_mode()
    def measure(self, model: Lumiere, batch: int = 4) -> dict[str, dict[str, float]]:
        """Figures by kind of small clip, `exact` and `spoilt`.

        gain     PSNR over that of bicubic enlargement, in dB
        boiling  mean frame difference over that of the true clips
        """
        self.generator.manual_seed(3)
        level = torch.tensor(model.spec.diffusion.sigma_max, device=self.clips.device)
        made = []
        for i in range(0, len(self.clips), batch):
            clips, small = self.clips[i : i + batch], self.small[i : i + batch]
            noise = torch.randn(clips.shape, generator=self.generator, device=clips.device)
            told = {
                "context": model.text.encode(self.captions[i : i + batch]),
                "low_res": small,
                "noise_level": torch.zeros(len(clips), device=clips.device),
            }
            made.append(one_step(model, clips, level, noise, **told))
        ours, smooth = torch.cat(made), bicubic(self.small, model.spec.scale)
        figures: dict[str, dict[str, float]] = {"gain": {}, "boiling": {}}
        for name, part in (("exact", slice(0, len(ours) // 2)), ("spoilt", slice(len(ours) // 2, None))):
            true = self.clips[part]
            gain = psnr(ours[part], true) - psnr(smooth[part], true)
            figures["gain"][name] = round(gain, 3)
            change = ours[part].diff(dim=2).abs().mean() / true.diff(dim=2).abs().mean()
            figures["boiling"][name] = round(change.item(), 3)
        return figures


def append(folder: Path, facts: dict[str, Any]) -> None:
    """Add a line to the run's log."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
