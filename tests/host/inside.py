"""Runs inside ComfyUI's own interpreter: the pack's nodes against the core's, as tensors. Prints one JSON object.

    COMFYUI_PATH=... <ComfyUI's python> tests/host/inside.py

`test_parity.py` starts it and asserts on the figures.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

HOST, PACK = Path(os.environ["COMFYUI_PATH"]), Path(__file__).resolve().parents[2]
base = tempfile.mkdtemp()
(Path(base) / "models").mkdir()
sys.argv = ["inside", "--cpu", "--base-directory", base]
sys.path.insert(0, str(HOST))
sys.dont_write_bytecode = True

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.sample  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.sd  # noqa: E402
import torch  # noqa: E402

import nodes as core  # noqa: E402

torch.set_num_threads(2)


def load_pack() -> tuple:
    """Import the pack as the host does: under a path-shaped name, through its entry point."""
    name = str(PACK).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(
        name, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    extension = asyncio.run(module.comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    return name, {node.GET_SCHEMA().node_id: node for node in nodes}


def run(node: type, **inputs: object) -> tuple:
    """Execute a node as the host's executor would, and give its outputs."""
    return (
        node.EXECUTE_NORMALIZED(**inputs).args
        if hasattr(node, "EXECUTE_NORMALIZED")
        else node.execute(**inputs).args
    )


def main() -> dict:
    name, pack = load_pack()
    host = sys.modules[f"{name}.nodes.host"]
    report: dict = {"nodes": sorted(pack)}
    with torch.inference_mode():
        choice = pack["Lumiere_LoadModel"].define_schema().inputs[0].options[0]
        model, clip, vae = pack["Lumiere_LoadModel"].execute(choice).args
        report["dtype"] = str(model.model.get_dtype())
        (latent,) = pack["Lumiere_EmptyVideo"].execute(64, 64, 16).args

        def encode(text: str) -> list:
            return core.CLIPTextEncode().encode(clip, text)[0]

        prompts = {
            "short": ("a red fish", ""),
            "long": ("an orange balloon drifting left over the meadow at sunset", "blue"),
        }
        for length, (yes, no) in prompts.items():
            for sampler in ("euler", "ddim", "dpmpp_2m"):
                ours = (
                    pack["Lumiere_Sample"]
                    .execute(model, encode(yes), encode(no), latent, 5, 8, 3.0, sampler)
                    .args[0]
                )
                theirs = core.common_ksampler(
                    model, 5, 8, 3.0, sampler, "sgm_uniform", encode(yes), encode(no), latent
                )[0]
                report[f"{sampler} {length}"] = 127.5 * float(
                    (ours["samples"] - theirs["samples"]).abs().max()
                )
        report["spread"] = float(theirs["samples"].std())

        # The engine alone, without any host object, makes the same clip.
        engine = sys.modules[f"{name}.lumiere_core.checkpoint"]
        alone = engine.load(engine.bundled("base"))
        generate = importlib.import_module(f"{name}.lumiere_core.generate")
        yes, no = prompts["long"]
        settings = generate.Settings(
            num_frames=16, steps=8, cfg_scale=3.0, rescale=0.0, seed=5, sampler="dpmpp_2m"
        )
        clip_alone = generate.text_to_video(alone, yes, no, settings)
        report["engine"] = 127.5 * float((clip_alone - theirs["samples"]).abs().max())

        # Schedules, one against the other.
        sampling = model.get_model_object("model_sampling")
        uniform = sys.modules[f"{name}.lumiere_core.schedules"].uniform(10, model.model.lumiere.diffusion)
        spread = comfy.samplers.calculate_sigmas(sampling, "sgm_uniform", 10)
        report["sigmas"] = float(((uniform - spread) / uniform.clamp(min=1e-6)).abs().max())
        for scheduler in ("normal", "simple", "beta", "ddim_uniform", "karras"):
            sigmas = comfy.samplers.calculate_sigmas(sampling, scheduler, 10)
            assert bool((sigmas[:-1] > sigmas[1:]).all()) and bool(sigmas.isfinite().all()), scheduler

        # The VAE is exact both ways, through the core's nodes.
        image = core.VAEDecode().decode(vae, theirs)[0]
        report["decoded"] = list(image.shape)
        again = core.VAEEncode().encode(vae, image)[0]["samples"]
        report["round trip"] = float(
            (core.VAEDecode().decode(vae, {"samples": again})[0] - image).abs().max()
        )
        tiled = core.VAEDecodeTiled().decode(vae, theirs, 512)[0]
        report["tiled"] = float((tiled - image).abs().max())

        # Super-resolution through the host against the engine alone.
        ssr = engine.load(engine.bundled("ssr"))
        enlarged = generate.upscale(ssr, clip_alone, "", generate.Settings(steps=2, window=8, seed=9))
        unclipped = clip_alone[0].permute(1, 2, 3, 0) / 2 + 0.5
        node = pack["Lumiere_Upscale"].execute(unclipped, 9, 2, 8, 2, 0.05).args[0]
        report["upscaled"] = list(node.shape)
        report["ssr"] = 255 * float(
            (node - (enlarged[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1)).abs().max()
        )

        # LoRA: the host finds our layers by their names.
        weight = model.model.diffusion_model.middle_block[0].in_layers[2].weight
        lora = {
            "diffusion_model.middle_block.0.in_layers.2.lora_up.weight": torch.randn(weight.shape[0], 2),
            "diffusion_model.middle_block.0.in_layers.2.lora_down.weight": torch.randn(2, weight[0].numel()),
        }
        with_lora, _ = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0)
        same = (encode(yes), encode(no), latent, 5, 8, 3.0, "dpmpp_2m")
        changed = pack["Lumiere_Sample"].execute(with_lora, *same).args[0]
        back = pack["Lumiere_Sample"].execute(model, *same).args[0]
        report["lora changes"] = float((changed["samples"] - theirs["samples"]).abs().max())
        report["lora leaves"] = 127.5 * float((back["samples"] - theirs["samples"]).abs().max())

        # Newer hosts build layers without weights and load them later (DynamicVRAM): the same clip comes out.
        if hasattr(getattr(comfy, "memory_management", None), "aimdo_enabled"):
            before = comfy.memory_management.aimdo_enabled
            comfy.memory_management.aimdo_enabled = True
            try:
                lazy, lazy_clip, _ = pack["Lumiere_LoadModel"].execute(choice).args
            finally:
                comfy.memory_management.aimdo_enabled = before
            rows = [core.CLIPTextEncode().encode(lazy_clip, text)[0] for text in (yes, no)]
            late = pack["Lumiere_Sample"].execute(lazy, *rows, latent, 5, 8, 3.0, "dpmpp_2m").args[0]
            report["lazy"] = 127.5 * float((late["samples"] - theirs["samples"]).abs().max())

        report["remark"] = host.remark_on(clip, "a red dragon")
        report["refusals"] = {}
        wrong = [[torch.zeros(1, 77, 768), {}]]
        odd = {"samples": torch.zeros(1, 3, 4, 60, 64)}
        for what, call in {
            "foreign prompt": lambda: core.common_ksampler(
                model, 0, 1, 1.0, "euler", "normal", wrong, wrong, latent
            ),
            "odd size": lambda: pack["Lumiere_Sample"].execute(
                model, encode(""), encode(""), odd, 0, 1, 1.0, "euler"
            ),
            "odd size in the core": lambda: core.common_ksampler(
                model, 0, 1, 1.0, "euler", "normal", encode(""), encode(""), odd
            ),
            "latent of another model": lambda: core.common_ksampler(
                model,
                0,
                1,
                1.0,
                "euler",
                "normal",
                encode(""),
                encode(""),
                {"samples": torch.ones(1, 4, 8, 8)},
            ),
            "not ssr": lambda: pack["Lumiere_Upscale"].execute(image, 0, 1, 16, 2, 0.1, model=model),
            "overlap": lambda: pack["Lumiere_Upscale"].execute(image, 0, 1, 4, 4, 0.1),
            "foreign latent": lambda: core.VAEDecode().decode(vae, {"samples": torch.zeros(1, 4, 8, 8)}),
        }.items():
            try:
                call()
                report["refusals"][what] = ""
            except ValueError as error:
                report["refusals"][what] = str(error)
    return report


if __name__ == "__main__":
    print("REPORT " + json.dumps(main()))
