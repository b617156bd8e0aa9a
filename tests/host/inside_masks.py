"""Runs inside ComfyUI's own interpreter: what other video models are given of a mask drawn. Prints one JSON object.

    COMFYUI_PATH=... <ComfyUI's python> tests/host/inside_masks.py

`test_masks.py` starts it and asserts on the figures. Masks are the host's: 1 is open, 0 is known.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
from inside import HOST, PACK, Pack, core  # noqa: E402, I001  (first: it puts the host on the path)
import comfy.supported_models  # noqa: E402
import standins  # noqa: E402
import torch  # noqa: E402
from standins import StandIn, on_grid  # noqa: E402
from torch import Tensor  # noqa: E402
from workflow import to_prompt  # noqa: E402

# From here on `server` is the host's and not ours, and `utils` is its folder and not its comfy/utils.py.
sys.path[:] = [folder for folder in sys.path if folder not in (HERE, str(HOST / "comfy"))]

FRAMES, HEIGHT, WIDTH = 17, 96, 160  # 1 + 4 * 4 = 1 + 2 * 8 frames; cells of 8, 16 and 32 pixels fit
STEPS = 2
BOXES = {"on the grid": (32, 64, 64, 128), "off the grid": (41, 75, 50, 101)}  # top, bottom, left, right
TASKS = [(task, box) for task in ("cinemagraph", "inpaint") for box in BOXES]
TASKS += [("first frame", ""), ("first and last frame", "")]
MOVING = "that moves"


def photo() -> Tensor:
    return torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(1))


def box(name: str) -> Tensor | None:
    """The region somebody paints, `(1, H, W)`; the one that moves goes 4 pixels right in a frame, `(T, H, W)`."""
    if not name:
        return None
    if name == MOVING:
        mask = torch.zeros(FRAMES, HEIGHT, WIDTH)
        for frame in range(FRAMES):
            mask[frame, 32:64, 4 * frame : 4 * frame + 32] = 1
        return mask
    top, bottom, left, right = BOXES[name]
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, top:bottom, left:right] = 1
    return mask


def drawn(task: str, region: Tensor | None, last: int = 1) -> Tensor:
    """The mask a task means, `(T, H, W)`, by hand. last: frames that the picture at the end fills."""
    mask = torch.ones(FRAMES, HEIGHT, WIDTH) if region is None else region.expand(FRAMES, -1, -1).clone()
    if task != "inpaint":
        mask[0] = 0
    if task == "first and last frame":
        mask[-last:] = 0
    return mask


# ------------------------------------------------------------------------------------------------ host nodes, by hand
def host_nodes() -> dict[str, Any]:
    """The core's node classes, with its extra ones, by name."""
    asyncio.run(core.init_builtin_extra_nodes())
    return dict(core.NODE_CLASS_MAPPINGS)


def call(node: Any, **inputs: Any) -> tuple:
    """A node's outputs, whichever API it is written in."""
    if hasattr(node, "define_schema"):
        node.hidden = SimpleNamespace(unique_id=None, prompt=None, extra_pnginfo=None)
        return node.execute(**inputs).args
    return getattr(node(), node.FUNCTION)(**inputs)


@contextmanager
def watching(model: Any) -> Iterator[list[dict]]:
    """What the network is given, call by call, while it samples."""
    calls: list[dict] = []

    def note(_: Any, given: tuple, named: dict) -> None:
        calls.append({"x": given[0], "t": given[1], **named})

    hook = model.model.diffusion_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


def sample(model: Any, positive: list, negative: list, latent: dict, cfg: float = 3.0) -> Tensor:
    return core.common_ksampler(model, 5, STEPS, cfg, "euler", "simple", positive, negative, latent)[0][
        "samples"
    ]


def prompts(stand_in: StandIn) -> tuple[list, list]:
    return tuple(core.CLIPTextEncode().encode(stand_in.clip, text)[0] for text in ("calm water", "blurry"))


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def counts(mask: Tensor) -> list[float]:
    """Open cells of each latent frame."""
    return mask.flatten(1).sum(1).tolist()


# --------------------------------------------------------------------- models that take the LATENT's own mask: LTXV, 5B
def levels(model: Any, given: dict) -> Tensor:
    """The noise levels the network is told, as shares of the step's own: `(B, T)` or `(B, T * H * W)`."""
    step = model.get_model_object("model_sampling").timestep(given["transformer_options"]["sigmas"][:1])
    return given["t"].flatten(1) / step


def per_cell(mask: Tensor) -> Tensor:
    return mask.flatten()


def per_frame(mask: Tensor) -> Tensor:
    return mask.mean((1, 2))


def masked_latent(pack: Pack, stand_in: StandIn, task: str, region: Tensor | None) -> dict:
    """From *Masked Latent* through the core KSampler to the network, and back."""
    latent, *_ = pack.run("MaskedLatent", stand_in.vae, photo(), task, FRAMES, "0", 64, 1.0, region)
    with watching(stand_in.model) as calls:
        made = sample(stand_in.model, *prompts(stand_in), latent)
    mask = on_grid(drawn(task, region, stand_in.stride), stand_in.stride, stand_in.cell)
    told = torch.cat([levels(stand_in.model, given) for given in calls])
    means = per_cell if told.shape[1] == mask.numel() else per_frame
    known = (mask == 0).expand_as(made)
    clean = stand_in.model.model.process_latent_in(latent["samples"])
    return {
        "calls": len(calls),
        "mask": max(apart(given["denoise_mask"], mask) for given in calls),
        "open": counts(calls[0]["denoise_mask"][0, 0]),
        "told": apart(told, means(mask)),
        "told as": means.__name__,
        "told each frame": told[0].unflatten(0, (len(mask), -1)).mean(1).tolist(),
        "clean": max(apart(row[known[0]], clean[known]) for given in calls for row in given["x"]),
        "held": apart(made[known], latent["samples"][known]),
        "made": apart(made[~known], latent["samples"][~known]),
    }


# ---------------------------------------------------------------------------------- Wan VACE: a control clip and a mask
def pixels_of(context: Tensor) -> Tensor:
    """The mask in VACE's context `(B, 1, 96, T, h, w)`, its last 64 channels, as pixels `(T, 8 * h, 8 * w)`."""
    mask = context[0, 0, 32:].unflatten(0, (8, 8))  # (8, 8, T, h, w)
    return mask.permute(2, 3, 0, 4, 1).flatten(3, 4).flatten(1, 2)


def control_and_mask(
    pack: Pack, nodes: dict, stand_in: StandIn, task: str, region: Tensor | None
) -> tuple[list, list, dict]:
    """*Control and Mask* into the core's WanVaceToVideo."""
    control, mask, _, _ = pack.run("VideoMask", photo(), task, FRAMES, "0", 64, 16.0, region)
    positive, negative = prompts(stand_in)
    clip = {"width": WIDTH, "height": HEIGHT, "length": FRAMES, "batch_size": 1, "strength": 1.0}
    clip |= {"vae": stand_in.vae, "control_video": control, "control_masks": mask}
    return call(nodes["WanVaceToVideo"], positive=positive, negative=negative, **clip)[:3]


def video_mask(pack: Pack, nodes: dict, stand_in: StandIn, task: str, region: Tensor | None) -> dict:
    positive, negative, latent = control_and_mask(pack, nodes, stand_in, task, region)
    with watching(stand_in.model) as calls:
        sample(stand_in.model, positive, negative, latent)
    seen, mask = pixels_of(calls[0]["vace_context"]), on_grid(drawn(task, region), stand_in.stride)
    context = calls[0]["vace_context"]
    still, grey = (stand_in.vae.encode(image) for image in (photo(), torch.full_like(photo(), 0.5)))
    still, grey = (stand_in.model.model.process_latent_in(latent)[0, :, 0] for latent in (still, grey))
    return {
        "calls": len(calls),
        "same": all(bool((given["vace_context"] == context[:1]).all()) for given in calls),
        "mask": (seen - mask).abs().flatten(1).amax(1).tolist(),
        "open": counts(seen),
        "known in frame 0": apart(context[0, 0, :16, 0], still) / apart(still, grey),
        "open in frame 0": apart(context[0, 0, 16:32, 0], grey) / apart(still, grey),
        "noise mask": "noise_mask" in latent,
    }


def frames_seen(pack: Pack, nodes: dict, stand_in: StandIn) -> list[int]:
    """Whose frame's mask WanVaceToVideo shows in each latent frame: the masks are as grey as their number."""
    numbers = torch.arange(1.0, FRAMES + 1).view(-1, 1, 1).expand(-1, HEIGHT, WIDTH) / 32
    positive, _, _ = control_and_mask(pack, nodes, stand_in, "inpaint", numbers)
    mask = positive[0][1]["vace_mask"][0]
    return [round(32 * float(value)) - 1 for value in mask[0, 0, :, 0, 0]]


# -------------------------------------------------------------------------------------------------------- Long Clips
def given_mask(given: dict) -> Tensor:
    """The mask in what a network is given, `(T, H, W)`: pixels for VACE, else latent cells."""
    return pixels_of(given["vace_context"]) if "vace_context" in given else given["denoise_mask"][0, 0]


def moving_region(pack: Pack, nodes: dict, stand_in: StandIn) -> tuple[list, list, dict]:
    """Prompts and LATENT as a workflow sets them up for this family."""
    if "vace" in type(stand_in.model.model).__name__.lower():
        return control_and_mask(pack, nodes, stand_in, "inpaint", box(MOVING))
    values = ("inpaint", FRAMES, "0", 64, 1.0, box(MOVING))
    return *prompts(stand_in), pack.run("MaskedLatent", stand_in.vae, photo(), *values)[0]


def in_windows(pack: Pack, nodes: dict, stand_in: StandIn) -> dict:
    """Two latent frames at a time, with *Long Clips*: each window is given its own frames of the mask."""
    (model,) = pack.run("MultiDiffusion", stand_in.model, 2, 1, "triangle", False, False)
    given = moving_region(pack, nodes, stand_in)
    with watching(stand_in.model) as whole:
        sample(stand_in.model, *given, cfg=1.0)
    with watching(model) as calls:
        sample(model, *given, cfg=1.0)
    mask = given_mask(whole[0])
    windows = len(mask) - 1
    wanted = [mask[n % windows :][:2] for n in range(len(calls))]
    return {
        "calls": len(calls) / len(whole) / windows,
        "unlike": min(map(apart, mask[1:], mask[:-1])),
        "mask": max(map(apart, map(given_mask, calls), wanted)),
    }


# --------------------------------------------------------------------------------------------------- photo workflows
SMALL = {
    "Lumiere_CropForRegion": {"size": 128},
    "Lumiere_VideoMask": {"frames": FRAMES},
    "Lumiere_MaskedLatent": {"frames": FRAMES},
    "WanVaceToVideo": {"length": FRAMES},
    "KSampler": {"steps": STEPS},
    "LTXVScheduler": {"steps": STEPS},
    "Lumiere_MakeLoop": {"overlap": 4},
    "Lumiere_EditClip": {"frames": FRAMES},
    "ImageScale": {"width": WIDTH, "height": HEIGHT},
}
SAVING = ("CreateVideo", "SaveVideo")
WORKFLOWS = {"wan vace": "4_photo_cinemagraph_wan_vace", "ltxv": "4_photo_cinemagraph_ltxv"}


def run_graph(prompt: dict[str, dict], classes: dict[str, Any], loaded: dict[str, Any]) -> dict[str, tuple]:
    """Every node's outputs, each run once its inputs are there, by class.

    The loaders give what is `loaded`: outputs, or a function of the node's own inputs that gives them.
    """
    done: dict[str, tuple] = {}

    def outputs(name: str) -> tuple:
        if name not in done:
            kind, inputs = prompt[name]["class_type"], prompt[name]["inputs"]
            values = {k: outputs(v[0])[v[1]] if isinstance(v, list) else v for k, v in inputs.items()}
            given = loaded.get(kind) or (lambda **inputs: call(classes[kind], **inputs))
            done[name] = given(**values) if callable(given) else given
        return done[name]

    return {node["class_type"]: outputs(name) for name, node in prompt.items()}


def small_prompt(name: str, classes: dict[str, Any]) -> dict[str, dict]:
    """A shipped workflow as the frontend would send it, with few frames, few steps and a small crop."""
    workflow = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    workflow["nodes"] = [node for node in workflow["nodes"] if node["type"] not in SAVING]
    used = {node["type"] for node in workflow["nodes"]} & set(classes)
    prompt = to_prompt(workflow, {kind: {"input": classes[kind].INPUT_TYPES()} for kind in used})
    for node in prompt.values():
        changes = SMALL.get(node["class_type"], {})
        assert set(changes) <= set(node["inputs"]), (
            f"{node['class_type']} has other widgets than {set(changes)}"
        )
        node["inputs"] |= changes
    return prompt


def loaders(stand_in: StandIn) -> dict[str, tuple]:
    return {
        "UNETLoader": (stand_in.model,),
        "CLIPLoader": (stand_in.clip,),
        "VAELoader": (stand_in.vae,),
    }


def image_to_video(pack: Pack, nodes: dict, stand_in: StandIn) -> dict:
    """The shipped graph to its last picture, with a stand-in for Wan 2.2 5B."""
    classes = {**nodes, **pack.nodes}
    with watching(stand_in.model) as calls:
        done = run_graph(small_prompt("4_photo_image_to_video_wan", classes), classes, loaders(stand_in))
    (made,), (photo,) = done["Lumiere_KeepPixels"], done["ImageScale"]
    return {
        "open": counts(calls[0]["denoise_mask"][0, 0]),
        "clip": list(made.shape),
        "first": torch.equal(made[:1], photo),
        "later": apart(made[1:], photo),
    }


def restyling(pack: Pack, nodes: dict, stand_in: StandIn) -> dict:
    """The shipped graph to its last picture, with a stand-in for Wan 2.1 and a small clip at 24 fps."""
    classes = {**nodes, **pack.nodes}
    clip = torch.rand(27, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(4))
    given = {"Lumiere_ExampleInput": (clip, torch.ones(1, HEIGHT, WIDTH), 24.0)}
    with watching(stand_in.model) as calls:
        prompt = small_prompt("4_restyle_clip_any_model", classes)
        done = run_graph(prompt, classes, loaders(stand_in) | given)
    sampling = stand_in.model.get_model_object("model_sampling")
    first = float(calls[0]["transformer_options"]["sigmas"][0])
    return {
        "asked": next(
            node["inputs"]["strength"] for node in prompt.values() if node["class_type"] == "Lumiere_EditClip"
        ),
        "denoise": done["Lumiere_EditClip"][2],
        "begins below": first < float(sampling.sigma_max),
        "clip": list(done["VAEDecode"][0].shape),
        "source": list(done["Lumiere_EditClip"][4].shape),
        "fps": done["Lumiere_EditClip"][6],
        "changed": apart(done["VAEDecode"][0], done["Lumiere_EditClip"][4]),
    }


def photo_workflow(pack: Pack, nodes: dict, name: str, stand_in: StandIn) -> dict:
    """The shipped graph to its last picture, with a stand-in where it loads a model."""
    classes = {**nodes, **pack.nodes}
    loaded = {
        "CheckpointLoaderSimple": (stand_in.model, stand_in.clip, stand_in.vae),
        **loaders(stand_in),
    }
    with watching(stand_in.model) as calls:
        done = run_graph(small_prompt(name, classes), classes, loaded)
    picture, mask = done["Lumiere_ExampleInput"][:2]
    (made,) = done["Lumiere_Stitch"]
    asked = done["Lumiere_VideoMask" if "Lumiere_VideoMask" in done else "Lumiere_MaskedLatent"][1]
    given = given_mask(calls[0])
    wanted = on_grid(asked, stand_in.stride, asked.shape[1] // given.shape[1])
    outside, painted = mask[0] == 0, mask[0] == 1
    return {
        "nodes": sorted(done),
        "steps": len({float(one["transformer_options"]["sigmas"][0]) for one in calls}),
        "mask": (given - wanted).abs().flatten(1).amax(1).tolist(),
        "open": [float(frame.mean()) for frame in given],
        "photo": list(picture.shape),
        "clip": list(made.shape),
        "outside": torch.equal(made[:, outside], picture[:, outside].expand(len(made), -1, -1)),
        "outside share": float(outside.float().mean()),
        "painted": apart(made[:, painted], picture[:, painted]),
        "moves": apart(made[0], made[len(made) // 2]),
    }


def main() -> dict:
    report: dict = {}
    with torch.inference_mode():
        pack, nodes = Pack(), host_nodes()
        for family, stand_in in standins.families().items():
            found = report[family] = {}
            if family == "wan vace":
                for task, name in TASKS:
                    found[f"{task} {name}".strip()] = video_mask(pack, nodes, stand_in, task, box(name))
                found["frames seen"] = frames_seen(pack, nodes, stand_in)
            else:
                for task, name in [*TASKS, ("inpaint", MOVING)]:
                    found[f"{task} {name}".strip()] = masked_latent(pack, stand_in, task, box(name))
            found["windows"] = in_windows(pack, nodes, stand_in)
            if family == "wan 5b":
                found["image to video"] = image_to_video(pack, nodes, stand_in)
            if family in WORKFLOWS:
                found["workflow"] = photo_workflow(pack, nodes, WORKFLOWS[family], stand_in)
        if hasattr(comfy.supported_models, "WAN21_T2V"):
            report["wan t2v"] = {"restyling": restyling(pack, nodes, standins.wan_t2v())}
    return report


if __name__ == "__main__":
    print("REPORT " + json.dumps(main()))
