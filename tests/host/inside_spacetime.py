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


def main() -> None:
    pack = Pack()
    files = Files(pack)
    report: dict[str, Any] = {}
    report["families"] = {name: beside_the_host_s(pack, name) for name in FAMILIES}
    files.write("v2.safetensors", middle=True)
    files.write("v3.safetensors")
    files.write("v1.safetensors", frames=24)
    files.write("still.safetensors", scale=0.0, middle=True)
    files.write("still_xl.safetensors", scale=0.0, widths=WIDTHS[3])
    image = drawn(model_of("SD15", **SD15))

    def moved(model: Any, name: str = "v2", **more: Any) -> Any:
        more = {"strength": 1.0, "noise_levels": OWN, "mode": "lumiere", **more}
        return pack.run("Inflate", model, f"{name}.safetensors", **more)[0]

    plain = sampled(image, FRAMES)
    still, moving = moved(image, "still"), moved(image)
    report["spread"] = float(plain.std())
    # Without motion every eighth frame is the host's own picture, and frames that start alike are all the host's.
    once = sampled(still, FRAMES)
    report["still"] = apart(once[::N], plain[::N])
    report["between"] = apart(once[1::N], plain[1::N])
    report["one frame"] = apart(sampled(still, 1), sampled(image, 1))
    alike = {"samples": torch.zeros(FRAMES, 4, 8, 8), "batch_index": [0] * FRAMES}
    same = [
        core.common_ksampler(m, 5, 2, 3.0, "euler", "normal", prompt(1), prompt(2), alike)[0]["samples"]
        for m in (still, image)
    ]
    report["alike"] = apart(*same)
    odd = torch.zeros(FRAMES, 4, 10, 7)  # halved three times and rounded up
    report["odd size"] = apart(
        sampled(still, latent=odd)[::N],
        sampled(image, latent=odd)[::N],
    )
    clip = sampled(moving, FRAMES)
    report["moves"] = apart(clip[::N], plain[::N])
    # LoRAs, on either side; the original stays as it was
    with_lora = sampled(image_lora(image), FRAMES)
    report["lora acts"] = apart(with_lora, plain)
    report["lora before"] = apart(sampled(moved(image_lora(image), "still"), FRAMES)[::N], with_lora[::N])
    report["lora after"] = apart(sampled(image_lora(still), FRAMES)[::N], with_lora[::N])
    comfy.model_management.load_models_gpu([image_lora(image)])  # its weights are now the LoRA's
    report["taken while a LoRA is in"] = apart(sampled(moved(image, "still"), FRAMES)[::N], plain[::N])
    report["original again"] = apart(sampled(image, FRAMES), plain)
    report["inflated again"] = apart(sampled(moving, FRAMES), clip)
    ours, theirs = moving.model.diffusion_model.state_dict(), image.model.diffusion_model.state_dict()
    report["apart in storage"] = [n for n, t in theirs.items() if ours[n].data_ptr() != t.data_ptr()]
    report["one parameter"] = [
        n
        for (n, a), b in zip(
            image.model.diffusion_model.named_parameters(),
            map(dict(moving.model.diffusion_model.named_parameters()).get, theirs),
            strict=True,
        )
        if a is b
    ]
    report["kept"] = [
        moving.model.model_config is image.model.model_config,
        type(moving.model) is type(image.model),
        moving.model.latent_format is image.model.latent_format,
    ]
    report["sigma max"] = [
        float(moved(image, noise_levels=levels).get_model_object("model_sampling").sigma_max)
        for levels in ("auto", OWN)
    ]
    report["kinds"] = [bool(sampled(moved(image, k), 11).isfinite().all()) for k in ("v1", "v2", "v3")]

    # Windows, a loop and our sampler
    (long,) = pack.run("MultiDiffusion", still, 16, 8, "triangle", False, False)
    report["windows"] = apart(sampled(long, 24)[::N], sampled(image, 24)[::N])
    (long,) = pack.run("MultiDiffusion", moving, 16, 8, "triangle", False, False)
    report["windows move"] = bool(sampled(pack.run("Loop", long, 3)[0], 25).isfinite().all())
    latent = {"samples": torch.zeros(FRAMES, 4, 8, 8)}
    own = pack.run("Sample", moving, prompt(1), prompt(2), latent, 5, 2, 3.0, "euler")[0]["samples"]
    known = core.common_ksampler(moving, 5, 2, 3.0, "euler", "sgm_uniform", prompt(1), prompt(2), latent)
    report["our sampler"] = apart(own, known[0]["samples"])

    # SDXL: three levels, so four frames are one
    xl = drawn(model_of("SDXL", **SDXL))
    report["sdxl"] = apart(sampled(moved(xl, "still_xl"), 5)[::4], sampled(xl, 5)[::4])

    # The inpainting checkpoint, which the host shows a mask; and the x4 upscaler, which it tells a noise level
    painter = drawn(model_of("SD15", **FAMILIES["SD1.5 inpainting"]))
    clip_and_mask = noise(FRAMES, 4, 8, 8, seed=3), (noise(FRAMES, 8, 8, seed=4) > 0).float()
    held = core.SetLatentNoiseMask().set_mask({"samples": clip_and_mask[0]}, clip_and_mask[1])[0]
    painted = [
        core.common_ksampler(m, 5, 2, 3.0, "euler", "normal", prompt(1), prompt(2), held)[0]["samples"][::N]
        for m in (moved(painter, "still"), painter)
    ]
    report["inpainting"] = apart(*painted)
    files.write("still_x4.safetensors", scale=0.0, widths=(32, 64, 64, 128))
    upscaler = drawn(model_of("SD_X4Upscaler", **FAMILIES["the SD x4 upscaler"]))
    # It subtracts large numbers: the host's own result changes by 5e-5 with the batch. So its noise is the measure.
    off = sampled(moved(upscaler, "still_x4"), FRAMES)[::N] - sampled(upscaler, FRAMES)[::N]
    report["x4"] = float(off.abs().max() / upscaler.get_model_object("model_sampling").sigma_max)

    # Newer hosts build layers without weights and load them later (DynamicVRAM): the same clip comes out.
    management = vars(comfy).get("memory_management")
    if hasattr(management, "aimdo_enabled"):
        was, management.aimdo_enabled = management.aimdo_enabled, True
        try:
            late = moved(image)
        finally:
            management.aimdo_enabled = was
        report["late weights"] = apart(sampled(late, FRAMES), clip)

    (files.motion / "half.safetensors").write_bytes((files.motion / "v2.safetensors").read_bytes()[:-9])
    lora = files.write_lora("pan.safetensors")
    quantised = model_of("SD15", **SD15)
    quantised.model.diffusion_model.to(torch.float8_e4m3fn)
    report["refused"] = {
        "controlnet": sentence(lambda: sampled(moving, 6, control_net(6)(prompt(1)))),
        "free u": sentence(lambda: sampled(free_u(moving), 6)),
        "free u before": sentence(lambda: sampled(moved(free_u(image)), 6)),
        "attention": sentence(lambda: sampled(louder(moving), 6)),
        "perturbed": sentence(lambda: sampled(perturbed(moving), 6)),
        "strength": sentence(lambda: moved(image, strength=0.5)),
        "mask": sentence(lambda: moved(image, strength_mask=torch.ones(1, 8, 8))),
        "twice": sentence(lambda: moved(moving)),
        "compat after": sentence(lambda: moved(moving, mode="compat")),
        "after compat": sentence(lambda: moved(moved(image, mode="compat"))),
        "video model": sentence(lambda: moved(wan_vace().model)),
        "our model": sentence(lambda: moved(pack.model)),
        "base": sentence(lambda: moved(image, "still_xl")),
        "half": sentence(lambda: moved(image, "half")),
        "frames": sentence(lambda: sampled(moved(image, "v1"), 25)),
        "5D": sentence(lambda: sampled(moving, latent=torch.zeros(1, 4, 6, 8, 8))),
        "motion lora": sentence(lambda: pack.run("MotionLora", moving, lora, 1.0)),
        "quantised": sentence(lambda: moved(quantised)),
    }
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
