"""Runs inside ComfyUI's own interpreter: an image MODEL strided in time. Prints one JSON object.

`test_spacetime.py` starts it. Models and files are those of `inside_inflate.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from inside import Pack, core, sentence  # noqa: E402, I001  (first: it puts the host on the path)
import comfy.model_management  # noqa: E402
import comfy.ops  # noqa: E402
import torch  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel  # noqa: E402
from inside_inflate import (  # noqa: E402
    OWN,
    SD15,
    SDXL,
    WIDTHS,
    Files,
    apart,
    control_net,
    drawn,
    free_u,
    image_lora,
    louder,
    noise,
    perturbed,
    prompt,
    sampled,
)
from standins import TEXT_WIDTH, model_of, wan_vace  # noqa: E402

FRAMES, N = 9, 8
PER_CHANNELS = {"num_heads": -1, "num_head_channels": 32, "use_linear_in_transformer": True}
FAMILIES = {  # the host's own U-Net, a few channels wide
    "SD1.5": SD15,
    "SD1.5 inpainting": {**SD15, "in_channels": 9},
    "SD2": {**SD15, **PER_CHANNELS},
    "SDXL": {**SDXL, **PER_CHANNELS},
    "the SD x4 upscaler": {
        **SD15,
        "in_channels": 7,
        "channel_mult": [1, 2, 2, 4],
        "transformer_depth": [0, 0, 1, 1, 1, 1, 1, 1],
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        "disable_self_attentions": [True, True, True, False],
        "use_linear_in_transformer": True,
        "num_classes": 1000,
    },
}


def beside_the_host_s(pack: Pack, name: str) -> dict[str, Any]:
    """Our U-Net over the weights of the host's, both asked the same."""
    families, unet = (
        pack.module("lumiere_core.model.backbones.families"),
        pack.module("lumiere_core.model.unet"),
    )
    theirs = UNetModel(**FAMILIES[name], dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    for i, weight in enumerate(theirs.parameters()):
        weight.copy_(noise(*weight.shape, seed=i) / max(weight[0].numel(), 2) ** 0.5)
    weights = theirs.state_dict()
    family, spec = families.spec_of_unet({name: tuple(weight.shape) for name, weight in weights.items()})
    if theirs.num_heads < 0:
        spec = pack.module("lumiere_core.config").replace(spec, head_dim=theirs.num_head_channels)
    ours = unet.UNet(spec)
    ours.load_state_dict(weights)
    y = {"SDXL": noise(3, 2816, seed=4), "the SD x4 upscaler": torch.tensor([3, 350, 999])}.get(name)
    x, t = noise(3, FAMILIES[name]["in_channels"], 18, 10, seed=5), torch.tensor([0.0, 333.25, 999.0])
    text = noise(3, 7, TEXT_WIDTH, seed=6)
    want = theirs(x, t, text, y)
    return {"family": family.name, "apart": apart(ours(x, t, text, label=y), want), "std": float(want.std())}


class Image:
    """An image MODEL, motion files for it, and *Inflate* in mode lumiere."""

    def __init__(self, pack: Pack) -> None:
        self.pack, self.files = pack, Files(pack)
        self.files.write("v2.safetensors", middle=True)
        self.files.write("v3.safetensors")
        self.files.write("v1.safetensors", frames=24)
        self.files.write("still.safetensors", scale=0.0, middle=True)
        self.files.write("still_xl.safetensors", scale=0.0, widths=WIDTHS[3])
        self.model = drawn(model_of("SD15", **SD15))
        self.still, self.moving = self.moved(self.model, "still"), self.moved(self.model)
        self.plain, self.clip = sampled(self.model, FRAMES), sampled(self.moving, FRAMES)

    def moved(self, model: Any, name: str = "v2", **more: Any) -> Any:
        more = {"strength": 1.0, "noise_levels": OWN, "mode": "lumiere", **more}
        return self.pack.run("Inflate", model, f"{name}.safetensors", **more)[0]


def without_motion(image: Image) -> dict[str, Any]:
    """Every eighth frame is the host's own picture, and frames that start alike are all the host's."""
    once = sampled(image.still, FRAMES)
    alike = {"samples": torch.zeros(FRAMES, 4, 8, 8), "batch_index": [0] * FRAMES}
    same = [
        core.common_ksampler(m, 5, 2, 3.0, "euler", "normal", prompt(1), prompt(2), alike)[0]["samples"]
        for m in (image.still, image.model)
    ]
    odd = torch.zeros(FRAMES, 4, 10, 7)  # halved three times and rounded up
    xl = drawn(model_of("SDXL", **SDXL))  # three levels, so four frames are one
    return {
        "spread": float(image.plain.std()),
        "still": apart(once[::N], image.plain[::N]),
        "between": apart(once[1::N], image.plain[1::N]),
        "one frame": apart(sampled(image.still, 1), sampled(image.model, 1)),
        "alike": apart(*same),
        "odd size": apart(sampled(image.still, latent=odd)[::N], sampled(image.model, latent=odd)[::N]),
        "moves": apart(image.clip[::N], image.plain[::N]),
        "sdxl": apart(sampled(image.moved(xl, "still_xl"), 5)[::4], sampled(xl, 5)[::4]),
    }


def with_loras(image: Image) -> dict[str, Any]:
    """On either side; the original stays as it was."""
    want = sampled(image_lora(image.model), FRAMES)
    report = {
        "lora acts": apart(want, image.plain),
        "lora before": apart(sampled(image.moved(image_lora(image.model), "still"), FRAMES)[::N], want[::N]),
        "lora after": apart(sampled(image_lora(image.still), FRAMES)[::N], want[::N]),
    }
    comfy.model_management.load_models_gpu([image_lora(image.model)])  # its weights are now the LoRA's
    taken = sampled(image.moved(image.model, "still"), FRAMES)
    return report | {
        "taken while a LoRA is in": apart(taken[::N], image.plain[::N]),
        "original again": apart(sampled(image.model, FRAMES), image.plain),
        "inflated again": apart(sampled(image.moving, FRAMES), image.clip),
    }


def what_it_carries(image: Image) -> dict[str, Any]:
    """The MODEL's own weights, in place, and what else belongs to it."""
    theirs, ours = image.model.model, image.moving.model
    state, parameters = ours.diffusion_model.state_dict(), dict(ours.diffusion_model.named_parameters())
    originals = theirs.diffusion_model.state_dict().items()
    levels = [image.moved(image.model, noise_levels=name) for name in ("auto", OWN)]
    return {
        "apart in storage": [n for n, t in originals if state[n].data_ptr() != t.data_ptr()],
        "one parameter": [n for n, p in theirs.diffusion_model.named_parameters() if parameters[n] is p],
        "kept": [
            ours.model_config is theirs.model_config,
            type(ours) is type(theirs),
            ours.latent_format is theirs.latent_format,
        ],
        "sigma max": [float(m.get_model_object("model_sampling").sigma_max) for m in levels],
        "kinds": [
            bool(sampled(image.moved(image.model, kind), 11).isfinite().all()) for kind in ("v1", "v2", "v3")
        ],
    }


def in_other_nodes(image: Image) -> dict[str, Any]:
    """Windows, a loop, and our sampler."""
    run, report = image.pack.run, {}
    (long,) = run("MultiDiffusion", image.still, 16, 8, "triangle", False, False)
    report["windows"] = apart(sampled(long, 24)[::N], sampled(image.model, 24)[::N])
    (long,) = run("MultiDiffusion", image.moving, 16, 8, "triangle", False, False)
    report["windows move"] = bool(sampled(run("Loop", long, 3)[0], 25).isfinite().all())
    latent = {"samples": torch.zeros(FRAMES, 4, 8, 8)}
    own = run("Sample", image.moving, prompt(1), prompt(2), latent, 5, 2, 3.0, "euler")[0]["samples"]
    known = core.common_ksampler(
        image.moving, 5, 2, 3.0, "euler", "sgm_uniform", prompt(1), prompt(2), latent
    )
    report["our sampler"] = apart(own, known[0]["samples"])
    return report


def told_more(image: Image) -> dict[str, Any]:
    """The inpainting checkpoint, which the host shows a mask; and the x4 upscaler, which it tells a noise level."""
    painter = drawn(model_of("SD15", **FAMILIES["SD1.5 inpainting"]))
    clip_and_mask = noise(FRAMES, 4, 8, 8, seed=3), (noise(FRAMES, 8, 8, seed=4) > 0).float()
    held = core.SetLatentNoiseMask().set_mask({"samples": clip_and_mask[0]}, clip_and_mask[1])[0]
    painted = [
        core.common_ksampler(m, 5, 2, 3.0, "euler", "normal", prompt(1), prompt(2), held)[0]["samples"][::N]
        for m in (image.moved(painter, "still"), painter)
    ]
    image.files.write("still_x4.safetensors", scale=0.0, widths=(32, 64, 64, 128))
    upscaler = drawn(model_of("SD_X4Upscaler", **FAMILIES["the SD x4 upscaler"]))
    # It subtracts large numbers: the host's own result changes by 5e-5 with the batch. So its noise is the measure.
    off = sampled(image.moved(upscaler, "still_x4"), FRAMES)[::N] - sampled(upscaler, FRAMES)[::N]
    largest = upscaler.get_model_object("model_sampling").sigma_max
    return {"inpainting": apart(*painted), "x4": float(off.abs().max() / largest)}


def weights_that_come_late(image: Image) -> dict[str, Any]:
    """Newer hosts build layers without weights and load them later (DynamicVRAM): the same clip comes out."""
    management = vars(comfy).get("memory_management")
    if not hasattr(management, "aimdo_enabled"):
        return {}
    was, management.aimdo_enabled = management.aimdo_enabled, True
    try:
        late = image.moved(image.model)
    finally:
        management.aimdo_enabled = was
    return {"late weights": apart(sampled(late, FRAMES), image.clip)}


def refused(image: Image) -> dict[str, str]:
    """The sentence for each thing that cannot work."""
    pack, files, model, moving, moved = image.pack, image.files, image.model, image.moving, image.moved
    (files.motion / "half.safetensors").write_bytes((files.motion / "v2.safetensors").read_bytes()[:-9])
    lora = files.write_lora("pan.safetensors")
    quantised = model_of("SD15", **SD15)
    quantised.model.diffusion_model.to(torch.float8_e4m3fn)
    return {
        "controlnet": sentence(lambda: sampled(moving, 6, control_net(6)(prompt(1)))),
        "free u": sentence(lambda: sampled(free_u(moving), 6)),
        "free u before": sentence(lambda: sampled(moved(free_u(model)), 6)),
        "attention": sentence(lambda: sampled(louder(moving), 6)),
        "perturbed": sentence(lambda: sampled(perturbed(moving), 6)),
        "strength": sentence(lambda: moved(model, strength=0.5)),
        "mask": sentence(lambda: moved(model, strength_mask=torch.ones(1, 8, 8))),
        "twice": sentence(lambda: moved(moving)),
        "compat after": sentence(lambda: moved(moving, mode="compat")),
        "after compat": sentence(lambda: moved(moved(model, mode="compat"))),
        "video model": sentence(lambda: moved(wan_vace().model)),
        "our model": sentence(lambda: moved(pack.model)),
        "base": sentence(lambda: moved(model, "still_xl")),
        "half": sentence(lambda: moved(model, "half")),
        "frames": sentence(lambda: sampled(moved(model, "v1"), 25)),
        "5D": sentence(lambda: sampled(moving, latent=torch.zeros(1, 4, 6, 8, 8))),
        "motion lora": sentence(lambda: pack.run("MotionLora", moving, lora, 1.0)),
        "quantised": sentence(lambda: moved(quantised)),
    }


def main() -> None:
    pack = Pack()
    report: dict[str, Any] = {"families": {name: beside_the_host_s(pack, name) for name in FAMILIES}}
    image = Image(pack)
    parts = without_motion, with_loras, what_it_carries, in_other_nodes, told_more, weights_that_come_late
    for part in parts:
        report |= part(image)
    report["refused"] = refused(image)
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
