"""Runs inside ComfyUI's own interpreter: the pack's nodes against the core's, as tensors. Prints one JSON object.

    COMFYUI_PATH=... <ComfyUI's python> tests/host/inside.py [--write]

`test_parity.py`, `test_controls.py` and `test_schemas.py` start it and assert on the figures.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HOST, PACK = Path(os.environ["COMFYUI_PATH"]), Path(__file__).resolve().parents[2]
WRITE = "--write" in sys.argv
base = tempfile.mkdtemp()
(Path(base) / "models").mkdir()
sys.argv = ["inside", "--cpu", "--base-directory", base]
sys.path.insert(0, str(HOST))
sys.dont_write_bytecode = True

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.context_windows  # noqa: E402
import comfy.latent_formats  # noqa: E402
import comfy.model_base  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.supported_models_base  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import nodes as core  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from live_bytes import memory  # noqa: E402

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
STEPS = 5
SAMPLERS = ("euler", "ddim", "dpmpp_2m")
PROMPTS = {
    "short": ("a red fish", ""),
    "long": ("an orange balloon drifting left over the meadow at sunset", "blue"),
}


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference of two clips in [-1, 1], in 255ths of the range."""
    return 127.5 * float((a - b).abs().max())


def sentence(call: Callable[[], Any]) -> str:
    """What a call refuses with; empty where it does not."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


class Pack:
    """The pack as the host imports it: under a path-shaped name, through its entry point."""

    def __init__(self) -> None:
        self.name = str(PACK).replace(".", "_x_")
        spec = importlib.util.spec_from_file_location(
            self.name, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        spec.loader.exec_module(module)
        extension = asyncio.run(module.comfy_entrypoint())
        self.nodes = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
        for node in self.nodes.values():  # what the executor gives a node
            node.hidden = SimpleNamespace(unique_id="1", prompt=None, extra_pnginfo=None)
        self.choice = self.nodes["Lumiere_LoadModel"].define_schema().inputs[0].options[0]
        self.model, self.clip, self.vae = self.run("LoadModel", self.choice)
        (self.latent,) = self.run("EmptyVideo", 64, 64, 16)

    def module(self, path: str) -> Any:
        return importlib.import_module(f"{self.name}.{path}")

    def run(self, node: str, *values: Any, **inputs: Any) -> tuple:
        return self.nodes[f"Lumiere_{node}"].execute(*values, **inputs).args

    def encode(self, text: str) -> list:
        return core.CLIPTextEncode().encode(self.clip, text)[0]

    def ours(self, sampler: str, prompts: tuple[str, str], model: Any = None) -> Tensor:
        yes, no = map(self.encode, prompts)
        return self.run("Sample", model or self.model, yes, no, self.latent, 5, STEPS, 3.0, sampler)[0][
            "samples"
        ]

    def theirs(self, sampler: str, prompts: tuple[str, str], model: Any = None) -> Tensor:
        yes, no = map(self.encode, prompts)
        model = model or self.model
        return core.common_ksampler(model, 5, STEPS, 3.0, sampler, "sgm_uniform", yes, no, self.latent)[0][
            "samples"
        ]

    def alone(self, sampler: str, prompts: tuple[str, str], **settings: Any) -> Tensor:
        """The engine without any host object."""
        checkpoint, generate = map(self.module, ("lumiere_core.model.checkpoint", "lumiere_core.generate"))
        model = checkpoint.load(checkpoint.bundled("base"))
        chosen = {"num_frames": 16, "steps": STEPS, "cfg_scale": 3.0, "rescale": 0.0, "seed": 5, **settings}
        return generate.text_to_video(model, *prompts, generate.Settings(sampler=sampler, **chosen))


def sampling(pack: Pack) -> dict:
    """Our sampler, the core's and the engine alone make one clip."""
    report: dict = {"nodes": sorted(pack.nodes), "dtype": str(pack.model.model.get_dtype())}
    for length, prompts in PROMPTS.items():
        for sampler in SAMPLERS:
            theirs = pack.theirs(sampler, prompts)
            report[f"{sampler} {length}"] = apart(pack.ours(sampler, prompts), theirs)
    report["spread"] = float(theirs.std())
    report["engine"] = apart(pack.alone("dpmpp_2m", PROMPTS["long"]), theirs)

    levels = pack.model.get_model_object("model_sampling")
    process = pack.module("lumiere_core.diffusion.process").Process(pack.model.model.lumiere.diffusion)
    uniform = process.sigmas(10)
    spread = comfy.samplers.calculate_sigmas(levels, "sgm_uniform", 10)
    report["sigmas"] = float(((uniform - spread) / uniform.clamp(min=1e-6)).abs().max())
    for scheduler in ("normal", "simple", "beta", "ddim_uniform", "karras"):
        sigmas = comfy.samplers.calculate_sigmas(levels, scheduler, 10)
        assert bool((sigmas[:-1] > sigmas[1:]).all()) and bool(sigmas.isfinite().all()), scheduler
    return report


def decoding(pack: Pack) -> dict:
    """The VAE is exact both ways, through the core's nodes."""
    samples = pack.theirs("dpmpp_2m", PROMPTS["long"])
    image = core.VAEDecode().decode(pack.vae, {"samples": samples})[0]
    again = core.VAEEncode().encode(pack.vae, image)[0]["samples"]
    back = core.VAEDecode().decode(pack.vae, {"samples": again})[0]
    tiled = core.VAEDecodeTiled().decode(pack.vae, {"samples": samples}, 512)[0]
    return {
        "decoded": list(image.shape),
        "round trip": float((back - image).abs().max()),
        "tiled": float((tiled - image).abs().max()),
    }


def upscaling(pack: Pack) -> dict:
    """Super-resolution: our node, the core's KSampler and the engine alone."""
    checkpoint, generate = map(pack.module, ("lumiere_core.model.checkpoint", "lumiere_core.generate"))
    clip = pack.theirs("dpmpp_2m", PROMPTS["long"])
    engine = checkpoint.load(checkpoint.bundled("ssr"))
    settings = generate.Settings(steps=2, window=8, seed=9)
    alone = generate.upscale(engine, clip, "", settings, noise_level=0.05)
    image = clip[0].permute(1, 2, 3, 0) / 2 + 0.5
    node = pack.run("Upscale", image, 9, 2, 8, 2, 0.05)[0]

    ssr, words, vae = pack.run(
        "LoadModel", pack.nodes["Lumiere_LoadModel"].define_schema().inputs[0].options[1]
    )
    (ssr,) = pack.run("MultiDiffusion", ssr, 8, 2, "triangle", False, False)
    nothing = core.CLIPTextEncode().encode(words, "")[0]
    yes, no, canvas = pack.run("UpscaleConditioning", ssr, nothing, nothing, image, 0.05, 9)
    sampled = core.common_ksampler(ssr, 9, 2, 1.0, "dpmpp_2m", "sgm_uniform", yes, no, canvas)[0]
    through_core = core.VAEDecode().decode(vae, sampled)[0]
    return {
        "upscaled": list(node.shape),
        "ssr": 255 * float((node - (alone[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1)).abs().max()),
        "ssr in the core": 255 * float((node - through_core).abs().max()),
    }


def patching(pack: Pack) -> dict:
    """LoRA, and layers that get their weights late."""
    before = pack.theirs("dpmpp_2m", PROMPTS["long"])
    weight = pack.model.model.diffusion_model.middle_block[0].in_layers[2].weight
    name = "diffusion_model.middle_block.0.in_layers.2.lora"
    lora = {
        f"{name}_up.weight": torch.randn(weight.shape[0], 2),
        f"{name}_down.weight": torch.randn(2, weight[0].numel()),
    }
    with_lora, _ = comfy.sd.load_lora_for_models(pack.model, None, lora, 1.0, 0)
    changed, back = (pack.ours("dpmpp_2m", PROMPTS["long"], model) for model in (with_lora, pack.model))
    report = {"lora changes": float((changed - before).abs().max()), "lora leaves": apart(back, before)}

    # Newer hosts build layers without weights and load them later (DynamicVRAM): the same clip comes out.
    management = vars(comfy).get("memory_management")
    if hasattr(management, "aimdo_enabled"):
        was, management.aimdo_enabled = management.aimdo_enabled, True
        try:
            lazy = pack.run("LoadModel", pack.choice)[0]
        finally:
            management.aimdo_enabled = was
        report["lazy"] = apart(pack.ours("dpmpp_2m", PROMPTS["long"], lazy), before)
    return report


# ------------------------------------------------------------------------------------------ controls on a MODEL
def controls(pack: Pack) -> dict:
    """Guidance, loop and windows: our sampler, the core's and the engine alone make one clip."""
    chosen = {
        "guidance": ("Guidance", (0.7, 0.0, 1.0, 0.0), {"rescale": 0.7}),
        "threshold": ("Guidance", (0.0, 0.0, 1.0, 0.9), None),
        "interval": ("Guidance", (0.0, 0.2, 0.7, 0.0), None),
        "loop": ("Loop", (5,), {"loop": True}),
        "windows": ("MultiDiffusion", (8, 2, "triangle", False, True), {"window": 8, "overlap": 2}),
    }
    report, plain = {}, pack.theirs("dpmpp_2m", PROMPTS["long"])
    for name, (node, values, settings) in chosen.items():
        (model,) = pack.run(node, pack.model, *values)
        for sampler in SAMPLERS:
            theirs = pack.theirs(sampler, PROMPTS["long"], model)
            report[f"{name} {sampler}"] = apart(pack.ours(sampler, PROMPTS["long"], model), theirs)
        report[f"{name} acts"] = apart(theirs, plain)
        if settings:
            report[f"{name} engine"] = apart(pack.alone("dpmpp_2m", PROMPTS["long"], **settings), theirs)

    (a,) = pack.run("MultiDiffusion", *pack.run("Loop", pack.model, 5), 8, 2, "triangle", False, False)
    (b,) = pack.run("Loop", *pack.run("MultiDiffusion", pack.model, 8, 2, "triangle", False, False), 5)
    made = [pack.theirs("euler", PROMPTS["long"], model) for model in (a, b)]
    report["order"] = apart(*made)
    report["untouched"] = apart(pack.theirs("dpmpp_2m", PROMPTS["long"]), plain)
    return report


def sharing(pack: Pack) -> dict:
    """A model whose frames share noise and know their second, random: our sampler, the core's and the engine alone
    make one clip, also round a loop and in windows that share their noise."""
    config, checkpoint, generate = map(
        pack.module, ("lumiere_core.config", "lumiere_core.model.checkpoint", "lumiere_core.generate")
    )
    words = tuple(sorted({word for prompts in PROMPTS.values() for text in prompts for word in text.split()}))
    spec = config.PRESETS["tiny"]
    spec = config.replace(spec, num_frames=16, text=config.replace(spec.text, vocabulary=words))
    torch.manual_seed(0)
    engine = checkpoint.Lumiere(spec).eval()
    for p in engine.parameters():
        p.data.normal_(std=0.15)
    weights = checkpoint.Weights(spec, engine.state_dict(), "", "", Path("random.safetensors"), "")
    tiny = copy.copy(pack)
    tiny.model = pack.module("nodes.host.model").make_model(weights)
    tiny.clip = pack.module("nodes.host.clip").make_clip(weights)
    cases = {
        "plain": (None, (), {}),
        "loop": ("Loop", (5,), {"loop": True}),
        "windows": ("MultiDiffusion", (8, 2, "triangle", False, True), {"window": 8, "overlap": 2}),
    }
    report = {}
    for name, (node, values, settings) in cases.items():
        (model,) = tiny.run(node, tiny.model, *values) if node else (tiny.model,)
        theirs = tiny.theirs("dpmpp_2m", PROMPTS["long"], model)
        chosen = generate.Settings(
            num_frames=16, width=64, height=64, steps=STEPS, cfg_scale=3.0, seed=5, **settings
        )
        alone = generate.text_to_video(engine, *PROMPTS["long"], chosen)
        report[f"sharing {name}"] = apart(tiny.ours("dpmpp_2m", PROMPTS["long"], model), theirs)
        report[f"sharing {name} engine"] = apart(alone, theirs)
        report[f"sharing {name} spread"] = float(theirs.std())
    # The core's own context windows cut the clip; each window has to be told the seconds of its own frames.
    model, told = tiny.model.clone(), []
    model.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=8,
        context_overlap=2,
        dim=2,
    )
    hear = tiny.model.model.diffusion_model.timed_text.register_forward_pre_hook(
        lambda _, given: told.append((16 * given[1][0]).tolist())
    )
    report["core windows spread"] = float(tiny.theirs("euler", PROMPTS["long"], model).std())
    hear.remove()
    report["core windows told"] = sorted({tuple(round(frame, 3) for frame in window) for window in told})
    levels, noise = tiny.model.get_model_object("model_sampling"), torch.randn(1, 3, 16, 64, 64)
    first, other = levels.noise_scaling(torch.ones(1, 1, 1, 1, 1), noise, torch.zeros_like(noise))[
        0, :, :2
    ].unbind(1)
    report["sharing correlation"] = float(
        torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1]
    )
    return report


class FrameLocal(torch.nn.Module):
    """A network that looks at single frames, at its condition and at its prompt."""

    dtype = torch.float32

    def __init__(self, channels: int = 3, **_: Any) -> None:
        super().__init__()
        self.channels, self.sizes = channels, []

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, control: Any = None, **_: Any) -> Tensor:
        self.sizes.append((x.shape[0], x.shape[2]))
        image, condition = x[:, : self.channels], x[:, self.channels :]
        bias = context.mean(dim=(1, 2)).view(-1, *[1] * (x.ndim - 1))
        level = timesteps.view(-1, *[1] * (x.ndim - 1)) / 1000
        return (image * 1.3 + condition.mean(dim=1, keepdim=True) + bias - level).tanh()


def foreign_model(channels: int, as_batch: bool) -> Any:
    """A MODEL that is not ours, with a condition of its own for every frame."""

    class Format(comfy.latent_formats.LatentFormat):
        latent_channels, latent_dimensions = channels, 2 if as_batch else 3
        spacial_downscale_ratio = temporal_downscale_ratio = 1

    class Config(comfy.supported_models_base.BASE):
        unet_config, unet_extra_config, latent_format = {"channels": channels}, {}, Format
        sampling_settings: dict = {}

    class Model(comfy.model_base.BaseModel):
        def concat_cond(self, **kwargs: Any) -> Tensor:
            noise = kwargs["noise"]
            steps = torch.linspace(-1, 1, noise.shape[0] if as_batch else noise.shape[2])
            return (
                steps.view(-1, 1, 1, 1).expand_as(noise)
                if as_batch
                else steps.view(1, 1, -1, 1, 1).expand_as(noise)
            )

    config = Config({"channels": channels, "disable_unet_model_creation": False})
    config.set_inference_dtype(torch.float32, None)
    model = Model(config, comfy.model_base.ModelType.EPS, device=torch.device("cpu"), unet_model=FrameLocal)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def conditioning(value: float, rows: int) -> list:
    return [[torch.full((1, rows, 8), value), {}]]


def foreign(pack: Pack) -> dict:
    """Windows, loops and prompts over time on MODELs that are not ours: over frame-local ones nothing may change."""
    report = {}
    for kind, as_batch in (("video", False), ("frames as batch", True)):
        model = foreign_model(4 if as_batch else 3, as_batch)
        shape = (21, 4, 8, 8) if as_batch else (1, 3, 21, 8, 8)
        latent = {"samples": torch.zeros(shape)}
        yes, no = conditioning(0.3, 7), conditioning(-0.4, 11)

        def sample(
            model: Any, sampler: str, positive: list, negative: list = no, latent: dict = latent
        ) -> Tensor:
            return core.common_ksampler(model, 3, 6, 2.0, sampler, "normal", positive, negative, latent)[0][
                "samples"
            ]

        (windows,) = pack.run("MultiDiffusion", model, 8, 3, "triangle", False, False)
        (around,) = pack.run("MultiDiffusion", model, 8, 3, "flat", True, False)
        (loop,) = pack.run("Loop", windows, 4)
        for sampler in SAMPLERS:
            whole = sample(model, sampler, yes)
            for name, cut in (("windows", windows), ("around", around), ("loop", loop)):
                difference = (sample(cut, sampler, yes) - whole).abs().max()
                report[f"{kind} {name} {sampler}"] = float(difference / whole.abs().max())
        report[f"{kind} spread"] = float(whole.std())

        # Two prompts, one for the frames before 9: each frame is what its own prompt alone makes of it.
        axis = 0 if as_batch else 2
        over_time, masks = (
            pack.module("nodes.prompt").scheduled,
            pack.module("nodes.host.sampling").with_options,
        )
        _, (first, second) = over_time("0: a / 9: b", latent["samples"], 0, 1)
        unlike = [*masks(yes, first), *masks(conditioning(0.9, 9), second)]  # the host runs each by itself
        both = [*masks(yes, first), *masks(conditioning(0.9, 7), second)]
        alone = sample(model, "euler", yes), sample(model, "euler", conditioning(0.9, 7))
        expected = torch.cat([alone[0].narrow(axis, 0, 9), alone[1].narrow(axis, 9, 12)], axis)
        for name, cut in (("", model), (" in windows", windows)):
            sizes = model.model.diffusion_model.sizes
            sizes.clear()
            report[f"{kind} prompts{name}"] = float(
                (sample(cut, "euler", both) - expected).abs().max() / expected.abs().max()
            )
            report[f"{kind} work{name}"] = sum(n if as_batch else n * frames for n, frames in sizes) / 6
        report[f"{kind} prompts apart"] = float(
            (sample(windows, "euler", unlike) - expected).abs().max() / expected.abs().max()
        )
    return report


GRID = SimpleNamespace(spacial_compression_encode=lambda: 8, temporal_compression_decode=lambda: 4)


def refusing(pack: Pack) -> dict:
    """Bad input, and what is said about it."""
    model, encode, latent = pack.model, pack.encode, pack.latent
    wrong = [[torch.zeros(1, 77, 768), {}]]
    odd = {"samples": torch.zeros(1, 3, 4, 60, 64)}
    image = torch.rand(4, 64, 64, 3)
    windows = pack.run("MultiDiffusion", model, 8, 2, "triangle", False, False)[0]
    beside = windows.clone()
    beside.model_options["context_handler"] = object()
    still = foreign_model(4, True)

    def ksampler(model: Any, positive: list, samples: dict) -> Any:
        return core.common_ksampler(model, 0, 1, 1.0, "euler", "normal", positive, positive, samples)

    calls: dict[str, Callable[[], Any]] = {
        "foreign prompt": lambda: ksampler(model, wrong, latent),
        "odd size": lambda: pack.run("Sample", model, encode(""), encode(""), odd, 0, 1, 1.0, "euler"),
        "odd size in the core": lambda: ksampler(model, encode(""), odd),
        "latent of another model": lambda: ksampler(model, encode(""), {"samples": torch.ones(1, 4, 8, 8)}),
        "not ssr": lambda: pack.run("Upscale", image, 0, 1, 16, 2, 0.1, model=model),
        "overlap": lambda: pack.run("Upscale", image, 0, 1, 4, 4, 0.1),
        "foreign latent": lambda: core.VAEDecode().decode(pack.vae, {"samples": torch.zeros(1, 4, 8, 8)}),
        "window": lambda: pack.run("MultiDiffusion", model, 4, 4, "triangle", False, False),
        "core windows before": lambda: pack.run("Loop", beside, 0),
        "core windows after": lambda: ksampler(beside, encode(""), latent),
        "no time": lambda: ksampler(
            pack.run("MultiDiffusion", still, 8, 2, "triangle", False, False)[0],
            conditioning(0.0, 3),
            {"samples": torch.zeros(1, 4, 8, 8)},
        ),
        "no time for a schedule": lambda: pack.module("nodes.prompt").scheduled(
            "0: a", torch.zeros(1, 8, 99), 0, 1
        ),
        "schedule": lambda: pack.module("nodes.prompt").scheduled("0: a / 90: b", latent["samples"], 0, 1),
        "interval": lambda: pack.run("Guidance", model, 0.7, 0.8, 0.2, 0.0),
        "threshold of a latent": lambda: pack.run("Guidance", still, 0.7, 0.0, 1.0, 0.9),
        "no mask": lambda: pack.run("VideoMask", image, "inpaint", 4, "0", 64, 16.0),
        "stand-in mask": lambda: pack.run(
            "VideoMask", image, "inpaint", 4, "0", 64, 16.0, torch.zeros(1, 64, 64)
        ),
        "places": lambda: pack.run("VideoMask", image, "chosen frames", 9, "one, two", 64, 16.0),
        "wrap": lambda: core.common_ksampler(
            pack.run("MultiDiffusion", model, 80, 16, "triangle", True, True)[0],
            0,
            1,
            1.0,
            "euler",
            "normal",
            encode(""),
            encode(""),
            latent,
        ),
        "grid": lambda: pack.run("MaskedLatent", GRID, image[:1, :60], "first frame", 9, "0", 64, 1.0),
        "frames": lambda: pack.run("MaskedLatent", GRID, image[:1], "first frame", 80, "0", 64, 1.0),
        "extend": lambda: pack.run("VideoMask", image, "extend", 9, "0, 40, 80", 64, 16.0),
        "short clip": lambda: pack.run("MakeLoop", image[:2], "cut", 2, 0, 8),
        "path": lambda: pack.run(
            "MotionBrush", image, image[..., 0], "flow", 0, 1.0, 4, 16.0, 0.0, "0.1;x", 0.03, 0, True
        ),
        "empty mask": lambda: pack.run("KeepPixels", image, image, torch.zeros(1, 64, 64), 0),
        "sizes": lambda: pack.run("KeepPixels", image, image[:, :32], torch.ones(1, 64, 64), 0),
        "base for ssr": lambda: pack.run(
            "UpscaleConditioning", model, encode(""), encode(""), image, 0.05, 0
        ),
        "ssr without a clip": lambda: ksampler(
            pack.run("LoadModel", pack.nodes["Lumiere_LoadModel"].define_schema().inputs[0].options[1])[0],
            encode(""),
            latent,
        ),
    }
    return {"refusals": {what: sentence(call) for what, call in calls.items()}}


# ------------------------------------------------------------------------- tools that need no model, other models
def tools(pack: Pack) -> dict:
    """The hand tools as nodes: what they leave alone, and that Lumiere's mask reaches a causal video VAE."""
    photo, mask, _ = pack.run("ExampleInput", "candle (photo)")
    brushed, fps = pack.run("MotionBrush", photo, mask, "flicker", -1, 1.0, 12, 16.0, 0.0, "", 0.03, 0, True)
    drawn = '{"strokes": [{"preset": "sway", "points": [[0.5, 0.47], [0.5, 0.3]]}], "anchors": [[0.4, 0.3]]}'
    again = pack.nodes["Lumiere_MotionBrush"].execute(
        brushed[:3], mask, "flow", -1, 1.0, 80, 16.0, 0.0, "", 0.03, 0, True, drawn
    )
    still = mask[0] == 0
    crop, cropped, region = pack.run("CropForRegion", photo, mask, 0.25, 16, 256)
    noise = torch.rand(5, *crop.shape[1:])
    (stitched,) = pack.run("Stitch", noise, region, photo, mask, 16, True)
    (kept,) = pack.run("KeepPixels", torch.rand(3, *photo.shape[1:]), photo, mask, 8)
    clip = brushed[:, ::4, ::4]
    told: list[str] = []
    bar = pack.module("nodes.host.progress")
    show, bar.show_here = bar.show_here, told.append
    (padded,) = pack.run("LoopPad", clip, 3)
    report = {
        "brushed": list(brushed.shape),
        "brush moves": float((brushed[0] - brushed[4]).abs().max()),
        "brushed again": [
            len(again.args[0]),
            len(again.ui["lumiere_brush"]),
            json.loads(again.ui["lumiere_brush"][2]),
        ],
        "outside": [bool((made[:, still] == photo[:, still]).all()) for made in (brushed, stitched, kept)],
        "crop": list(crop.shape[1:3]) == list(cropped.shape[1:3])
        and not any(n % 16 for n in crop.shape[1:3]),
        "unpadded": bool((pack.run("LoopUnpad", padded, 3, 1)[0] == clip).all()),
        "cinemagraph": list(
            pack.run("CinemagraphFromClip", clip, mask, 1.0, "ping-pong", 2, True, True, True)[0].shape
        ),
        "loop": len(pack.run("MakeLoop", clip, "dissolve", 2, 0, 4)[0]),
        "lengths": [
            len(pack.run("MakeLoop", clip, "auto", 2, 0, 4, "6")[0]),
            len(
                pack.run(
                    "CinemagraphFromClip", clip, mask, 1.0, "per pixel", 2, True, True, True, None, -1, "8"
                )[0]
            ),
        ],
        "drift": list(pack.run("MatchDrift", clip, 1.0)[0].shape) == list(clip.shape),
    }
    small = mask[:, ::4, ::4]
    numbered = pack.run("CinemagraphFromClip", clip, small, 1.0, "none", 2, True, True, True, None, 3)[0]
    report["frame 3 is the still"] = bool((numbered[:, still[::4, ::4]] == clip[3][still[::4, ::4]]).all())
    bar.show_here = show
    report["told"] = told

    odd = photo[:, :61, :67], torch.ones(1, 61, 67)
    whole = "flow", -1, 1.0, 2, 16.0, 0.0, "", 0.03, 0
    report["odd"] = [
        list(pack.run("MotionBrush", *odd, *whole, even)[0].shape[1:3]) for even in (True, False)
    ]

    said: list[str] = []
    host = pack.module("nodes.host.model")
    show_here, host.show_here = host.show_here, said.append
    for size in (64, 256):
        (wide,) = pack.run("EmptyVideo", size, size, 2)
        nothing = pack.encode("")
        core.common_ksampler(pack.model, 0, 1, 1.0, "euler", "normal", nothing, nothing, wide)
    host.show_here = show_here
    report["large"] = said

    report |= over_and_around(pack, photo, mask)
    still, small = photo[:, ::8, ::8], mask[:, ::8, ::8]  # 128 x 128
    control, masks, source, _ = pack.run("VideoMask", still, "cinemagraph", 9, "0", 64, fps, small)
    report["control"] = [
        float((control[0] - still[0]).abs().max()),
        float((control[1:][masks[1:] == 1] - 0.5).abs().max()),
        masks.flatten(1).amax(1).tolist(),
    ]
    values = "cinemagraph", 9, "0", 64, 1.0, small, False
    latent, shown, _, _ = pack.run("MaskedLatent", pack.vae, still, *values)
    (sampled,) = core.common_ksampler(
        pack.model, 3, 3, 1.0, "euler", "sgm_uniform", pack.encode("a red fish"), pack.encode(""), latent
    )
    known = (shown == 0)[None, None].expand_as(latent["samples"])
    report["held"] = apart(sampled["samples"][known], latent["samples"][known])
    report["made"] = apart(sampled["samples"][~known], latent["samples"][~known])
    return report


def over_and_around(pack: Pack, photo: Tensor, mask: Tensor) -> dict:
    """The overlay and the camera as nodes: what is masked, matted and given as depth."""
    photo, mask = photo[:, 2::4, 2::4], mask[:, 2::4, 2::4]  # 256 x 256
    told: list[str] = []
    bar = pack.module("nodes.host.progress")
    show, bar.show_here = bar.show_here, told.append
    values = 1.0, 6, 16.0, 1.0, 1.0, 0.2, "", 0, True
    matte = torch.zeros(1, 64, 64)
    matte[:, :, :32] = 1
    over, fps = pack.run("Overlay", photo, "mist", *values, mask, matte)
    kinds = [
        float((pack.run("Overlay", photo, kind, *values)[0] - photo).abs().max())
        for kind in ("steam", "mist", "rain", "snow", "sparks", "rays")
    ]
    kept = torch.ones_like(mask[0], dtype=torch.bool)
    kept[:, 130:] = mask[0, :, 130:] == 0
    kept[:, 124:130] = False  # the matte's soft edge
    depth = torch.rand(1, 40, 40, 3)
    moved, _ = pack.run(
        "CameraMove", photo, "zoom in", "there and back", 0.1, 1.0, 6, 16.0, True, True, depth
    )
    again, _ = pack.run("CameraMove", moved[:3], "circle", "one way", 0.1, 1.0, 80, 16.0, True, True)
    bar.show_here = show
    return {
        "overlaid": [list(over.shape), fps, min(kinds)],
        "overlay kept": bool((over[:, kept] == photo[:, kept]).all()),
        "overlay seen": float((over - photo).abs().max()),
        "moved": [list(moved.shape), bool((moved[0] == photo[0]).all()), len(again)],
        "depth told": told,
    }


def fingerprints(pack: Pack) -> list[str]:
    """What the host keeps a loaded model under: files of one name, size and time; the third is the first again."""
    folder, found = Path(base) / "models" / "lumiere", []
    folder.mkdir(exist_ok=True)
    path = folder / "mine.safetensors"
    for data in (b"one", b"two", b"one"):
        path.write_bytes(data)
        os.utime(path, ns=(1, 1))
        found.append(pack.nodes["Lumiere_LoadModel"].fingerprint_inputs(path.name))
    path.unlink()
    return found


# ---------------------------------------------------------------------------------------------- words and schemas
def schemas(pack: Pack) -> dict:
    """What saved workflows rely on: ids, order, types and defaults; and the words the frontend may translate."""
    frozen, words, sought = {}, {}, {}
    for name, node in sorted(pack.nodes.items()):
        schema = node.GET_SCHEMA()
        aliases = getattr(schema, "search_aliases", None)  # older hosts search titles alone
        sought[name] = None if aliases is None else [schema.display_name, *aliases]
        frozen[name] = {
            "inputs": [
                [i.id, i.io_type, getattr(i, "default", None), "advanced" in (i.extra_dict or {})]
                for i in schema.inputs
            ],
            "outputs": [o.io_type for o in schema.outputs],
        }
        words[name] = {
            "display_name": schema.display_name,
            "description": schema.description,
            "inputs": {i.id: {"name": i.display_name or i.id, "tooltip": i.tooltip} for i in schema.inputs},
            "outputs": {
                str(n): {"name": o.display_name or o.io_type, **({"tooltip": o.tooltip} if o.tooltip else {})}
                for n, o in enumerate(schema.outputs)
            },
        }
    return {"schemas": frozen, "words": words, "sought": sought}


def main() -> dict:
    report: dict = {}
    with torch.inference_mode():
        pack = Pack()
        report["fingerprints"] = fingerprints(pack)
        report |= memory(pack)
        report["remark"] = pack.module("nodes.host.clip").remark_on(pack.clip, "a red dragon")
        for part in (
            sampling,
            decoding,
            upscaling,
            patching,
            controls,
            sharing,
            foreign,
            refusing,
            tools,
            schemas,
        ):
            report |= part(pack)
    return report


def write() -> None:
    """Take the nodes as they are for frozen, and their words for English: `inside.py --write`, before a release."""
    with torch.inference_mode():
        report = schemas(Pack())
    for path, part in (
        (PACK / "tests/schemas.json", "schemas"),
        (PACK / "locales/en/nodeDefs.json", "words"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report[part], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if WRITE:
        write()
    else:
        print("REPORT " + json.dumps(main()))
