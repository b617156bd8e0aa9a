"""Runs inside ComfyUI's own interpreter: what is known of a clip, from node to network. Prints one JSON object.

    COMFYUI_PATH=... <ComfyUI's python> tests/host/inside_condition.py

`test_condition.py` starts it and asserts on the figures. Weights are random: what is held here is the wiring.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
from inside import Pack, apart, comfy, core  # noqa: E402, I001  (first: it puts the host on the path)
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

FRAMES, SIZE, STEPS = 16, 32, 4
PROMPTS = "a red fish", "blue"


def clip() -> Tensor:
    """IMAGE: a smooth pattern that travels, its brightness told by the frame. `(T, H, W, 3)`"""
    time = torch.arange(FRAMES).view(-1, 1, 1, 1) / FRAMES
    y, x = torch.meshgrid(torch.arange(SIZE) / SIZE, torch.arange(SIZE) / SIZE, indexing="ij")
    pattern = torch.stack([x, y, (x + y) / 2], dim=-1)[None]
    return (0.6 * ((pattern + time) % 1.0) + 0.3 * time).clamp(0, 1)


def box(moving: bool = False) -> Tensor:
    """MASK: a box, `(1, H, W)`, or one that goes right a pixel in a frame, `(T, H, W)`."""
    mask = torch.zeros(FRAMES if moving else 1, SIZE, SIZE)
    for frame in range(len(mask)):
        mask[frame, 8:20, 4 + frame : 16 + frame] = 1
    return mask


# task -> what its node is given: pictures, widgets, mask
TASKS: dict[str, tuple[Tensor, str, Tensor | None]] = {
    "first frame": (clip()[:1], "0", None),
    "first and last frame": (clip()[[0, -1]], "0", None),
    "chosen frames": (clip()[[0, 5]], "3, 11", None),
    "extend": (clip(), "6", None),
    "extend before": (clip(), "6", None),
    "bridge": (clip()[:8], "0", None),
    "cinemagraph": (clip()[:1], "0", box()),
    "inpaint": (clip(), "0", box(moving=True)),
}
CASES: dict[str, tuple[str, tuple, dict]] = {
    "whole": ("", (), {}),
    "windows": ("MultiDiffusion", (8, 2, "triangle", False, True), {"window": 8, "overlap": 2}),
    "loop": ("Loop", (5,), {"loop": True}),
}


def random_pack(pack: Pack, channels: int = 4, prediction: str = "v") -> tuple[Pack, Any]:
    """The pack with a small random model of its own, and the same weights in the engine."""
    config, checkpoint = map(pack.module, ("lumiere_core.config", "lumiere_core.model.checkpoint"))
    spec = config.PRESETS["tiny"]
    words = tuple(sorted({word for text in PROMPTS for word in text.split()}))
    spec = config.replace(
        spec,
        num_frames=FRAMES,
        size=SIZE,
        text=config.replace(spec.text, vocabulary=words),
        temporal=config.replace(spec.temporal, condition_channels=channels),
        diffusion=config.replace(spec.diffusion, prediction=prediction),
    )
    torch.manual_seed(0)
    engine = checkpoint.Lumiere(spec).eval()
    for p in engine.parameters():
        p.data.normal_(std=0.15)
    weights = checkpoint.Weights(spec, engine.state_dict(), "", "", Path("random.safetensors"), "")
    tiny = copy.copy(pack)
    tiny.model = pack.module("nodes.host.model").make_model(weights)
    tiny.clip = pack.module("nodes.host.clip").make_clip(weights)
    tiny.vae = pack.module("nodes.host.vae").PixelVAE(spec)
    return tiny, engine


def masked(pack: Pack, task: str) -> tuple[dict, Tensor, Tensor]:
    """LATENT, MASK and IMAGE of a task, by *Masked Latent*."""
    image, places, mask = TASKS[task]
    return pack.run("MaskedLatent", pack.vae, image, task, FRAMES, places, 8, 1.0, mask)[:3]


def task_of(pack: Pack, latent: dict) -> Any:
    """The engine's condition of a LATENT with a mask."""
    condition = pack.module("lumiere_core.diffusion.condition")
    return condition.Condition(latent["samples"], 1 - latent["noise_mask"])


def by_core(
    model: Any, yes: list, no: list, latent: dict, sampler: str = "dpmpp_2m", denoise: float = 1.0
) -> Tensor:
    made = core.common_ksampler(
        model, 5, STEPS, 3.0, sampler, "sgm_uniform", yes, no, latent, denoise=denoise
    )
    return made[0]["samples"]


def by_core_alone(pack: Pack, model: Any, yes: list, no: list, latent: dict) -> Tensor:
    """As the core makes it where nothing of a known frame is carried on."""
    with swapped(pack.module("nodes.host.controls"), "carried", lambda x0, *_: x0):
        return by_core(model, yes, no, latent)


@contextmanager
def swapped(module: Any, name: str, value: Any) -> Iterator[None]:
    """Another function of this name in a module, for a while."""
    was = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, was)


def by_engine(pack: Pack, engine: Any, task: Any, **settings: Any) -> Tensor:
    generate = pack.module("lumiere_core.generate")
    chosen = {"steps": STEPS, "cfg_scale": 3.0, "rescale": 0.0, "seed": 5, **settings}
    return generate.text_to_video(engine, *PROMPTS, generate.Settings(**chosen), task=task)


def parity(pack: Pack) -> dict:
    """The engine, our sampler and the core's make one clip of every task, whichever way the core is told of it."""
    tiny, engine = random_pack(pack)
    yes, no = map(tiny.encode, PROMPTS)
    report: dict = {}
    for task in TASKS:
        latent, mask, source = masked(tiny, task)
        for case, (node, values, settings) in CASES.items():
            if case != "whole" and task not in ("first frame", "inpaint"):
                continue
            (model,) = tiny.run(node, tiny.model, *values) if node else (tiny.model,)
            alone = by_engine(tiny, engine, task_of(tiny, latent), **settings)
            ours = tiny.run("Sample", model, yes, no, latent, 5, STEPS, 3.0, "dpmpp_2m")[0]["samples"]
            encoded = core.VAEEncode().encode(tiny.vae, source)[0]
            theirs = by_core(model, yes, no, core.SetLatentNoiseMask().set_mask(encoded, mask)[0])
            told = core.InpaintModelConditioning().encode(yes, no, source, tiny.vae, mask)
            known = (latent["noise_mask"] == 0).expand_as(ours)
            report[f"{task} {case}"] = {
                "engine": apart(alone, theirs),
                "own": apart(ours, theirs),
                "inpaint model conditioning": apart(by_core(model, *told), theirs),
                "spread": float(theirs[~known].std()),
                "known": float(known.float().mean()),
                "kept by the engine": torch.equal(alone[known], latent["samples"][known]),
                "kept by our sampler": torch.equal(ours[known], latent["samples"][known]),
            }
            if case == "whole":  # the same noise and prompt, held as before, but the network is told nothing
                deaf = by_core(random_deaf(model), yes, no, latent)
                report[f"{task} {case}"]["told"] = apart(deaf, theirs)
            if task == "first frame":
                report[f"{task} {case}"]["carried"] = apart(
                    by_core_alone(tiny, model, yes, no, latent), theirs
                )
    return report


def saying_x0(pack: Pack) -> dict:
    """A network that says x0, as the small presets' do: from text alone by every sampler, and beside known pixels."""
    tiny, engine = random_pack(pack, prediction="x0")
    yes, no = map(tiny.encode, PROMPTS)
    (empty,) = tiny.run("EmptyVideo", SIZE, SIZE, FRAMES)
    size = {"num_frames": FRAMES, "width": SIZE, "height": SIZE}
    latent = masked(tiny, "inpaint")[0]
    report: dict = {}
    for name, given, sampler, task, settings in (
        ("text euler", empty, "euler", None, size),
        ("text ddim", empty, "ddim", None, size),
        ("text dpmpp_2m", empty, "dpmpp_2m", None, size),
        ("inpaint", latent, "dpmpp_2m", task_of(tiny, latent), {}),
    ):
        theirs = by_core(tiny.model, yes, no, given, sampler)
        ours = tiny.run("Sample", tiny.model, yes, no, given, 5, STEPS, 3.0, sampler)[0]["samples"]
        alone = by_engine(tiny, engine, task, sampler=sampler, **settings)
        report[name] = {
            "engine": apart(alone, theirs),
            "own": apart(ours, theirs),
            "spread": float(theirs.std()),
        }
    return report


def edits(pack: Pack) -> dict:
    """A clip changed at a strength, at another one inside a region, and held in part: all three make one clip."""
    tiny, engine = random_pack(pack)
    yes, no = map(tiny.encode, PROMPTS)
    encoded = core.VAEEncode().encode(tiny.vae, clip())[0]
    grey = {
        **encoded,
        "noise_mask": torch.lerp(torch.tensor(0.37), torch.tensor(1.0), box(moving=True))[None, None],
    }
    some = {
        **encoded,
        "noise_mask": grey["noise_mask"] * (torch.arange(SIZE) < 20),
    }  # the right side is known
    each = differential_diffusion(tiny.model)
    report: dict = {}
    for name, latent, model, settings in (
        ("strength", encoded, tiny.model, {}),
        ("held in part", grey, tiny.model, {}),
        ("two strengths", grey, each, {"each_its_own": True}),
        ("two strengths beside known", some, each, {"each_its_own": True}),
    ):
        mask = latent.get("noise_mask", torch.ones(1, 1, 1, 1, 1))
        task = task_of(tiny, {**latent, "noise_mask": mask})
        theirs = by_core(model, yes, no, latent, denoise=0.7)
        ours = tiny.run("Sample", model, yes, no, latent, 5, STEPS, 3.0, "dpmpp_2m", 0.7)[0]["samples"]
        report[name] = {
            "engine": apart(by_engine(tiny, engine, task, strength=0.7, **settings), theirs),
            "own": apart(ours, theirs),
            "changed": apart(theirs, encoded["samples"]),
            "whole": apart(theirs, by_core(model, yes, no, latent)),
        }
    return report


def differential_diffusion(model: Any) -> Any:
    """The MODEL behind the core's node, whichever API it is written in."""
    asyncio.run(core.init_builtin_extra_nodes())
    node = core.NODE_CLASS_MAPPINGS["DifferentialDiffusion"]
    return node.execute(model).args[0] if hasattr(node, "define_schema") else node().apply(model)[0]


def random_deaf(model: Any) -> Any:
    """The MODEL, whose network is not told the condition."""
    model = model.clone()

    def without(call: Callable, given: dict) -> Tensor:
        named = {name: value for name, value in given["c"].items() if name != "condition"}
        return call(given["input"], given["timestep"], **named)

    model.set_model_unet_function_wrapper(without)
    return model


@contextmanager
def copying(pack: Pack) -> Any:
    """A network that says what it is told is known: C, blank where nothing is."""
    network = pack.module("lumiere_core.model.stunet").SpaceTimeUNet
    was = network.forward

    def forward(self: Any, x: Tensor, t: Tensor, context: Tensor, condition: Any = None, *_: Any, **__: Any):
        return condition[:, :3] if condition is not None else torch.zeros_like(x)

    network.forward = forward
    try:
        yield
    finally:
        network.forward = was


def copies(pack: Pack) -> dict:
    """C comes back where M = 1, and blank elsewhere, though no sampler holds a pixel: the network was told.

    The engine holds pixels, always; that it carries them on is left out here.
    """
    tiny, engine = random_pack(pack, prediction="x0")
    yes, no = map(tiny.encode, PROMPTS)
    report: dict = {}
    with (
        copying(tiny),
        swapped(pack.module("lumiere_core.generate"), "carrying", lambda denoise, *_: denoise),
    ):
        for task in ("inpaint", "first frame"):
            latent, mask, source = masked(tiny, task)
            wanted = task_of(tiny, latent).blanked
            told = core.InpaintModelConditioning().encode(yes, no, source, tiny.vae, mask, noise_mask=False)
            for case, (node, values, settings) in CASES.items():
                (model,) = tiny.run(node, tiny.model, *values) if node else (tiny.model,)
                report[f"{task} {case} core"] = apart(by_core(model, *told, "euler"), wanted)
                ours = tiny.run("Sample", model, *told, 5, STEPS, 3.0, "dpmpp_2m")[0]["samples"]
                report[f"{task} {case} own"] = apart(ours, wanted)
                report[f"{task} {case} engine"] = apart(
                    by_engine(tiny, engine, task_of(tiny, latent), **settings), wanted
                )
            # The core's own context windows cut the clip; the condition has to be cut with it.
            model = tiny.model.clone()
            model.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
                context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
                fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
                context_length=8,
                context_overlap=2,
                dim=2,
            )
            report[f"{task} core windows"] = apart(by_core(model, *told, "euler"), wanted)
            report[f"{task} spread"] = float(wanted.std())
        # A picture for the beginning of an empty clip: what is not given is unknown.
        still = core.InpaintModelConditioning().encode(
            yes, no, clip()[:1], tiny.vae, torch.zeros(1, SIZE, SIZE), noise_mask=False
        )
        (empty,) = tiny.run("EmptyVideo", SIZE, SIZE, FRAMES)
        made = by_core(tiny.model, still[0], still[1], empty, "euler")
        report["picture in an empty clip"] = apart(made[:, :, :1], tiny.vae.encode(clip()[:1]))
        report["rest of an empty clip"] = float(made[:, :, 1:].abs().max())
        two = {"samples": empty["samples"].repeat(2, 1, 1, 1, 1)}
        both = by_core(tiny.model, still[0], still[1], two, "euler")
        report["batch of two"] = apart(both, made.expand_as(both))
    return report


def keeping(pack: Pack) -> dict:
    """Known pixels are exact after any sampler, and a model that is not told of them says so."""
    tiny, _ = random_pack(pack)
    yes, no = map(tiny.encode, PROMPTS)
    latent, mask, source = masked(tiny, "cinemagraph")
    known = mask == 0
    report: dict = {}
    for sampler in comfy.samplers.KSampler.SAMPLERS:
        image = core.VAEDecode().decode(tiny.vae, {"samples": by_core(tiny.model, yes, no, latent, sampler)})[
            0
        ]
        (kept,) = tiny.run("KeepPixels", image, source, mask, 0)
        report[f"before {sampler}"] = float((image - source).abs().amax(-1)[known].max())
        report[f"after {sampler}"] = torch.equal(kept[known], source[known])
    module, said = tiny.module("nodes.host.model"), []
    was, module.show_here = module.show_here, said.append
    try:
        plain, engine = random_pack(pack, channels=0)
        by_core(plain.model, yes, no, latent)
        report["said"] = " ".join(said)
        try:
            by_engine(plain, engine, task_of(plain, latent))
        except ValueError as error:
            report["refused"] = str(error)
    finally:
        module.show_here = was
    return report


def photos(pack: Pack) -> dict:
    """On a picture larger than the model: the region is cut out, made, enlarged and stitched, and the rest stays."""
    tiny, _ = random_pack(pack)
    yes, no = map(tiny.encode, PROMPTS)
    seen, module = [], tiny.module("nodes.condition")
    was, module.show_here = module.show_here, seen.append
    photo = torch.rand(1, 150, 260, 3, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 150, 260)
    mask[:, 40:100, 120:210] = 1
    report: dict = {}
    for task, given in (("cinemagraph", mask), ("first frame", None)):
        latent, change, source, region = tiny.run(
            "MaskedLatent", tiny.vae, photo, task, 6, "0", 8, 1.0, given
        )
        made = tiny.run("Sample", tiny.model, yes, no, latent, 5, 2, 1.0, "euler")[0]
        (image,) = core.VAEDecode().decode(tiny.vae, made)
        known = {"source": source, "mask": change, "region": region}
        (large,) = tiny.run("Upscale", image, 9, 1, 4, 1, 0.05, **known, whole=False)
        (whole,) = tiny.run("Stitch", large, region, source, change, 4, False)
        (at_once,) = tiny.run("Upscale", image, 9, 1, 4, 1, 0.05, **known)
        report[task] = {
            "latent": list(latent["samples"].shape[2:]),
            "large": list(large.shape[:3]),
            "whole": list(whole.shape[:3]),
            "at once": torch.equal(at_once, whole),
            "first": torch.equal(at_once[:1], photo),
            "source": list(source.shape[:3]),
            "kept": torch.equal(whole[change == 0], source[change == 0]),
            "moved": float((whole - source).abs().amax(-1)[change == 1].mean()),
        }
    report["said"] = list(seen)
    seen.clear()
    for shade, name in ((0.0, "black"), (1.0, "white")):
        flat = torch.full((1, 150, 260), shade)
        _, change, source, region = tiny.run("MaskedLatent", tiny.vae, photo, "inpaint", 6, "0", 8, 1.0, flat)
        report[name] = [float(change.mean()), seen.pop()]
        if name == "black":
            made = torch.rand(6, 150, 260, 3)
            (kept,) = tiny.run("KeepPixels", made, source, change, 0)
            (back,) = tiny.run("Stitch", made, region, source, change, 4, False)
            report["black"].append(torch.equal(kept, source) and torch.equal(back, source))
    grey = torch.zeros(1, 150, 260)
    grey[:, 40:100, 120:210] = 0.5
    latent, change, source, region = tiny.run(
        "MaskedLatent", tiny.vae, photo, "inpaint", 6, "0", 8, 1.0, grey
    )
    black = torch.zeros(6, 64, 64, 3)
    (mixed,) = tiny.run("Stitch", black, region, source, change, 0, False)
    painted = (grey == 0.5).expand(6, -1, -1)
    report["grey"] = {
        "latent": sorted(latent["noise_mask"].unique().tolist()),
        "mixed": float((mixed - source / 2).abs().amax(-1)[painted].max()),
    }
    seen.clear()
    tiny.run("MaskedLatent", pack.vae, photo, "first frame", 6, "0", 8, 1.0)
    report["far"] = seen.pop()
    drawn = pack.run("ExampleInput", "balloon (drawn picture)")[0]
    tiny.run("MaskedLatent", pack.vae, drawn, "first frame", 6, "0", 8, 1.0)
    report["near"] = seen.pop()
    host, told = pack.module("nodes.host.vae"), []
    speak, host.show_here = host.show_here, told.append
    core.VAEEncode().encode(pack.vae, photo)
    host.show_here = speak
    report["by the core"] = " ".join(told)
    module.show_here = was
    return report


def enlarging(pack: Pack) -> dict:
    """Known pixels in super-resolution: our node, the core's KSampler and the engine alone."""
    checkpoint, generate, condition = map(
        pack.module,
        ("lumiere_core.model.checkpoint", "lumiere_core.generate", "lumiere_core.diffusion.condition"),
    )
    image, source = clip()[:8, :16, :16], clip()[:8].repeat(1, 2, 2, 1)
    mask = torch.zeros(8, 64, 64)
    mask[:, 10:40, 20:50] = 1
    engine = checkpoint.load(checkpoint.bundled("ssr"))
    task = condition.Condition(pack.vae.encode(source), 1 - mask[None, None])
    settings = generate.Settings(steps=2, window=6, seed=9)
    alone = generate.upscale(engine, pack.vae.encode(image), "", settings, noise_level=0.05, task=task)
    (alone,) = core.VAEDecode().decode(pack.vae, {"samples": alone})
    (node,) = pack.run("Upscale", image, 9, 2, 6, 2, 0.05, source=source, mask=mask)
    (free,) = pack.run("Upscale", image, 9, 2, 6, 2, 0.05)
    ssr, words, vae = pack.run(
        "LoadModel", pack.nodes["Lumiere_LoadModel"].define_schema().inputs[0].options[1]
    )
    (ssr,) = pack.run("MultiDiffusion", ssr, 6, 2, "triangle", False, False)
    (nothing,) = core.CLIPTextEncode().encode(words, "")
    told = pack.run("UpscaleConditioning", ssr, nothing, nothing, image, 0.05, 9, source=source, mask=mask)
    (sampled,) = core.common_ksampler(ssr, 9, 2, 1.0, "dpmpp_2m", "sgm_uniform", *told)
    (theirs,) = core.VAEDecode().decode(vae, sampled)
    known = mask == 0
    return {
        "engine": 255 * float((node - alone).abs().max()),
        "core": 255 * float((node - theirs).abs().max()),
        "kept": float((node - source).abs().amax(-1)[known].max()),
        "kept by the engine": float((alone - source).abs().amax(-1)[known].max()),
        "acts inside": 255 * float((node - free).abs().amax(-1)[~known].max()),
    }


def editing(pack: Pack) -> dict:
    """*Edit a Clip* before the core KSampler and ours: strengths, fitting, and what is said of it."""
    tiny, _ = random_pack(pack)
    yes, no = map(tiny.encode, PROMPTS)
    seen, module = [], tiny.module("nodes.condition")
    was, module.show_here = module.show_here, seen.append
    report: dict = {}
    for name, strength, inside, mask in (
        ("one", 0.6, 0.9, None),
        ("two", 0.3, 0.9, box(moving=True)),
        ("inside alone", 0.0, 0.7, box()),
    ):
        model, latent, denoise, change, source, region, fps = tiny.run(
            "EditClip", tiny.model, tiny.vae, clip(), strength, inside, 0, 16.0, 16.0, mask
        )
        theirs = by_core(model, yes, no, latent, denoise=denoise)
        ours = tiny.run("Sample", model, yes, no, latent, 5, STEPS, 3.0, "dpmpp_2m", denoise)[0]["samples"]
        painted = torch.ones(FRAMES, SIZE, SIZE) if mask is None else mask.expand(FRAMES, -1, -1)
        moved = (ours - latent["samples"]).abs().amax(1)[0]
        report[name] = {
            "own": apart(ours, theirs),
            "denoise": denoise,
            "inside": float(moved[painted == 1].mean()),
            "outside": float(moved[painted == 0].mean()) if mask is not None else 0.0,
            "kept": torch.equal(ours[:, :, change == 0], latent["samples"][:, :, change == 0]),
            "mask": "noise_mask" in latent,
            "region": [region.crop_width, region.crop_height],
        }
    seen.clear()
    long = torch.rand(30, 90, 150, 3, generator=torch.Generator().manual_seed(3))
    _, latent, _, _, source, region, fps = tiny.run(
        "EditClip", tiny.model, tiny.vae, long, 0.5, 0.5, 20, 30.0, 16.0
    )
    report["fitted"] = [list(latent["samples"].shape[2:]), list(source.shape[:3]), fps, seen.pop()]
    report["frame"] = float((source[8] - long[15]).abs().max())
    module.show_here = was
    return report


def main() -> dict:
    with torch.inference_mode():
        pack = Pack()
        parts = (parity, saying_x0, edits, copies, keeping, photos, enlarging, editing)
        return {part.__name__: part(pack) for part in parts}


if __name__ == "__main__":
    print("REPORT " + json.dumps(main()))
