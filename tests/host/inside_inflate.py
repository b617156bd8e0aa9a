"""Runs inside ComfyUI's own interpreter: public motion files on an image MODEL. Prints one JSON object.

`test_inflate.py` starts it. The image models are the host's own classes, a few channels wide, with random weights; so
are the motion files.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from inside import Pack, base, core, sentence  # noqa: E402, I001  (first: it puts the host on the path)
import comfy.context_windows as windows  # noqa: E402
import comfy.controlnet  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.sd  # noqa: E402
import torch  # noqa: E402
from comfy.cldm.cldm import ControlNet  # noqa: E402
from comfy.ldm.modules.attention import SpatialTransformer  # noqa: E402
from comfy.taesd.taesd import TAESD  # noqa: E402
from inside_masks import PACK, SAVING, host_nodes, run_graph, to_prompt, watching  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from standins import TEXT_WIDTH, Text, model_of, randomised, wan_vace  # noqa: E402
from torch import Tensor  # noqa: E402

SD15 = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": TEXT_WIDTH,
    "use_spatial_transformer": True,
    "num_heads": 8,
    "legacy": False,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
}
SDXL = {
    **SD15,
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 2],
    "transformer_depth": [0, 0, 1, 1, 2, 2],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "transformer_depth_middle": 2,
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
}
WIDTHS = {4: (32, 64, 64, 64), 3: (32, 64, 64)}
OWN = "the MODEL's own"


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prompt(seed: int) -> list:
    return [[noise(1, 7, TEXT_WIDTH, seed=seed), {"pooled_output": noise(1, 1280, seed=seed)}]]


def sampled(
    model: Any, frames: int = 6, positive: Any = None, latent: Tensor | None = None, size: int = 8
) -> Tensor:
    """Two steps of euler through the core's own path, with guidance. `(T, 4, size, size)`"""
    latent = torch.zeros(frames, 4, size, size) if latent is None else latent
    return comfy.sample.sample(
        model,
        comfy.sample.prepare_noise(latent, 5),
        2,
        3.0,
        "euler",
        "normal",
        prompt(1) if positive is None else positive,
        prompt(2),
        latent,
        seed=5,
    )


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, in standard deviations."""
    return float((a - b).abs().max() / b.std())


variance = partial(torch.var, correction=0)


class Files:
    """Motion files of random weights, where the host looks for them."""

    def __init__(self, pack: Pack) -> None:
        self.network = pack.module("lumiere_core.model.animatediff.network")
        self.motion = Path(base) / "models" / "animatediff_models"
        self.loras = Path(base) / "models" / "animatediff_motion_lora"
        for folder in (self.motion, self.loras):
            folder.mkdir(parents=True, exist_ok=True)

    def spec(self, widths: tuple[int, ...] = WIDTHS[4], **changes: Any) -> Any:
        return self.network.MotionSpec("", "", widths, **{"frames": 32, **changes})

    def write(self, name: str, scale: float = 1.0, **changes: Any) -> str:
        """scale: of the last layers, whose results are added."""
        tensors = {}
        for i, (key, t) in enumerate(self.network.MotionModules(self.spec(**changes)).state_dict().items()):
            tensors[key] = noise(*t.shape, seed=i) / max(t.shape[-1], 2) ** 0.5
            if ".proj_out." in key:
                tensors[key] *= scale
            if key.endswith("norm.weight") or ".norms." in key:
                tensors[key] += 1
        save_file(tensors, self.motion / name)
        return name

    def write_lora(self, name: str) -> str:
        found = {}
        for key, t in load_file(self.motion / "v2.safetensors").items():
            if ".to_" in key and key.endswith("weight"):
                front, layer = key.removesuffix(".weight").replace("to_out.0", "to_out").rsplit(".", 1)
                for which, shape in (("down", (2, t.shape[1])), ("up", (t.shape[0], 2))):
                    found[f"{front}.processor.{layer}_lora.{which}.weight"] = noise(*shape, seed=len(found))
        save_file(found, self.loras / name)
        return name

    def write_merged(self, name: str, lora: str, strength: float) -> str:
        """v2 with the LoRA in its weights, by hand."""
        tensors, factors = load_file(self.motion / "v2.safetensors"), load_file(self.loras / lora)
        for key, down in factors.items():
            if ".down." in key:
                target = key.replace(".processor", "").replace("_lora.down", "").replace("to_out", "to_out.0")
                tensors[target] += strength * factors[key.replace(".down.", ".up.")] @ down
        save_file(tensors, self.motion / name)
        return name


def drawn(model: Any) -> Any:
    """The MODEL with weights that keep the size of what they are given, so that each layer has its effect."""
    for i, weight in enumerate(model.model.diffusion_model.parameters()):
        if weight.ndim > 1:
            weight.copy_(noise(*weight.shape, seed=i) / weight[0].numel() ** 0.5)
    return model


def image_lora(model: Any) -> Any:
    """The MODEL with a LoRA on some of its layers."""
    sd, n = {}, 0
    for key, weight in model.model.state_dict().items():
        if key.endswith((".attn1.to_q.weight", "in_layers.2.weight")):
            n += 2
            front = key.removesuffix(".weight")
            sd[f"{front}.lora_up.weight"] = noise(weight.shape[0], 2, seed=n)
            sd[f"{front}.lora_down.weight"] = 0.3 * noise(2, weight[0].numel(), seed=n + 1)
    return comfy.sd.load_lora_for_models(model, None, sd, 1.0, 0)[0]


def control_net(frames: int) -> Callable[[list], list]:
    """A tiny ControlNet on a prompt, one hint a frame."""
    sizes = {
        k: v
        for k, v in SD15.items()
        if k not in ("out_channels", "adm_in_channels", "transformer_depth_output")
    }
    net = ControlNet(**sizes, hint_channels=3, dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    wrapped = comfy.controlnet.ControlNet(randomised(net, 0.1), load_device=torch.device("cpu"))
    hints = noise(frames, 64, 64, 3, seed=9).clamp(0, 1)
    return lambda cond: core.ControlNetApplyAdvanced().apply_controlnet(
        cond, cond, wrapped, hints, 1.0, 0.0, 1.0
    )[0]


def louder(model: Any) -> Any:
    """The MODEL with another pack's attention patch."""
    model = model.clone()
    model.set_model_attn1_output_patch(lambda out, extra: 1.5 * out)
    return model


def with_handler(model: Any) -> Any:
    """The MODEL with another pack's handler of the hook that we use."""

    def handler(layer: Any, x: Tensor, emb: Tensor, context: Tensor, options: dict, *_: Any) -> Tensor:
        return 1.2 * layer(x, context, options)

    model = model.clone()
    model.set_model_forward_timestep_embed_patch((SpatialTransformer, handler))
    return model


def free_u(model: Any) -> Any:
    from comfy_extras.nodes_freelunch import FreeU as node  # the second version divides by 0 in one pixel

    return (
        node.execute(model, 1.3, 1.4, 0.9, 0.2).args
        if hasattr(node, "execute")
        else node().patch(model, 1.3, 1.4, 0.9, 0.2)
    )[0]


def perturbed(model: Any) -> Any:
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance as node

    return (node.execute(model, 3.0).args if hasattr(node, "execute") else node().patch(model, 3.0))[0]


PATCHES = {
    "lora": image_lora,
    "free u": free_u,
    "attention patch": louder,
    "perturbed attention": perturbed,
    "another handler": with_handler,
}


def block_over_the_clip(pack: Pack, image: Any) -> float:
    """A ResBlock of the host with our hooks, beside the same layers on `(B, C, T, H, W)` by hand."""
    inflate = pack.module("nodes.host.image.inflate")
    unet, (clips, frames) = image.model.diffusion_model, (2, 3)
    block = unet.input_blocks[1][0]
    x, emb = noise(clips * frames, 32, 4, 4, seed=1), noise(clips * frames, 128, seed=2)
    with inflate.hooked(
        inflate.norms_of(unet), lambda n, given, _: inflate.over_the_clip(n.forward, given[0], frames)
    ):
        ours = block(x, emb)

    def layers(h: Tensor, norm: Any, conv: Any) -> Tensor:
        wide = h.unflatten(0, (clips, frames)).transpose(1, 2)
        mean, var = (
            f(wide.unflatten(1, (32, -1)), dim=(2, 3, 4, 5), keepdim=True) for f in (torch.mean, variance)
        )
        wide = ((wide.unflatten(1, (32, -1)) - mean) / (var + norm.eps).sqrt()).flatten(1, 2)
        h = wide.transpose(1, 2).flatten(0, 1) * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
        return torch.nn.functional.conv2d(torch.nn.functional.silu(h), conv.weight, conv.bias, padding=1)

    h = layers(x, block.in_layers[0], block.in_layers[2]) + block.emb_layers(emb)[..., None, None]
    return apart(ours, x + layers(h, block.out_layers[0], block.out_layers[3]))


SMALL = {"KSampler": {"steps": 2}, "EmptyLatentImage": {"width": 64, "height": 64}}


def workflow(pack: Pack, name: str, image: Any, vae: Any) -> dict:
    """A shipped graph to its frames, with stand-ins for the files it names, and what its network was given."""
    graph = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    files = [m["name"] for node in graph["nodes"] for m in node["properties"].get("models", [])]
    graph["nodes"] = [node for node in graph["nodes"] if node["type"] not in SAVING]
    classes = {**host_nodes(), **pack.nodes}
    used = {node["type"] for node in graph["nodes"]} & set(classes)
    prompt = to_prompt(graph, {kind: {"input": classes[kind].INPUT_TYPES()} for kind in used})
    for node in prompt.values():
        node["inputs"] |= SMALL.get(node["class_type"], {})
    loaded = {"CheckpointLoaderSimple": (image, Text(), vae)}
    with watching(image) as calls:
        done = run_graph(prompt, classes, loaded)
    frames = done["VAEDecode"][0]
    seen = {len(c["x"]) // len(c["transformer_options"]["cond_or_uncond"]) for c in calls}
    return {"frames": list(frames.shape), "files": files, "seen": sorted(seen), "spread": float(frames.std())}


def main() -> None:
    pack = Pack()
    files = Files(pack)
    report: dict[str, Any] = {}
    for kind, changes in {
        "v1": {"frames": 24},
        "v2": {"middle": True},
        "v3": {},
        "sdxl": {"widths": WIDTHS[3]},
    }.items():
        files.write(f"{kind}.safetensors", **changes)
    files.write("still.safetensors", scale=0.0, middle=True)
    image = drawn(model_of("SD15", **SD15))
    inflate = partial(pack.run, "Inflate")

    def moved(model: Any, name: str = "v2", strength: float = 1.0, levels: str = OWN, **more: Any) -> Any:
        return inflate(model, f"{name}.safetensors", strength, levels, **more)[0]

    plain = sampled(image)
    report["spread"] = float(plain.std())
    # Zeroed motion is the host's own result; so is a strength of 0; and real motion is another one.
    report["still"] = apart(sampled(moved(image, "still")), plain)
    report["strength 0"] = apart(sampled(moved(image, strength=0.0)), plain)
    once = sampled(moved(image))
    report["moves"] = apart(once, plain)
    report["original again"] = apart(sampled(image), plain)
    report["inflated again"] = apart(sampled(moved(image)), once)
    large = partial(
        sampled, frames=4, size=16
    )  # or the coarsest level has one pixel, where attention is nothing
    bare, moving, frozen = large(image), moved(image), moved(image, "still")
    for name, patch in PATCHES.items():
        alone, both = large(patch(image)), large(patch(moving))
        report[name] = {
            "acts": apart(alone, bare),
            "before": apart(large(moved(patch(image), "still")), alone),
            "after": apart(large(patch(frozen)), alone),
            "order": apart(both, large(moved(patch(image)))),
            "acts on motion": apart(both, large(moving)),
            "is moved": apart(both, alone),
            "leaves": apart(large(image), bare),
        }
    control = control_net(6)
    alone = sampled(image, positive=control(prompt(1)))
    report["control acts"] = apart(alone, plain)
    report["control"] = apart(sampled(moved(image, "still"), positive=control(prompt(1))), alone)
    report["control and motion"] = apart(sampled(moved(image), positive=control(prompt(1))), once)

    # Windows, loop, prompts over time, shared noise
    def long(model: Any, roll: bool = False, noise: bool = False) -> Any:
        (model,) = pack.run("MultiDiffusion", model, 8, 4, "triangle", False, noise)
        return pack.run("Loop", model, 3)[0] if roll else model

    clip = sampled(image, 20)
    report["windows"] = apart(sampled(long(moved(image, "still")), 20), clip)
    report["windows move"] = apart(sampled(long(moved(image)), 20), clip)
    report["one window"] = apart(
        sampled(pack.run("MultiDiffusion", moved(image), 20, 4, "flat", False, False)[0], 20),
        sampled(moved(image), 20),
    )
    report["shared noise"] = apart(
        sampled(long(moved(image, "still"), noise=True), 20), sampled(long(image, noise=True), 20)
    )
    report["loop"] = apart(sampled(long(moved(image, "still"), roll=True), 20), clip)
    rolled = sampled(pack.run("Loop", moved(image), 3)[0], 20)
    report["loop moves"] = apart(rolled, sampled(moved(image), 20))
    mask = torch.ones(20, 8, 8)
    mask[8:] = 0
    part = sampled(long(moved(image, strength_mask=mask)), 20)
    report["masked frames"] = [apart(part[8:], clip[8:]), apart(part[:8], clip[:8])]
    half = sampled(moved(image, strength_mask=torch.full((1, 64, 64), 0.5)))
    report["half"] = apart(half, sampled(moved(image, strength=0.5)))
    spans = [
        [
            noise(1, 7, TEXT_WIDTH, seed=s),
            {"mask": m.view(-1, 1, 1).expand(-1, 8, 8), "set_area_to_bounds": False},
        ]
        for s, m in ((1, (torch.arange(20) < 10).float()), (8, (torch.arange(20) >= 10).float()))
    ]
    both = sampled(long(moved(image, "still")), 20, spans)
    report["prompts"] = [apart(both[:10], clip[:10]), apart(both[10:], sampled(image, 20, prompt(8))[10:])]

    # Files of other kinds
    xl = drawn(model_of("SDXL", **SDXL))
    report["sdxl"] = apart(sampled(moved(xl, "sdxl", strength=0.0)), sampled(xl))
    report["sdxl moves"] = apart(sampled(moved(xl, "sdxl")), sampled(xl))
    # v1 was trained with ResBlocks whose norms see the whole clip: alike frames give what one gives, others do not.
    files.write("still_v1.safetensors", scale=0.0, frames=24)
    alike = noise(1, 4, 8, 8).expand(6, -1, -1, -1).clone()
    alike = {"samples": alike, "batch_index": [0] * 6}
    for what, given in (("alike", alike), ("unlike", {"samples": torch.zeros(6, 4, 8, 8)})):
        one, clip_wide = (
            core.common_ksampler(m, 5, 2, 3.0, "euler", "normal", prompt(1), prompt(2), given)[0]["samples"]
            for m in (image, moved(image, "still_v1"))
        )
        report[f"v1 {what}"] = apart(clip_wide, one)
    report["v1 block"] = block_over_the_clip(pack, image)
    report["kinds"] = {k: bool(sampled(moved(image, k)).isfinite().all()) for k in ("v1", "v2", "v3")}

    # Our own sampler; the core's own windows, whose frames a mask must follow, too
    latent = {"samples": torch.zeros(6, 4, 8, 8)}
    own = pack.run("Sample", moved(image), prompt(1), prompt(2), latent, 5, 2, 3.0, "euler")[0]["samples"]
    theirs = core.common_ksampler(
        moved(image), 5, 2, 3.0, "euler", "sgm_uniform", prompt(1), prompt(2), latent
    )
    report["our sampler"] = apart(own, theirs[0]["samples"])
    windowed = moved(image, strength_mask=mask).clone()
    windowed.model_options["context_handler"] = windows.IndexListContextHandler(
        context_schedule=windows.get_matching_context_schedule(windows.ContextSchedules.STATIC_STANDARD),
        fuse_method=windows.get_matching_fuse_method(windows.ContextFuseMethods.PYRAMID),
        context_length=8,
        context_overlap=4,
        dim=0,
    )
    try:
        part = sampled(windowed, 20)
        report["masked in the core's windows"] = [apart(part[8:], clip[8:]), apart(part[:8], clip[:8])]
    except RuntimeError as error:  # older hosts' own windows take no frames as batch, with or without motion
        assert "sample_sigmas" in "".join(traceback.format_tb(error.__traceback__)), error

    # Newer hosts build layers without weights and load them later (DynamicVRAM): the same clip comes out.
    management = vars(comfy).get("memory_management")
    if hasattr(management, "aimdo_enabled"):
        was, management.aimdo_enabled = management.aimdo_enabled, True
        try:
            late = moved(image)
        finally:
            management.aimdo_enabled = was
        report["late weights"] = apart(sampled(late), once)

    # Noise levels
    tops = {}
    for name, model, levels in (("v2", image, "auto"), ("v2", image, OWN), ("sdxl", xl, "auto")):
        tops[f"{name} {levels}"] = float(
            moved(model, name, levels=levels).get_model_object("model_sampling").sigma_max
        )
    report["sigma max"] = tops | {"after": float(image.get_model_object("model_sampling").sigma_max)}

    # Motion LoRAs
    lora = files.write_lora("pan.safetensors")
    files.write_merged("merged.safetensors", lora, 0.3)
    (panned,) = pack.run("MotionLora", moved(image), lora, 0.3)
    report["motion lora"] = apart(sampled(panned), sampled(moved(image, "merged")))
    report["motion lora acts"] = apart(sampled(panned), once)
    both = pack.run("MotionLora", pack.run("MotionLora", moved(image), lora, 0.1)[0], lora, 0.2)[0]
    report["two motion loras"] = apart(sampled(both), sampled(moved(image, "merged")))
    report["motion lora leaves"] = apart(sampled(moved(image)), once)

    # A 2D VAE
    network = randomised(TAESD(latent_channels=4), 0.1)
    scale = {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}
    vae = comfy.sd.VAE(sd={**network.state_dict(), **scale})
    latent = core.EmptyLatentImage().generate(64, 64, 16)[0]
    made = core.common_ksampler(moved(image), 1, 2, 3.0, "euler", "normal", prompt(1), prompt(2), latent)[0]
    report["decoded"] = list(core.VAEDecode().decode(vae, made)[0].shape)
    report["encoded"] = list(core.VAEEncode().encode(vae, torch.rand(5, 64, 64, 3))[0]["samples"].shape)
    encoded = {"samples": noise(5, 4, 8, 8, seed=3)}
    held = core.SetLatentNoiseMask().set_mask(encoded, (torch.arange(64) < 32).float().expand(5, 64, 64))[0]
    kept = core.common_ksampler(moved(image), 1, 2, 3.0, "euler", "normal", prompt(1), prompt(2), held)[0][
        "samples"
    ]
    report["kept"] = [
        apart(kept[..., 4:], encoded["samples"][..., 4:]),
        apart(kept[..., :4], encoded["samples"][..., :4]),
    ]

    # The shipped graphs
    files.write("mm_sd15_v3.safetensors")
    for name in ("3_sd15_text_to_clip", "3_sd15_long_clip"):
        report[name] = workflow(pack, name, image, vae)

    # Refusals
    (files.motion / "half.safetensors").write_bytes((files.motion / "v2.safetensors").read_bytes()[:-9])
    torch.save({"state_dict": {}}, files.motion / "mm.ckpt")
    report["refused"] = {
        "5D": sentence(lambda: sampled(moved(image), latent=torch.zeros(1, 4, 6, 8, 8))),
        "frames": sentence(lambda: sampled(moved(image, "v1"), 25)),
        "window": sentence(
            lambda: sampled(
                pack.run("MultiDiffusion", moved(image, "v1"), 30, 4, "flat", False, False)[0], 40
            )
        ),
        "base": sentence(lambda: moved(image, "sdxl")),
        "other base": sentence(lambda: moved(xl)),
        "video model": sentence(lambda: moved(wan_vace().model)),
        "our model": sentence(lambda: moved(pack.model)),
        "twice": sentence(lambda: moved(moved(image))),
        "mask": sentence(lambda: sampled(moved(image, strength_mask=torch.ones(4, 8, 8)))),
        "mask in windows": sentence(
            lambda: sampled(long(moved(image, strength_mask=torch.ones(4, 8, 8))), 20)
        ),
        "half": sentence(lambda: moved(image, "half")),
        "pickle": sentence(lambda: inflate(image, "mm.ckpt", 1.0, OWN)),
        "nowhere": sentence(lambda: moved(image, "nowhere")),
        "no motion": sentence(lambda: pack.run("MotionLora", image, lora, 1.0)),
        "lora for another": sentence(lambda: pack.run("MotionLora", moved(image, "v3"), lora, 1.0)),
    }
    report["hooks left"] = sum(len(m._forward_hooks) for m in image.model.diffusion_model.modules())
    report["hands over"] = pack.module("nodes.host.image.inflate").host_hands_over_layers()
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
