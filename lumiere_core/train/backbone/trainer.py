"""Temporal layers over a frozen image model: the network, what it is trained on, and the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...config import TemporalSpec
from ...diffusion.process import PREDICTIONS
from ...model.animatediff.files import open_motion
from ...model.animatediff.network import BETAS, MotionModules, sigmas_of
from ...model.backbones.families import X4, UNetFile
from ...model.backbones.trained import (
    Trained,
    TrainedSpec,
    is_trained,
    read_trained,
    save_trained,
    sizes_of,
    strides_for,
    temporal_for,
    trained_spec,
)
from ...model.container import NoDraws
from ...model.stunet import SpaceTimeUNet, new_temporal
from ...model.temporal import ATTENTION_INFLATION, ConvInflation, TemporalDown, TemporalUp
from ...model.unet import UNet
from ..trainer import Training
from .clips import Shape
from .encoding import Encoded, EncodedClip

LR = 1e-4  # AnimateDiff's
EMPTY_CAPTION = 0.1  # share of clips trained without their caption, for guidance
SMALL_LEVELS = 350  # steps of noise that the x4 upscaler's small picture may have
GAUGED = 0.05, 0.25, 0.5, 0.75, 0.95  # places in the table of noise levels
TEMPORAL_LAYERS = (ConvInflation, TemporalDown, TemporalUp, *ATTENTION_INFLATION.values())


# ---------------------------------------------------------------------------------------------------------- network
class Beginning(NamedTuple):
    """What is trained, and its first values, `{"temporal.input_blocks...": tensor}`."""

    spec: TrainedSpec
    tensors: dict[str, Tensor]


def beginning(file: UNetFile, shape: Shape, source: Path | None) -> Beginning:
    """What is trained for a checkpoint.

    source: a motion file, whose coarsest modules are where it begins, or temporal layers that were trained before;
    None: layers that change nothing yet. Raises ValueError for a checkpoint or a file that does not fit.
    """
    unet, family = file.spec, file.family
    if unet.in_channels != (7 if family is X4 else 4):
        raise ValueError(
            f"{file.path.name} is {family.name} with {unet.in_channels} channels in, but temporal layers are trained "
            "over those that have 4: SD1.5, SD2 and SDXL. What is trained on SD1.5 fits its inpainting checkpoint, too."
        )
    temporal = TemporalSpec(strides=strides_for(unet), condition_channels=0)
    spec = TrainedSpec(
        base=family.name,
        channels=unet.channels,
        blocks=unet.blocks,
        embed_dim=unet.embed_dim,
        context_dim=unet.context_dim,
        temporal=temporal,
        window=shape.frames,
        fps=shape.fps,
    )
    if source is None:
        return Beginning(spec, new_temporal(unet, temporal))
    begin = from_trained if is_trained(source) else from_motion
    return begin(spec, file, source)


def from_trained(spec: TrainedSpec, file: UNetFile, source: Path) -> Beginning:
    """Layers that were trained before go on, with what they learnt at."""
    before: Trained = read_trained(source)
    there = before.spec
    if there.base != spec.base or not there.fits(file.spec):
        raise ValueError(
            f"{source.name} holds {there.name} ({sizes_of(there)}), but the backbone is {spec.base} "
            f"({sizes_of(spec)}). Start from a file for that, or leave --from out."
        )
    spec = replace(spec, temporal=there.temporal, betas=there.betas)
    return Beginning(spec, {name: t.float() for name, t in before.tensors.items()})


def from_motion(spec: TrainedSpec, file: UNetFile, source: Path) -> Beginning:
    """AnimateDiff's modules of the coarsest level, and its noise levels."""
    motion = open_motion(source)
    if motion.spec.base != spec.base or motion.spec.channels != spec.channels:
        raise ValueError(
            f"{source.name} is a motion file for {motion.spec.base} ({motion.spec.name}, levels of "
            f"{', '.join(map(str, motion.spec.channels))} channels), but the backbone is {spec.base} "
            f"({sizes_of(spec)}). Start from a file for that, or leave --from out."
        )
    with torch.device("meta"), NoDraws():
        modules = MotionModules(motion.spec)
    modules.to_empty(device="cpu")
    motion.load(modules)
    temporal = temporal_for(file.spec, motion.spec)
    spec = replace(spec, temporal=temporal, betas=motion.spec.betas)
    return Beginning(spec, new_temporal(file.spec, temporal, modules))


def over_frozen(unet: UNet, start: Beginning, device: str) -> SpaceTimeUNet:
    """A Space-Time U-Net over an image model's own weights, which stay; `temporal.*` alone learns."""
    with torch.device("meta"), NoDraws():
        network = SpaceTimeUNet(unet.spec, start.spec.temporal)
    network.load_state_dict({**unet.state_dict(), **start.tensors}, assign=True)
    for name, p in network.named_parameters():
        p.requires_grad_(name.startswith("temporal."))
    return network.to(device, memory_format=torch.channels_last)


def forgetful(network: SpaceTimeUNet) -> None:
    """Let every layer forget what it computed, and compute it again for the gradient (Chen et al. 1604.06174).

    What has to be held is then what goes from layer to layer. The gradient is the same.
    """
    blocks = [*network.input_blocks, network.middle_block, *network.output_blocks]
    layers = [layer for block in blocks for layer in block]
    layers += [layer for layer in network.temporal.modules() if isinstance(layer, TEMPORAL_LAYERS)]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)


# ------------------------------------------------------------------------------------------------------------- loss
def one_context(rows: Sequence[Tensor]) -> Tensor:
    """Prompts `(L, D)` of several lengths as one tensor `(B, L', D)`, each repeated: attention gives the same."""
    length = math.lcm(*(len(r) for r in rows))
    return torch.stack([r.repeat(length // len(r), 1) for r in rows])


def noised_loss(
    network: nn.Module,
    batch: Sequence[EncodedClip],
    sigmas: Tensor,
    steps: Tensor,
    noise: Tensor,
    prediction: str,
) -> Tensor:
    """Mean squared error of what the network says of noised clips, for each of them. `(B,)`

    sigmas  the table of noise levels, steps `(B,)` places in it, which is what the network is told
    noise   `(B, C, T, h, w)`
    """
    device = noise.device

    def clips(frames: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(frames)).to(device, torch.float32).transpose(1, 2)  # (B, C, T, h, w)

    x0, sigma = clips(clip.latents for clip in batch), sigmas[steps].view(-1, 1, 1, 1, 1)
    x = (x0 + sigma * noise) / (1 + sigma**2).sqrt()
    if batch[0].small is not None:
        x = torch.cat([x, clips(clip.small for clip in batch)], 1)
    labels = [clip.label for clip in batch if clip.label is not None]
    context = one_context([clip.context.float() for clip in batch]).to(device)
    made = network(x, steps.float(), context, label=torch.stack(labels).to(device) if labels else None)
    error = made.float() - PREDICTIONS[prediction][1](x0, noise, sigma)
    return error.square().mean(dim=(1, 2, 3, 4))


def with_noise(clip: EncodedClip, level: Tensor, noise: Tensor) -> EncodedClip:
    """What the x4 upscaler is shown: the small clip with noise, of one draw for all frames, and how much as the label.

    level `()`, a step of its own table, below `SMALL_LEVELS`; noise `(3, h, w)`
    """
    sigma = sigmas_of(BETAS[X4.betas]()).float().to(level.device)[level]
    small = (clip.small.to(noise) + sigma * noise) / (1 + sigma**2).sqrt()
    return replace(clip, small=small, label=level)


# -------------------------------------------------------------------------------------------------------------- run
class BackboneTrainer(Training):
    """One run over a frozen image model.

    network   from `over_frozen`, and `forgetful` where memory is short
    spec      what it is for; `made_for` names the checkpoint
    encoded   the clips: all that has `clips`, `unseen` and `silence` as an `Encoded` will do
    """

    def __init__(
        self,
        network: SpaceTimeUNet,
        spec: TrainedSpec,
        made_for: str,
        encoded: Encoded,
        folder: Path,
        minutes: float,
        batch: int = 1,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.network, self.spec, self.made_for = network, spec, made_for
        self.unseen, self.silence, self.batch = encoded.unseen, encoded.silence, batch
        table = sigmas_of(BETAS[spec.betas]()) if spec.betas else self.silence.sigmas
        self.sigmas = table.to(device, torch.float32)
        learnt = {name: p for name, p in network.named_parameters() if p.requires_grad}
        super().__init__(folder, learnt, LR, minutes, device, seed)
        self.clips = encoded.clips(seed + self.step)

    def check_resumed(self, facts: dict[str, Any]) -> None:
        begun = facts.get("made_for")
        if begun != self.made_for or trained_spec(facts.get("spec")) != self.spec:
            what = (
                "other settings" if begun == self.made_for else f"{self.made_for}: it was begun over {begun}"
            )
            raise ValueError(
                f"{self.folder} cannot go on with {what}. Name what it was begun with, or another run with --name."
            )

    def facts(self) -> dict[str, Any]:
        return {"spec": asdict(self.spec), "made_for": self.made_for}

    def loss(self) -> Tensor:
        batch = [self.shown(self.captioned(clip)) for clip in islice(self.clips, self.batch)]
        steps = torch.randint(
            len(self.sigmas), (len(batch),), generator=self.generator, device=self.sigmas.device
        )
        noise = self.noise_for(batch)
        return noised_loss(self.network, batch, self.sigmas, steps, noise, self.silence.prediction).mean()

    def captioned(self, clip: EncodedClip) -> EncodedClip:
        """A clip, or the same without its caption."""
        chance = torch.rand((), generator=self.generator, device=self.sigmas.device)
        if chance >= EMPTY_CAPTION:
            return clip
        return replace(clip, context=self.silence.context, label=self.silence.label)

    def shown(self, clip: EncodedClip) -> EncodedClip:
        """A clip as the network is given it: the x4 upscaler's small one with some noise."""
        if clip.small is None:
            return clip
        draw = {"generator": self.generator, "device": self.sigmas.device}
        level = torch.randint(SMALL_LEVELS, (), **draw)
        return with_noise(clip, level, torch.randn(clip.small.shape[1:], **draw))

    def noise_for(self, batch: Sequence[EncodedClip]) -> Tensor:
        t, c, h, w = batch[0].latents.shape
        return torch.randn((len(batch), c, t, h, w), generator=self.generator, device=self.sigmas.device)

    @torch.no_grad()
    def measured(self) -> dict[str, Any]:
        """The mean loss of clips never trained on, by the place in the table of noise levels, always the same noise."""
        kept, found = self.generator.get_state(), {}
        for place in GAUGED if self.unseen else ():
            self.generator.manual_seed(3)
            steps = torch.tensor([round(place * (len(self.sigmas) - 1))], device=self.sigmas.device)
            with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                losses = [
                    noised_loss(
                        self.network,
                        [self.shown(clip)],
                        self.sigmas,
                        steps,
                        self.noise_for([clip]),
                        self.silence.prediction,
                    )
                    for clip in self.unseen
                ]
            found[f"at {place:g}"] = round(torch.cat(losses).mean().item(), 5)
        self.generator.set_state(kept)
        return {"unseen": found}

    def write(self, path: Path, license: str, trained_on: str) -> None:
        """The averaged layers, as *Inflate* takes them."""
        averaged = dict(zip(self.names, self.ema, strict=True))
        buffers = {n: t for n, t in self.network.state_dict().items() if n.startswith("temporal.")}
        save_trained(path, self.spec, {**buffers, **averaged}, license=license, trained_on=trained_on)
