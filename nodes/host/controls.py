"""Lumiere's controls on any MODEL: windows, loop and guidance, for every sampler.

All settings are kept on the MODEL as one `Control`. The wrappers that read it are the same for every node and are added
once, so the order of the nodes on the graph does not matter. No function of ComfyUI is replaced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from comfy.samplers import calc_cond_batch
from torch import Tensor

from ...lumiere_core.config import DiffusionSpec, ModelSpec, replace
from ...lumiere_core.diffusion.carrying import carried
from ...lumiere_core.diffusion.condition import Condition
from ...lumiere_core.diffusion.guidance import rescaled, thresholded
from ...lumiere_core.diffusion.inversion import going_on
from ...lumiere_core.diffusion.joining import GUIDED_ABOVE, is_joined, levelled, livelier, seen_twice
from ...lumiere_core.diffusion.process import Process
from ...lumiere_core.diffusion.windows import (
    Area,
    Each,
    Windows,
    cut,
    fuse,
    fuse_tiles,
    moments,
    shared_free_noise,
)
from .notify import check_interrupt

KEY = "lumiere"
TICKS = (
    10**6
)  # to the whole clip: the host keeps whole numbers whole, where it would round a time to half precision
SHOWN = "lumiere_frames"  # in a window's options: which frames of the clip it shows `(w,)`, and of how many
AREA = "lumiere_area"  # in a tile's options: its rows and columns, and the height and width of the whole
GUIDED = "lumiere_guided"  # in a run's options: the noise level down to which guidance acts
LIVE = "lumiere_live"  # in a step's options: for which frames a prompt is, by the host's id of it


@dataclass(frozen=True)
class Control:
    """The settings on a MODEL. The default changes nothing."""

    windows: Windows = Windows()
    rescale: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)  # shares of sampling between which guidance acts
    quantile: float = 0.0  # dynamic thresholding; 0 is off
    free_noise: bool = False  # windows share their noise
    tile: int | None = None  # cells of the LATENT's sides that a call sees; None is the whole frame
    each: Each | None = None  # called after each window


def ticks(num_frames: int, spec: ModelSpec, loop: bool = False) -> Tensor:
    """Where each frame lies in the clip that the MODEL knows, in ticks. `(1, 1, T, 1, 1)` int64"""
    return (moments(num_frames, spec.num_frames, loop) * TICKS).round().long()


def control_of(model_options: dict) -> Control:
    return model_options.get("transformer_options", {}).get(KEY, Control())


def controlled(model: Any, **changes: Any) -> Any:
    """A clone of the MODEL with these fields of its `Control` changed. Raises ValueError beside core windows."""
    refuse_core_windows(model.model_options)
    model = model.clone()
    options = model.model_options.setdefault("transformer_options", {})
    options[KEY] = replace(control_of(model.model_options), **changes)
    for kind, wrapper in (
        (WrappersMP.PREPARE_SAMPLING, prepare),
        (WrappersMP.SAMPLER_SAMPLE, start),
        (WrappersMP.PREDICT_NOISE, predict),
        (WrappersMP.CALC_COND_BATCH, note_live),
        (WrappersMP.APPLY_MODEL, apply),
    ):
        model.remove_wrappers_with_key(kind, KEY)
        model.add_wrapper_with_key(kind, KEY, wrapper)
    if finish not in model.model_options.get("sampler_post_cfg_function", []):
        model.set_model_sampler_post_cfg_function(finish)
    return model


def refuse_core_windows(model_options: dict) -> None:
    if model_options.get("context_handler") is not None:
        raise ValueError(
            "this MODEL already has ComfyUI's own context windows. Remove that node or the Lumiere one: two sets of "
            "windows on one MODEL would cut each other."
        )


# ----------------------------------------------------------------------------------------------- a clip's frames
class TimeAxis:
    """Where the frames are in a batch of ComfyUI: `(N * B, C, T, H, W)`, or frames as batch `(N * T, C, H, W)`.

    N counts the prompts that run together. Raises ValueError for a MODEL without a time axis, and for one picture as a
    batch unless `still`.
    """

    def __init__(self, x: Tensor, prompts: int, still: bool = False) -> None:
        self.size, self.prompts, self.as_batch = x.shape[0], prompts, x.ndim == 4
        self.frames = x.shape[2] if x.ndim == 5 else x.shape[0] // prompts
        if x.ndim not in (4, 5) or (self.as_batch and self.frames < 2 and not still):
            raise ValueError(
                f"the LATENT has the shape {tuple(x.shape)}, which has no frames to cut or to roll. Give the sampler a "
                "clip: a video latent, or a batch of frames for an image MODEL."
            )

    def clip(self, x: Tensor, prompts: int) -> Tensor:
        """As `(N * B, C, T, H, W)`, a view."""
        return x.unflatten(0, (prompts, -1)).transpose(1, 2) if self.as_batch else x

    def batch(self, x: Tensor) -> Tensor:
        """A clip as the host has it."""
        return x.transpose(1, 2).flatten(0, 1) if self.as_batch else x

    def rows(self, x: Tensor, rows: list[int]) -> Tensor:
        """The clips of these prompts. `(N * B, ...) -> (len(rows) * B, ...)`"""
        return x if len(rows) == self.prompts else x.unflatten(0, (self.prompts, -1))[rows].flatten(0, 1)

    def spread(self, x: Tensor, rows: list[int]) -> Tensor:
        """The inverse of `rows`, zeros for the others."""
        if len(rows) == self.prompts:
            return x
        whole = x.new_zeros(self.prompts, x.shape[0] // len(rows), *x.shape[1:])
        whole[rows] = x.unflatten(0, (len(rows), -1))
        return whole.flatten(0, 1)

    def cut(self, value: Any, frames: Tensor, rows: list[int]) -> Any:
        """The window's frames of these prompts, in tensors, lists and dicts. Values without frames stay as they are."""
        if isinstance(value, dict):
            return {name: self.cut(v, frames, rows) for name, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.cut(v, frames, rows) for v in value)
        if not torch.is_tensor(value) or value.ndim == 0:
            return value
        if value.shape[0] == self.size:  # per prompt, and per frame where frames are the batch
            value = self.rows(value, rows)
            if self.as_batch:
                value = (
                    value.unflatten(0, (len(rows), -1)).index_select(1, frames.to(value.device)).flatten(0, 1)
                )
        if not self.as_batch:
            value = cut(value, frames, self.frames)
        return value


def apply(
    executor: Any,
    x: Tensor,
    t: Tensor,
    c_concat: Tensor | None = None,
    c_crossattn: Tensor | None = None,
    control: Any = None,
    transformer_options: dict | None = None,
    **conds: Any,
) -> Tensor:
    """The MODEL's x0, averaged over windows of frames and tiles. A window does not run prompts for other frames."""
    options = transformer_options or {}
    setting: Control = options.get(KEY, Control())
    tile = setting.tile
    if setting.windows == Windows() and tile is None and not options.get(LIVE):
        return executor(x, t, c_concat, c_crossattn, control, options, **conds)

    prompts = options.get("cond_or_uncond", [0])
    uuids = options.get("uuids", [None] * len(prompts))
    live = [options.get(LIVE, {}).get(uuid) for uuid in uuids]
    axis = TimeAxis(x, len(prompts), still=tile is not None)
    spec = getattr(executor.class_obj, "lumiere", None)
    if setting.windows.roll is not None and "when" in conds:
        conds["when"] = ticks(axis.frames, spec, loop=True).to(conds["when"]).expand_as(conds["when"])

    def one(part: Tensor, frames: Tensor, area: Area | None) -> Tensor:
        check_interrupt()
        rows = [i for i, shown in enumerate(live) if shown is None or bool(shown[frames.cpu()].any())]
        if not rows:
            return torch.zeros_like(part)
        given = {"t": t, "c_concat": c_concat, "c_crossattn": c_crossattn, "control": control, **conds}
        chosen = {"cond_or_uncond": [prompts[i] for i in rows], "uuids": [uuids[i] for i in rows]}
        chosen[SHOWN] = frames, axis.frames
        if area:
            given = cut_area(given, area, x.shape[-2:])
            chosen[AREA] = (*area, *x.shape[-2:])
        given = axis.cut(given, frames, rows)
        named = [given.pop(name) for name in ("t", "c_concat", "c_crossattn", "control")]
        out = axis.clip(
            executor(axis.batch(axis.rows(part, rows)), *named, {**options, **chosen}, **given), len(rows)
        )
        return axis.spread(out, rows)

    level = float(t.flatten()[0]) if setting.windows.roll is not None else 0.0
    parts = setting.windows.parts(axis.frames, level, spec.temporal.time_factor if spec else 1)

    def over_time(clip: Tensor, area: Area | None = None) -> Tensor:
        return fuse(lambda part, frames: one(part, frames, area), clip, parts, setting.each)

    clip = axis.clip(x, len(prompts))
    return axis.batch(over_time(clip) if tile is None else fuse_tiles(over_time, clip, tile))


def cut_area(value: Any, area: Area, size: torch.Size) -> Any:
    """A tile of each tensor of the whole frame's size `(..., H, W)`, in lists and dicts too; the rest as it is."""
    if isinstance(value, dict):
        return {name: cut_area(v, area, size) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(cut_area(v, area, size) for v in value)
    if not torch.is_tensor(value) or value.ndim < 4 or value.shape[-2:] != size:
        return value
    rows, columns = (where.to(value.device) for where in area)
    return value.index_select(-2, rows).index_select(-1, columns)


def note_live(
    executor: Any, model: Any, conds: list, x: Tensor, timestep: Tensor, model_options: dict
) -> Any:
    """Tell `apply` which frames each prompt is for, read from the prompts' masks."""
    entries = (
        entry for prompt in conds for entry in prompt or () if "mask" in entry and "default" not in entry
    )
    live = {entry["uuid"]: frames_shown(entry["mask"], x) for entry in entries}
    live = {uuid: shown for uuid, shown in live.items() if shown is not None}
    if live:
        options = {**model_options.get("transformer_options", {}), LIVE: live}
        model_options = {**model_options, "transformer_options": options}
    return executor(model, conds, x, timestep, model_options)


def frames_shown(mask: Tensor, x: Tensor) -> Tensor | None:
    """The frames `(T,)` in which a prompt's mask is not empty; None for a mask that is the same in all of them.

    x `(B, C, T, H, W)` with a mask `(1, T, H, W)`, or frames as batch `(T, C, H, W)` with a mask `(T, H, W)`.
    """
    over_time = mask[0] if x.ndim == 5 and mask.ndim == 4 else mask
    frames = x.shape[2] if x.ndim == 5 else x.shape[0]
    if over_time.ndim != 3 or over_time.shape[0] != frames or frames < 2:
        return None
    return (over_time.flatten(1).amax(dim=1) > 0).cpu()


def prepare(executor: Any, patcher: Any, noise_shape: Any, *args: Any, **kwargs: Any) -> Any:
    """Reserve memory for one window or tile, and the dozen whole clips that sampler and host hold (measured: 13)."""
    refuse_core_windows(kwargs.get("model_options") or patcher.model_options)
    shape, control = list(noise_shape), control_of(patcher.model_options)
    window, tile = control.windows.window, control.tile
    if (window or tile) and len(shape) in (4, 5):
        axis = 2 if len(shape) == 5 else 0
        whole = math.prod(shape)
        if tile:
            shape[-2:] = (min(tile, n) for n in shape[-2:])
        most = math.ceil(
            shape[axis] * whole / math.prod(shape)
        )  # frames of a tile that are as much as the clip
        shape[axis] = min(window or shape[axis], shape[axis])
        one_frame = patcher.model.memory_required(shape) / shape[axis]
        canvas = math.ceil(7 * 4 * whole / one_frame)  # the host doubles it for two prompts
        shape[axis] = min(most, shape[axis] + canvas)
    return executor(patcher, shape, *args, **kwargs)


def start(
    executor: Any, wrapped: Any, sigmas: Tensor, extra: dict, callback: Any, noise: Tensor, *rest: Any
) -> Any:
    """Before the sampler sees the noise: windows share theirs, and it goes on from known frames."""
    control = control_of(extra.get("model_options", {}))
    window, overlap = control.windows.window, control.windows.overlap
    if control.free_noise and window and noise.ndim in (4, 5):
        axis = TimeAxis(noise, 1)
        spec = getattr(getattr(wrapped, "inner_model", None), "lumiere", None)
        process = Process(spec.diffusion if spec else DiffusionSpec())
        # A Lumiere MODEL shares noise over the whole clip when the sampler begins; windows share the first one's.
        noise = axis.batch(process.unshared(shared_free_noise(process, axis.clip(noise, 1), window, overlap)))
    tasks = tasks_of(wrapped, sigmas, noise, *rest)
    if tasks:
        noise = gone_on(wrapped, control, noise, tasks)
        process = Process(wrapped.inner_model.lumiere.diffusion)
        begun = torch.cat([process.shared(draw[None]) for draw in noise])
        extra = {**extra, "model_options": with_tasks(extra.get("model_options", {}), tasks, begun)}
    return executor(wrapped, sigmas, extra, callback, noise, *rest)


def tasks_of(
    guider: Any,
    sigmas: Tensor,
    noise: Tensor,
    clip: Tensor | None = None,
    mask: Tensor | None = None,
    *_: Any,
) -> list[Condition]:
    """What is known of each clip of the batch, where a base model of ours samples it from pure noise; else nothing."""
    model = guider.inner_model
    spec = getattr(model, "lumiere", None)
    if spec is None or spec.kind != "base" or noise.ndim != 5 or clip is None or mask is None:
        return []
    if float(sigmas[0]) < 0.999 * float(model.model_sampling.sigma_max):
        return []
    given, change = clip.expand_as(noise), mask.expand_as(noise)
    return [Condition(one[None], 1 - part[None, :1]) for one, part in zip(given, change, strict=True)]


def gone_on(guider: Any, control: Control, noise: Tensor, tasks: list[Condition]) -> Tensor:
    """The host's own draw for clips that begin with the noise behind their known frames, as the engine has it."""
    model, prompts = guider.inner_model, guider.conds.get("positive")
    spec, rows = model.lumiere, prompts[0].get("model_conds", {}).get("c_crossattn") if prompts else None
    if rows is None:
        return noise
    process = Process(spec.diffusion)
    times = ticks(noise.shape[2], spec, control.windows.roll is not None).to(noise.device)

    def alone(x: Tensor, sigma: Tensor, places: list[int]) -> Tensor:
        told = {"c_crossattn": rows.cond[:1].to(x).expand(len(places), -1, -1), "transformer_options": {}}
        if spec.unet.timed_width:
            told["when"] = times[0, 0, places][:, None, None]  # (K, 1, 1, 1, 1)
        return model.apply_model(x, sigma.expand(len(places)), **told)

    shared = [process.shared(draw[None]) for draw in noise]
    return torch.cat(
        [process.unshared(going_on(alone, process, *one)) for one in zip(tasks, shared, strict=True)]
    )


def with_tasks(model_options: dict, tasks: list[Condition], noise: Tensor) -> dict:
    """Options of a MODEL whose x0, after guidance, goes on with what is known of each clip and joins it, as the engine
    has it. noise: what the sampler begins with `(B, C, T, H, W)`.
    """
    closed = control_of(model_options).windows.roll is not None
    joins = any(map(is_joined, tasks))
    batch = Condition(torch.cat([task.clip for task in tasks]), torch.cat([task.known for task in tasks]))

    def known_to(x0: Tensor, sigma: Tensor) -> Tensor:
        pairs = zip(x0.split(1), tasks, strict=True)
        clips = [carried(livelier(clip, sigma, task), sigma, task, closed) for clip, task in pairs]
        return levelled(torch.cat(clips), sigma, batch) if joins else torch.cat(clips)

    def carry(args: dict[str, Any]) -> Tensor:
        def again(x: Tensor, sigma: Tensor) -> Tensor:
            made = calc_cond_batch(args["model"], [args["cond"]], x, sigma, args["model_options"])
            return known_to(made[0], sigma)

        x0 = known_to(args["denoised"], args["sigma"])
        return seen_twice(x0, args["sigma"], batch, noise, again) if joins else x0

    options = model_options.get("transformer_options", {})
    return {
        **model_options,
        "transformer_options": {**options, GUIDED: GUIDED_ABOVE if joins else 0.0},
        "sampler_post_cfg_function": [*model_options.get("sampler_post_cfg_function", []), carry],
    }


# ------------------------------------------------------------------------------------------------------ guidance
def predict(
    executor: Any, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed: int | None = None
) -> Any:
    """Switch guidance off outside its interval. The negative prompt is then not run, which halves the cost."""
    guider, sigma, scales = executor.class_obj, float(timestep.flatten()[0]), {}
    lowest = (model_options or {}).get("transformer_options", {}).get(GUIDED, 0.0)
    if sigma < lowest or not in_interval(guider, sigma):
        scales = {name: getattr(guider, name) for name in ("cfg", "cfg1", "cfg2") if hasattr(guider, name)}
    try:
        for name in scales:
            setattr(guider, name, 1.0)
        return executor(x, timestep, model_options or {}, seed)
    finally:
        for name, scale in scales.items():
            setattr(guider, name, scale)


def in_interval(guider: Any, sigma: float) -> bool:
    """Whether guidance acts at this noise level, by the settings on the MODEL."""
    interval = control_of(guider.model_options).interval
    if interval == Control().interval:
        return True
    first, last = (guider.inner_model.model_sampling.percent_to_sigma(share) for share in interval)
    return last <= sigma <= first


def finish(args: dict[str, Any]) -> Tensor:
    """Rescale and threshold the x0 of the whole clip; frames as batch are one clip."""
    setting, x0, reference = control_of(args["model_options"]), args["denoised"], args["cond_denoised"]
    as_clip = (lambda v: v[None]) if x0.ndim == 4 else (lambda v: v)
    out = as_clip(x0)
    if setting.rescale and args["cond_scale"] != 1:
        out = rescaled(out, as_clip(reference), setting.rescale)
    if setting.quantile:
        out = thresholded(out, setting.quantile)
    return out[0] if x0.ndim == 4 else out
