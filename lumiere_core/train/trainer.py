"""One training loop for all that is trained for hours: timed, resumable (see `state`), stopped cleanly by a signal.

`Training` is the loop; `Trainer` puts a stage of the recipe into it, `backbone/trainer.py` a checkpoint of one's own.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from ..config import ModelSpec, from_dict, to_dict
from ..model.checkpoint import Lumiere, read
from .data import Pool
from .gauge import append, travelling
from .stages import Phase, Stage, freeze, spec_for
from .state import averaged, load_state, save_state
from .world.scenes import WORLDS, held_out_list, vocabulary

SAVE_EVERY = 120.0  # seconds
GAUGE_EVERY = 300.0  # seconds


class Training:
    """A run in one folder: what learns, its average over time, the optimizer, and the clock.

    folder   where its states and its log go
    learnt   what is trained, by name
    lr       of the plateau
    minutes  length of the whole run, over all resumptions
    ema      decay of the average, which is what is kept in the end

    A kind of run says what it learns from (`loss`), what its states say of it (`facts`, held against those of a run
    that goes on by `check_resumed`), and what its log does (`measured`).
    """

    def __init__(
        self,
        folder: Path,
        learnt: dict[str, nn.Parameter],
        lr: float,
        minutes: float,
        device: str,
        seed: int,
        ema: float = 0.999,
    ) -> None:
        self.folder, self.device, self.seed = folder, device, seed
        self.lr, self.minutes, self.decay = lr, minutes, ema
        self.names, self.trained = list(learnt), list(learnt.values())
        self.ema = [p.detach().clone() for p in self.trained]
        # 0.99 for the squares, as EDM2 has it: PyTorch's 0.999 averages over 1000 steps, long for runs of thousands.
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
        self.generator = torch.Generator(device).manual_seed(seed + 1)
        self.step, self.seconds, self.losses = 0, 0.0, []
        self.resume()

    # What a kind of run says
    def loss(self) -> Tensor:
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        raise NotImplementedError

    def check_resumed(self, facts: dict[str, Any]) -> None:
        raise NotImplementedError

    def measured(self) -> dict[str, Any]:
        raise NotImplementedError

    def kept(self) -> dict[str, Tensor]:
        """What a state holds beside what is trained, by name."""
        return {}

    def before_step(self) -> None:
        """What has to be ready for the next step."""

    def after_step(self) -> None:
        """What follows each step."""

    # States
    def resume(self) -> None:
        state = load_state(self.folder)
        if state is None:
            return
        tensors, facts = state
        self.check_resumed(facts)
        self.step, self.seconds = facts["step"], facts["seconds"]
        self.generator.manual_seed(self.seed + 1 + self.step)
        with torch.no_grad():
            for name, p, ema in zip(self.names, self.trained, self.ema, strict=True):
                p.copy_(tensors[f"raw.{name}"])
                ema.copy_(tensors[f"ema.{name}"])
                self.optimizer.state[p] = {
                    "step": torch.tensor(float(self.step), device=p.device),
                    "exp_avg": tensors[f"m.{name}"].to(p),
                    "exp_avg_sq": tensors[f"v.{name}"].to(p),
                }

    def save(self) -> None:
        tensors: dict[str, Tensor] = {}
        for name, p, ema in zip(self.names, self.trained, self.ema, strict=True):
            # No moments yet where no gradient came: <C, M> rests while clips are made from text alone.
            moments = self.optimizer.state.get(p) or {
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
            tensors |= {
                f"raw.{name}": p,
                f"ema.{name}": ema,
                f"m.{name}": moments["exp_avg"].bfloat16(),
                f"v.{name}": moments["exp_avg_sq"].bfloat16(),
            }
        tensors |= {f"ema.{name}": p for name, p in self.kept().items()}
        save_state(
            self.folder,
            tensors,
            {"step": self.step, "seconds": self.seconds, **self.facts(), "loss": self.recent_loss},
        )

    # Steps
    @property
    def recent_loss(self) -> float:
        return sum(self.losses[-200:]) / max(1, len(self.losses[-200:]))

    @property
    def progress(self) -> float:
        return min(1.0, self.seconds / (60 * self.minutes))

    def learning_rate(self) -> float:
        """A short warm-up, a plateau, and a cosine down to nothing over the second half."""
        fall = max(0.0, (self.progress - 0.5) / 0.5)
        return (
            self.lr * min(1.0, (self.step + 1) / 200) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * fall)))
        )

    def train_step(self) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.trained], 1 - decay)
        self.step += 1
        return loss.item()

    def log(self) -> None:
        """Add what the model is worth now to the run's log. The time it takes is not counted as training."""
        facts = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 2),
            "loss": round(self.recent_loss, 5),
        }
        append(self.folder, {**facts, **self.measured()})

    def run(self) -> Iterator[tuple[float, int, float]]:
        """Train to the end; yields (progress, step, loss). SIGTERM and Ctrl-C save first."""
        stop = []
        before = {s: signal.signal(s, lambda *_: stop.append(True)) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            saved = last = gauged = time.monotonic()
            while self.progress < 1 and not stop:
                self.before_step()
                self.losses.append(self.train_step())
                self.after_step()
                now = time.monotonic()
                self.seconds += min(now - last, 5.0)  # a machine put to sleep has not trained
                last = now
                if now - saved > SAVE_EVERY:
                    self.save()
                    saved = now
                if now - gauged > GAUGE_EVERY:
                    self.log()
                    gauged = last = time.monotonic()
                yield self.progress, self.step, self.losses[-1]
            self.save()
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)


class Trainer(Training):
    """One stage of the recipe in one folder.

    runs     folder of all runs; this stage's is `runs/<stage>`
    preset   a row of config.PRESETS (the base model's sizes)
    world    a row of scenes.WORLDS
    minutes  length of the whole stage, over all resumptions
    source   a weights file to start from, in place of the stage before; a run that has begun goes on from its own state
    """

    def __init__(
        self,
        stage: Stage,
        runs: Path,
        preset: str,
        world: str,
        minutes: float | None = None,
        device: str = "cpu",
        seed: int = 0,
        source: Path | None = None,
    ) -> None:
        self.stage, self.device, self.world = stage, device, WORLDS[world]
        self.exclude = held_out_list(world)
        self.spec = spec_for(stage, preset, vocabulary(self.world))
        torch.manual_seed(seed)
        self.model = Lumiere(self.spec).to(device, memory_format=torch.channels_last)
        self.before: Lumiere | None = None
        if source:
            self.start_from(source, read(source).spec, read(source).tensors)
        elif stage.needs:
            self.start_from(runs / stage.needs, *averaged(runs / stage.needs))
        freeze(stage, self.model)
        learnt = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.phase: Phase | None = None
        super().__init__(
            runs / stage.name, learnt, stage.lr, minutes or stage.minutes, device, seed, stage.ema
        )

    def start_from(self, place: Path, spec: ModelSpec, weights: dict[str, Tensor]) -> None:
        """Take over what was learnt before: a whole model, one without time, or only its text encoder."""
        takes = self.stage.takes if self.stage.needs else ("text.", "network.")
        self.check_same(place, spec, ("text", "unet") if "network." in takes else ("text",))
        mine = self.model.state_dict().keys()
        taken = {k: v for k, v in weights.items() if k.startswith(takes) and k in mine}
        missing, unexpected = self.model.load_state_dict(taken, strict=False)
        assert not unexpected, unexpected
        assert all(k.startswith("network.") for k in missing), missing
        if self.stage.spoils:
            if spec.kind != "base":
                raise ValueError(
                    f"{place} holds a model of the kind {spec.kind}, but super-resolution learns beside a base model, "
                    "whose clips it will enlarge. Name one."
                )
            self.before = Lumiere(spec).eval().requires_grad_(False)
            self.before.load_state_dict(weights)
            self.before.to(self.device, memory_format=torch.channels_last)

    def check_same(self, place: Path, spec: ModelSpec, parts: tuple[str, ...]) -> None:
        """Raises ValueError where weights have other sizes, know other words, or say v where x0 is meant."""
        for part in parts:
            if getattr(spec, part) != getattr(self.spec, part):
                there, here = (
                    f"channels {s.unet.channels} at patch {s.unet.patch}, {len(s.text.vocabulary)} words"
                    for s in (spec, self.spec)
                )
                raise ValueError(
                    f"{place} was made with another preset or world: its {part} differs ({there}; here {here}). Name "
                    "those it was made with, or start from something else."
                )
        there, here = (s.diffusion.prediction for s in (spec, self.spec))
        if "unet" in parts and there != here:
            raise ValueError(
                f"the network in {place} says {there}, but this preset's says {here}. Start from something else."
            )

    def check_resumed(self, facts: dict[str, Any]) -> None:
        self.check_same(self.folder, from_dict(facts.get("spec")), ("text", "unet", "temporal"))

    def facts(self) -> dict[str, Any]:
        return {"spec": to_dict(self.spec)}

    def kept(self) -> dict[str, Tensor]:
        """What stays as it is: `averaged` gives a whole model."""
        return {name: p for name, p in self.model.named_parameters() if not p.requires_grad}

    def enter_phase(self) -> None:
        """Fill the pool of clips for the phase that begins."""
        done = 0.0
        for phase in self.stage.phases:
            done += phase.share
            if self.progress < done or phase is self.stage.phases[-1]:
                break
        if phase is not self.phase:
            self.phase = phase
            draw = self.stage.draw(phase, self.spec, self.before, self.device)
            self.pool = Pool(
                self.world,
                draw,
                self.model.text.tokenizer,
                phase.pool,
                phase.group,
                self.exclude,
                self.seed + self.step,
                self.device,
                phase.fps,
            )
            scenes = travelling(self.world, self.exclude, max(4, self.stage.gauged // phase.num_frames))
            self.gauge = self.stage.gauge(scenes, phase, self.spec, draw, self.device)
            # A quarter to begin with: the rest comes in while training runs.
            while self.pool.filled < phase.pool / 4:
                self.pool.refresh()

    def before_step(self) -> None:
        self.enter_phase()

    def loss(self) -> Tensor:
        batch = self.pool.sample(self.phase.batch)
        return self.stage.loss(self.stage, self.phase, self.model, batch, self.generator)

    def after_step(self) -> None:
        if self.step % self.phase.every == 0:
            self.pool.refresh()

    def measured(self) -> dict[str, Any]:
        return {"frames": self.phase.num_frames, **self.gauge.measure(self.model)}
