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
from unittest.mock import patch

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


def ksampled(model: Any, latent: dict, seed: int = 5, scheduler: str = "normal") -> Tensor:
    """Two steps of euler through the core's KSampler."""
    given = (model, seed, 2, 3.0, "euler", scheduler, prompt(1), prompt(2), latent)
    return core.common_ksampler(*given)[0]["samples"]


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


class Bench:
    """What every part measures with: the pack, its motion files, an image MODEL, and clips of it."""

    def __init__(self) -> None:
        self.pack = Pack()
        self.files = Files(self.pack)
        for kind, changes in {
            "v1": {"frames": 24},
            "v2": {"middle": True},
            "v3": {},
            "sdxl": {"widths": WIDTHS[3]},
            "still": {"scale": 0.0, "middle": True},
            "still_v1": {"scale": 0.0, "frames": 24},
        }.items():
            self.files.write(f"{kind}.safetensors", **changes)
        self.image, self.xl = drawn(model_of("SD15", **SD15)), drawn(model_of("SDXL", **SDXL))
        self.plain, self.plain_20 = sampled(self.image), sampled(self.image, 20)
        self.once = sampled(self.moved())

    def moved(
        self, model: Any = None, name: str = "v2", strength: float = 1.0, levels: str = OWN, **more: Any
    ) -> Any:
        model = self.image if model is None else model
        return self.pack.run("Inflate", model, f"{name}.safetensors", strength, levels, **more)[0]

    def still(self, model: Any = None) -> Any:
        """With motion modules whose last layers are zero."""
        return self.moved(model, "still")

    def windowed(self, model: Any, share_noise: bool = False) -> Any:
        return self.pack.run("MultiDiffusion", model, 8, 4, "triangle", False, share_noise)[0]

    def looped(self, model: Any) -> Any:
        return self.pack.run("Loop", model, 3)[0]


def unchanged(bench: Bench) -> dict:
    """Zeroed motion is the host's own result; so is a strength of 0; and real motion is another one."""
    image, xl, plain = bench.image, bench.xl, bench.plain
    xl_plain = sampled(xl)
    return {
        "spread": float(plain.std()),
        "still": apart(sampled(bench.still()), plain),
        "strength 0": apart(sampled(bench.moved(strength=0.0)), plain),
        "moves": apart(bench.once, plain),
        "original again": apart(sampled(image), plain),
        "inflated again": apart(sampled(bench.moved()), bench.once),
        "sdxl": apart(sampled(bench.moved(xl, "sdxl", strength=0.0)), xl_plain),
        "sdxl moves": apart(sampled(bench.moved(xl, "sdxl")), xl_plain),
        "kinds": {k: bool(sampled(bench.moved(name=k)).isfinite().all()) for k in ("v1", "v2", "v3")},
    }


def beside_patches(bench: Bench) -> dict:
    """What others put on a MODEL, before and after motion."""
    large = partial(
        sampled, frames=4, size=16
    )  # at 8 the coarsest level has one pixel, and attention is nothing
    image = bench.image
    bare, moving, frozen = large(image), bench.moved(), bench.still()
    found = {}
    for name, put_on in PATCHES.items():
        alone, both = large(put_on(image)), large(put_on(moving))
        found[name] = {
            "acts": apart(alone, bare),
            "before": apart(large(bench.still(put_on(image))), alone),
            "after": apart(large(put_on(frozen)), alone),
            "order": apart(both, large(bench.moved(put_on(image)))),
            "acts on motion": apart(both, large(moving)),
            "is moved": apart(both, alone),
            "leaves": apart(large(image), bare),
        }
    return found


def beside_controlnet(bench: Bench) -> dict:
    control = control_net(6)
    alone = sampled(bench.image, positive=control(prompt(1)))
    return {
        "control acts": apart(alone, bench.plain),
        "control": apart(sampled(bench.still(), positive=control(prompt(1))), alone),
        "control and motion": apart(sampled(bench.moved(), positive=control(prompt(1))), bench.once),
    }


def windows_and_loops(bench: Bench) -> dict:
    image, clip = bench.image, bench.plain_20
    moving, frozen = bench.moved(), bench.still()
    moving_20 = sampled(moving, 20)
    (one_window,) = bench.pack.run("MultiDiffusion", moving, 20, 4, "flat", False, False)
    return {
        "windows": apart(sampled(bench.windowed(frozen), 20), clip),
        "windows move": apart(sampled(bench.windowed(moving), 20), clip),
        "one window": apart(sampled(one_window, 20), moving_20),
        "shared noise": apart(
            sampled(bench.windowed(frozen, share_noise=True), 20),
            sampled(bench.windowed(image, share_noise=True), 20),
        ),
        "loop": apart(sampled(bench.looped(bench.windowed(frozen)), 20), clip),
        "loop moves": apart(sampled(bench.looped(moving), 20), moving_20),
        "prompts": prompts_over_time(bench),
    }


def prompts_over_time(bench: Bench) -> list[float]:
    """One prompt for ten frames and another for ten more: each half beside a clip of its prompt."""
    spans = [
        [
            noise(1, 7, TEXT_WIDTH, seed=s),
            {"mask": m.view(-1, 1, 1).expand(-1, 8, 8), "set_area_to_bounds": False},
        ]
        for s, m in ((1, (torch.arange(20) < 10).float()), (8, (torch.arange(20) >= 10).float()))
    ]
    both = sampled(bench.windowed(bench.still()), 20, spans)
    second = sampled(bench.image, 20, prompt(8))
    return [apart(both[:10], bench.plain_20[:10]), apart(both[10:], second[10:])]


def strength_masks(bench: Bench) -> dict:
    """Motion in the first 8 of 20 frames, in our windows and in the core's; and at half strength everywhere."""
    clip, mask = bench.plain_20, torch.ones(20, 8, 8)
    mask[8:] = 0

    def halves(made: Tensor) -> list[float]:
        return [apart(made[8:], clip[8:]), apart(made[:8], clip[:8])]

    half = sampled(bench.moved(strength_mask=torch.full((1, 64, 64), 0.5)))
    found = {
        "masked frames": halves(sampled(bench.windowed(bench.moved(strength_mask=mask)), 20)),
        "half": apart(half, sampled(bench.moved(strength=0.5))),
    }
    windowed = bench.moved(strength_mask=mask).clone()
    windowed.model_options["context_handler"] = windows.IndexListContextHandler(
        context_schedule=windows.get_matching_context_schedule(windows.ContextSchedules.STATIC_STANDARD),
        fuse_method=windows.get_matching_fuse_method(windows.ContextFuseMethods.PYRAMID),
        context_length=8,
        context_overlap=4,
        dim=0,
    )
    try:
        found["masked in the core's windows"] = halves(sampled(windowed, 20))
    except RuntimeError as error:  # older hosts' own windows take no frames as batch, with or without motion
        assert "sample_sigmas" in "".join(traceback.format_tb(error.__traceback__)), error
    return found


def norms_of_v1(bench: Bench) -> dict:
    """v1 was trained with ResBlocks whose norms see the whole clip: alike frames give what one gives, others do not."""
    one = noise(1, 4, 8, 8).expand(6, -1, -1, -1).clone()
    clips = {
        "alike": {"samples": one, "batch_index": [0] * 6},
        "unlike": {"samples": torch.zeros(6, 4, 8, 8)},
    }
    found = {"v1 block": block_over_the_clip(bench.pack, bench.image)}
    for what, given in clips.items():
        found[f"v1 {what}"] = apart(
            ksampled(bench.moved(name="still_v1"), given), ksampled(bench.image, given)
        )
    return found


def our_sampler(bench: Bench) -> dict:
    latent, moving = {"samples": torch.zeros(6, 4, 8, 8)}, bench.moved()
    own = bench.pack.run("Sample", moving, prompt(1), prompt(2), latent, 5, 2, 3.0, "euler")[0]["samples"]
    return {"our sampler": apart(own, ksampled(moving, latent, 5, "sgm_uniform"))}


def late_weights(bench: Bench) -> dict:
    """Newer hosts build layers without weights and load them later (DynamicVRAM): the same clip comes out."""
    management = vars(comfy).get("memory_management")
    if not hasattr(management, "aimdo_enabled"):
        return {}
    with patch.object(management, "aimdo_enabled", True):
        late = bench.moved()
    return {"late weights": apart(sampled(late), bench.once)}


def noise_levels(bench: Bench) -> dict:
    def top(model: Any) -> float:
        return float(model.get_model_object("model_sampling").sigma_max)

    cases = (("v2", bench.image, "auto"), ("v2", bench.image, OWN), ("sdxl", bench.xl, "auto"))
    tops = {f"{name} {levels}": top(bench.moved(model, name, levels=levels)) for name, model, levels in cases}
    return {"sigma max": tops | {"after": top(bench.image)}}


def motion_loras(bench: Bench) -> dict:
    lora = bench.files.write_lora("pan.safetensors")
    bench.files.write_merged("merged.safetensors", lora, 0.3)
    with_lora = partial(bench.pack.run, "MotionLora")
    merged, panned = sampled(bench.moved(name="merged")), sampled(with_lora(bench.moved(), lora, 0.3)[0])
    both = with_lora(with_lora(bench.moved(), lora, 0.1)[0], lora, 0.2)[0]
    return {
        "motion lora": apart(panned, merged),
        "motion lora acts": apart(panned, bench.once),
        "two motion loras": apart(sampled(both), merged),
        "motion lora leaves": apart(sampled(bench.moved()), bench.once),
    }


def flat_vae() -> Any:
    """The host's VAE of single pictures, tiny and random."""
    network = randomised(TAESD(latent_channels=4), 0.1)
    scale = {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}
    return comfy.sd.VAE(sd={**network.state_dict(), **scale})


def latents(bench: Bench, vae: Any) -> dict:
    """The core's own nodes around it: EmptyLatentImage, VAEDecode, VAEEncode, SetLatentNoiseMask."""
    moving, given = bench.moved(), noise(5, 4, 8, 8, seed=3)
    made = ksampled(moving, core.EmptyLatentImage().generate(64, 64, 16)[0], 1)
    mask = (torch.arange(64) < 32).float().expand(5, 64, 64)
    kept = ksampled(moving, core.SetLatentNoiseMask().set_mask({"samples": given}, mask)[0], 1)
    return {
        "decoded": list(core.VAEDecode().decode(vae, {"samples": made})[0].shape),
        "encoded": list(core.VAEEncode().encode(vae, torch.rand(5, 64, 64, 3))[0]["samples"].shape),
        "kept": [apart(kept[..., 4:], given[..., 4:]), apart(kept[..., :4], given[..., :4])],
    }


def shipped(bench: Bench, vae: Any) -> dict:
    bench.files.write("mm_sd15_v3.safetensors")
    names = ("3_sd15_text_to_clip", "3_sd15_long_clip")
    return {name: workflow(bench.pack, name, bench.image, vae) for name in names}


def refused(bench: Bench) -> dict[str, str]:
    pack, image, moved, motion = bench.pack, bench.image, bench.moved, bench.files.motion
    (motion / "half.safetensors").write_bytes((motion / "v2.safetensors").read_bytes()[:-9])
    torch.save({"state_dict": {}}, motion / "mm.ckpt")
    short, lora = torch.ones(4, 8, 8), "pan.safetensors"

    def wide_window() -> Tensor:
        return sampled(pack.run("MultiDiffusion", moved(name="v1"), 30, 4, "flat", False, False)[0], 40)

    calls = {
        "5D": lambda: sampled(moved(), latent=torch.zeros(1, 4, 6, 8, 8)),
        "frames": lambda: sampled(moved(name="v1"), 25),
        "window": wide_window,
        "base": lambda: moved(image, "sdxl"),
        "other base": lambda: moved(bench.xl),
        "video model": lambda: moved(wan_vace().model),
        "our model": lambda: moved(pack.model),
        "twice": lambda: moved(moved()),
        "mask": lambda: sampled(moved(strength_mask=short)),
        "mask in windows": lambda: sampled(bench.windowed(moved(strength_mask=short)), 20),
        "half": lambda: moved(name="half"),
        "pickle": lambda: pack.run("Inflate", image, "mm.ckpt", 1.0, OWN),
        "nowhere": lambda: moved(name="nowhere"),
        "no motion": lambda: pack.run("MotionLora", image, lora, 1.0),
        "lora for another": lambda: pack.run("MotionLora", moved(name="v3"), lora, 1.0),
    }
    return {what: sentence(call) for what, call in calls.items()}


PARTS = (
    unchanged,
    beside_patches,
    beside_controlnet,
    windows_and_loops,
    strength_masks,
    norms_of_v1,
    our_sampler,
    late_weights,
    noise_levels,
    motion_loras,
)


def main() -> None:
    bench, report = Bench(), {}
    for part in PARTS:
        report |= part(bench)
    vae = flat_vae()
    report |= latents(bench, vae) | shipped(bench, vae)
    report["refused"] = refused(bench)
    report["hooks left"] = sum(len(m._forward_hooks) for m in bench.image.model.diffusion_model.modules())
    report["hands over"] = bench.pack.module("nodes.host.image.inflate").host_hands_over_layers()
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
