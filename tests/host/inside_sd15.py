"""Runs inside ComfyUI's own interpreter: an inpainting checkpoint with motion, and graphs of SD1.5. Prints JSON.

`test_sd15.py` starts it. The image models are the host's own classes, a few channels wide, with random weights; so are
the motion file and the VAE.
"""

from __future__ import annotations

import json
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from inside import PACK, Pack, core, sentence  # noqa: E402, I001  (first: it puts the host on the path)
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from inside_inflate import OWN, SD15, WIDTHS, Files, apart, drawn, noise, prompt  # noqa: E402
from inside_masks import SAVING, host_nodes, run_graph, to_prompt, watching  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from standins import Text, model_of  # noqa: E402
from torch import Tensor  # noqa: E402

BASE, STYLE, PAINT = (
    f"{name}.safetensors"
    for name in ("v1-5-pruned-emaonly-fp16", "DreamShaper_8_pruned", "sd-v1-5-inpainting")
)
MOTION = "mm_sd15_v3.safetensors"
FRAMES, SIDE, STEPS = 6, 64, 2
PAINTED = {"on the grid": (16, 48, 8, 40), "off the grid": (13, 46, 11, 37)}  # top, bottom, left, right
TASKS = {"inpaint": "", "cinemagraph": "", "first frame": "", "chosen frames": "0, 3"}
MIX = [[0.9, 0.2, -0.1], [-0.3, 0.8, 0.4], [0.1, -0.5, 0.7], [0.3, 0.3, -0.6]]  # of colours, in `FlatVAE`


class FlatVAE:
    """A VAE that anyone can write down: the mean of 8 x 8 pixels in [-1, 1], its colours mixed into four channels.

    They are as large as SD1.5's own, which are 1 / 0.18215 times what the network works on.
    """

    mix = torch.tensor(MIX) / 0.18215

    def encode(self, image: Tensor) -> Tensor:
        return torch.einsum("oc,tchw->tohw", self.mix, F.avg_pool2d(image.movedim(-1, 1) * 2 - 1, 8))

    def decode(self, latent: Tensor) -> Tensor:
        colours = torch.einsum("co,tohw->tchw", torch.linalg.pinv(self.mix), latent)
        return F.interpolate(colours, scale_factor=8).movedim(1, -1).div(2).add(0.5).clamp(0, 1)


def photo(frames: int = 1) -> Tensor:
    return torch.rand(frames, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(1))


def painted(name: str) -> Tensor:
    """What somebody paints, `(1, H, W)`."""
    top, bottom, left, right = PAINTED[name]
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, top:bottom, left:right] = 1
    return mask


def moving() -> Tensor:
    """A region in another place in every frame, a cell further each time, `(8, H, W)`."""
    mask = torch.zeros(8, SIDE, SIDE)
    for frame in range(8):
        mask[frame, :, 8 * frame : 8 * frame + 8] = 1
    return mask


def conditioned(pack: Pack, task: str, mask: Tensor | None, frames: int = FRAMES) -> tuple:
    """*Control and Mask* into the core's InpaintModelConditioning: prompts and LATENT; and the pixels it was shown."""
    images = photo(2 if task == "chosen frames" else 1)
    _, change, source, _ = pack.run("VideoMask", images, task, frames, TASKS[task], 64, 8.0, mask)
    given = core.InpaintModelConditioning().encode(prompt(1), prompt(2), source, FlatVAE(), change, True)
    return given, source, change


def sampled(model: Any, given: tuple, sampler: str = "euler", steps: int = STEPS) -> Tensor:
    positive, negative, latent = given
    return core.common_ksampler(model, 5, steps, 3.0, sampler, "sgm_uniform", positive, negative, latent)[0][
        "samples"
    ]


def rows(call: dict, frames: int) -> Tensor:
    """What the network is given for one prompt of a call, `(T, 9, h, w)`; the same but noise for the other."""
    x = call["x"].unflatten(0, (-1, frames))
    assert bool((x == x[:1]).all())
    return x[0]


def channels(pack: Pack, paint: Any, task: str, name: str) -> dict:
    """The nine channels at the first step, and what they were made of."""
    given, source, change = conditioned(
        pack, task, painted(name) if task in ("inpaint", "cinemagraph") else None
    )
    with watching(paint) as calls:
        made = sampled(paint, given)
    first = rows(calls[0], FRAMES)
    held = F.avg_pool2d(change[:, None], 8) == 0
    return {
        "x": first.tolist(),
        "pixels": source.tolist(),
        "mask": change.tolist(),
        "same at every step": all(bool((rows(c, FRAMES)[:, 4:] == first[:, 4:]).all()) for c in calls),
        "open": [int(frame.sum()) for frame in first[:, 4]],
        "sigma": float(calls[0]["transformer_options"]["sigmas"][0]),
        "held": apart(made[held.expand_as(made)], given[2]["samples"][held.expand_as(made)]),
    }


def followed(pack: Pack, model: Any, frames: int) -> dict:
    """Whether each call's mask channel is that of the frames it shows, with a region that moves."""
    given, _, _ = conditioned(pack, "inpaint", moving(), 8)
    with watching(model) as calls:
        sampled(model, given, steps=4)
    seen = [[int(frame.argmax()) for frame in rows(c, frames)[:, 4].amax(1)] for c in calls]
    levels = [float(c["transformer_options"]["sigmas"][0]) for c in calls]
    return {
        "seen": seen,
        "levels": levels,
        "cells": sorted({int(rows(c, frames)[:, 4].sum()) for c in calls}),
    }


def write_ramp(files: Files, name: str) -> str:
    """A motion file in which a frame's place only grows: nothing that it makes could close by itself."""
    tensors = load_file(files.motion / MOTION)
    for key, t in tensors.items():
        if key.endswith(".pe"):
            tensors[key] = torch.linspace(-2, 2, t.shape[1]).view(1, -1, 1) * noise(1, 1, t.shape[2], seed=1)
    save_file({key: t.contiguous() for key, t in tensors.items()}, files.motion / name)
    return name


def seam(pack: Pack, model: Any) -> float:
    """How far the last frame is from the first in the painted part, in steps from frame to frame.

    All frames have one noise, so that nothing but their place makes them differ.
    """
    positive, negative, latent = conditioned(pack, "inpaint", painted("on the grid"), 16)[0]
    clip = sampled(model, (positive, negative, latent | {"batch_index": [0] * 16}), steps=8)
    steps = (clip.roll(-1, 0) - clip).abs().mean(dim=(1, 2, 3))
    return float(steps[-1] / steps[:-1].mean())


# ------------------------------------------------------------------------------------------------- the shipped graphs
SMALL = {
    "KSampler": {"steps": STEPS},
    "EmptyLatentImage": {"width": 64, "height": 64},
    "Lumiere_CropForRegion": {"size": 128},
}


core_nodes = cache(host_nodes)  # reading them takes seconds
OPEN_ENDED = {"Lumiere_Loop": lambda model, seed: (model,)}  # as if that node were not there


def small_photo() -> tuple[Tensor, Tensor]:
    """Smooth colours and what is painted of them: off any grid, with a soft edge. `(1, H, W, 3)`, `(1, H, W)`"""
    wide = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(4))
    mask = torch.zeros(1, 170, 250)
    mask[:, 63:141, 37:182] = 1
    mask[:, 63:66, 37:182] = 0.5
    return F.interpolate(wide, size=(170, 250), mode="bicubic").clamp(0, 1).movedim(1, -1), mask


def shipped(
    pack: Pack, name: str, models: dict[str, Any], loaded: dict | None = None, **changes: dict
) -> tuple[dict, list, list]:
    """A shipped graph to its frames, with stand-ins for the files it names; what the network got; and those files.

    models: by file; the first one's network is observed. loaded: outputs in place of a node's. changes: of widgets.
    """
    graph = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    files = [m["name"] for node in graph["nodes"] for m in node["properties"].get("models", [])]
    graph["nodes"] = [node for node in graph["nodes"] if node["type"] not in SAVING]
    classes = {**core_nodes(), **pack.nodes}
    used = {node["type"] for node in graph["nodes"]} & set(classes)
    nodes = to_prompt(graph, {kind: {"input": classes[kind].INPUT_TYPES()} for kind in used})
    for node in nodes.values():
        node["inputs"] |= SMALL.get(node["class_type"], {}) | changes.get(node["class_type"], {})
    stand_ins = {
        "CheckpointLoaderSimple": lambda ckpt_name: (models[ckpt_name], Text(), FlatVAE()),
        "Lumiere_ExampleInput": (*small_photo(), 16.0),
    }
    with watching(next(iter(models.values()))) as calls:
        done = run_graph(nodes, classes, {**stand_ins, **(loaded or {})})
    return done, calls, files


def frames_of(calls: list) -> list[int]:
    return sorted({len(c["x"]) // len(c["transformer_options"]["cond_or_uncond"]) for c in calls})


def put_back(done: dict) -> dict:
    """What a graph did to the photo that *Stitch a Region* put its result into."""
    picture, mask = done["Lumiere_ExampleInput"][:2]
    (made,) = done["Lumiere_Stitch"]
    outside, inside = mask[0] == 0, mask[0] == 1
    still = picture[:, outside].expand(len(made), -1, -1)
    return {
        "clip": list(made.shape),
        "photo": list(picture.shape),
        "outside": float((made[:, outside] - still).abs().max()),
        "outside share": float(outside.float().mean()),
        "painted": float((made[:, inside] - picture[:, inside]).abs().max()),
        "moves": float((made[0] - made[len(made) // 2]).abs().max()),
    }


def stylization(pack: Pack, models: dict, mixed: Any) -> dict:
    """The graph as it is and at both ends, beside the same graph with one MODEL in place of the two.

    mixed: a MODEL whose weights are those of the two by hand, as the graph asks for.
    """
    run = partial(shipped, pack, "3_sd15_stylization", models)

    def latents(**changes: Any) -> Tensor:
        return run(**changes)[0]["KSampler"][0]["samples"]

    done, calls, files = run()
    made = [
        done["KSampler"][0]["samples"],
        *(latents(Lumiere_StyleInterpolate={"alpha": a}) for a in (0.0, 1.0)),
    ]
    alone = [latents(loaded={"Lumiere_StyleInterpolate": (model,)}) for model in (mixed, *models.values())]
    return {
        "files": files,
        "frames": list(done["VAEDecode"][0].shape),
        "seen": frames_of(calls),
        "like one": [apart(a, b) for a, b in zip(made, alone, strict=True)],
        "unlike the ends": [apart(made[0], end) for end in made[1:]],
    }


def cinemagraph(pack: Pack, paint: Any, plain: Any) -> dict:
    """The graph as it is; without its loop; with an ordinary checkpoint in place of the inpainting one."""
    run = partial(shipped, pack, "3_sd15_cinemagraph", KSampler={"steps": 4})  # fewer have no 0.8 of them
    done, calls, files = run({PAINT: paint})
    mask = done["Lumiere_VideoMask"][1]
    network = torch.stack([rows(c, len(mask))[:, 4] for c in calls])
    cells = F.interpolate(mask[:, None], size=network.shape[-2:], mode="bilinear").round()[:, 0]
    open_ended = run({PAINT: paint}, OPEN_ENDED)[0]
    ordinary, its_calls, _ = run({PAINT: plain})
    return {
        **put_back(done),
        "files": files,
        "seen": frames_of(calls),
        "channels": sorted({c["x"].shape[1] for c in calls}),
        "mask": float((network - cells).abs().max()),
        "open": cells.mean(dim=(1, 2)).tolist(),
        "sigma": float(calls[0]["transformer_options"]["sigmas"][0]),
        "loop": apart(*(graph["KSampler"][0]["samples"] for graph in (done, open_ended))),
        "ordinary": put_back(ordinary) | {"channels": sorted({c["x"].shape[1] for c in its_calls})},
    }


def refined(pack: Pack, plain: Any) -> dict:
    """The graph as it is, at other strengths, and without its loop."""
    run = partial(shipped, pack, "3_motion_brush_refined_sd15", {BASE: plain})
    done, calls, files = run()
    draft = done["Lumiere_MotionBrush"][0]
    made, latent = done["KSampler"][0]["samples"], done["Lumiere_EditClip"][1]
    held = (latent["noise_mask"] == 0).expand_as(made)
    drafted = {"Lumiere_MotionBrush": done["Lumiere_MotionBrush"]}
    weaker = run(drafted, Lumiere_EditClip={"inside": 0.2})[0]
    open_ended = run(drafted | OPEN_ENDED)[0]

    def from_draft(graph: dict) -> float:
        made, draft = graph["KSampler"][0]["samples"], graph["Lumiere_EditClip"][1]["samples"]
        return float((made - draft)[~held].abs().mean() / draft[~held].std())

    return {
        **put_back(done),
        "files": files,
        "seen": frames_of(calls),
        "draft": list(draft.shape),
        "denoise": done["Lumiere_EditClip"][2],
        "sigma": float(calls[0]["transformer_options"]["sigmas"][0]),
        "held": apart(made[held], latent["samples"][held]),
        "held share": float(held.float().mean()),
        "from the draft": [from_draft(graph) for graph in (weaker, done)],
        "loop": apart(*(graph["KSampler"][0]["samples"] for graph in (done, open_ended))),
    }


def main() -> None:
    pack = Pack()
    files = Files(pack)
    files.write(MOTION)
    files.write("still.safetensors", scale=0.0)
    files.write("sdxl.safetensors", widths=WIDTHS[3])
    plain, styled, mixed = (drawn(model_of("SD15", **SD15)) for _ in range(3))
    for there, here in zip(
        *(m.model.diffusion_model.parameters() for m in (styled, mixed)), strict=True
    ):  # a fine-tune
        there += (
            0.3
            * torch.randn(there.shape, generator=torch.Generator().manual_seed(there.numel()))
            * (there.std() if there.ndim > 1 else 0.1)
        )
        here.lerp_(there, 0.6)
    paint = drawn(model_of("SD15", **{**SD15, "in_channels": 9}))

    def moved(model: Any, name: str = MOTION) -> Any:
        return pack.run("Inflate", model, name, 1.0, OWN)[0]

    report: dict[str, Any] = {"noise levels": float(paint.get_model_object("model_sampling").sigma_max)}
    for task in TASKS:
        for name in PAINTED if task in ("inpaint", "cinemagraph") else ("on the grid",):
            report[f"{task} {name}"] = channels(pack, moved(paint), task, name)
    given, _, _ = conditioned(pack, "inpaint", painted("on the grid"))
    alone = sampled(paint, given)
    report["still"] = apart(sampled(moved(paint, "still.safetensors"), given), alone)
    report["moves"] = apart(sampled(moved(paint), given), alone)
    report["again"] = apart(sampled(paint, given), alone)

    # One mask a frame: windows and loops show the network those of the frames that it sees
    report["windows"] = followed(
        pack, pack.run("MultiDiffusion", moved(paint), 4, 2, "flat", False, False)[0], 4
    )
    report["loop"] = followed(pack, pack.run("Loop", moved(paint), 3)[0], 8)
    report["shifts"] = [
        pack.module("lumiere_core.diffusion.windows").shift_of(3, level, 8)
        for level in report["loop"]["levels"]
    ]

    never = moved(paint, write_ramp(files, "ramp.safetensors"))
    report["seam"] = [seam(pack, model) for model in (pack.run("Loop", never, 3)[0], never)]

    # The shipped graphs
    report["3_sd15_stylization"] = stylization(pack, {BASE: plain, STYLE: styled}, mixed)
    report["3_sd15_cinemagraph"] = cinemagraph(pack, paint, plain)
    report["3_motion_brush_refined_sd15"] = refined(pack, plain)

    long = conditioned(pack, "inpaint", painted("on the grid"), 33)[0]
    empty = torch.zeros(1, SIDE, SIDE)
    report["refused"] = {
        "base": sentence(lambda: moved(paint, "sdxl.safetensors")),
        "frames": sentence(lambda: sampled(moved(paint), long)),
        "nothing painted": sentence(lambda: pack.run("CropForRegion", photo(), empty, 0.25, 16, 512)),
        "no mask": sentence(lambda: pack.run("VideoMask", photo(), "inpaint", 16, "0", 64, 8.0, None)),
    }
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
