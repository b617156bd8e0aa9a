"""Runs inside ComfyUI's own interpreter: styles on MODELs, as the weights the host really runs. Prints one JSON object.

    COMFYUI_PATH=... <ComfyUI's python> tests/host/inside_style.py

`test_style.py` starts it and asserts on the figures.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
from inside import Pack, apart, base, comfy, core, sentence  # noqa: E402, I001  (first: it puts the host on the path)
import comfy.model_management as management  # noqa: E402
import folder_paths  # noqa: E402
import standins  # noqa: E402
import torch  # noqa: E402
from comfy_extras.nodes_model_merging import ModelMergeSimple  # noqa: E402
from torch import Tensor  # noqa: E402

STYLES, LORAS = (Path(base) / "models" / name for name in ("lumiere/styles", "loras"))
ALPHAS = 0.0, 0.5, 1.0
SD15 = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "num_heads": 4,
    "context_dim": 16,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "legacy": False,
}


def weights(model: Any) -> dict[str, Tensor]:
    """The weights that the host runs: patched and on the device."""
    management.load_models_gpu([model])
    return {k: w.float().cpu().clone() for k, w in model.model.diffusion_model.state_dict().items()}


def anew(model: Any, seed: int) -> Any:
    """A MODEL of the same architecture with other weights."""
    network, noise = model.model.diffusion_model, torch.Generator().manual_seed(seed)
    for w in network.parameters():
        w.data.copy_(torch.randn(w.shape, generator=noise) * 0.05)
    return model


def off(mixed: dict[str, Tensor], style: dict[str, Tensor], plain: dict[str, Tensor], alpha: float) -> float:
    """The largest distance from the formula."""
    return max(float((w - (alpha * style[k] + (1 - alpha) * plain[k])).abs().max()) for k, w in mixed.items())


def made_style(pack: Pack) -> Path:
    """A LoRA drawn by chance over our network's spatial weights, and one weight of time, in the users' folder."""
    room, noise = pack.module("lumiere_core.model.style"), torch.Generator().manual_seed(1)
    changes = {}
    for name, w in pack.model.model.diffusion_model.state_dict().items():
        if w.ndim > 1 and name.startswith(("input_blocks", "out.", "temporal.middle_block.0")):
            up = torch.randn(w.shape[0], 4, *[1] * (w.ndim - 2), generator=noise) * 0.1
            changes[name] = room.LowRank(up, torch.randn(4, *w.shape[1:], generator=noise) * 0.1, 0.5)
    STYLES.mkdir(parents=True, exist_ok=True)
    facts = {"license": "CC0", "trained_on": "chance", "made_for": "lumiere-mini"}
    return room.save_style(STYLES / "chance.safetensors", changes, **facts)


def own_model(pack: Pack) -> dict:
    """A style of users on our MODEL, by our node and by the core's LoRA loader."""
    report: dict = {}
    path = made_style(pack)
    style = pack.module("lumiere_core.model.style").read_style(path)
    plain = weights(pack.model)
    full = {
        k: w + style.changes[f"diffusion_model.{k.removesuffix('.weight')}"].change(w.shape)
        for k, w in plain.items()
        if f"diffusion_model.{k.removesuffix('.weight')}" in style.changes and k.endswith(".weight")
    }
    spatial = [k for k in full if not k.startswith("temporal.")]
    report["changed"] = [len(spatial), len(full)]
    for alpha in ALPHAS:
        styled, _ = pack.run("StyleInterpolate", pack.model, path.name, alpha)
        now = weights(styled)
        report[f"formula {alpha}"] = off({k: now[k] for k in spatial}, full, plain, alpha)
        others = now.keys() - set(spatial)
        report[f"untouched {alpha}"] = all(torch.equal(now[k], plain[k]) for k in others)
        report[f"time {alpha}"] = sum(k.startswith("temporal.") for k in others)
    everything = weights(pack.run("StyleInterpolate", pack.model, path.name, 0.5, layers="all")[0])
    report["all layers"] = off({k: everything[k] for k in full}, full, plain, 0.5)
    again = weights(pack.model)
    report["itself again"] = all(torch.equal(w, plain[k]) for k, w in again.items())

    LORAS.mkdir(parents=True, exist_ok=True)
    (LORAS / "chance.safetensors").write_bytes(path.read_bytes())
    folder_paths.filename_list_cache.clear()
    (theirs,) = core.LoraLoaderModelOnly().load_lora_model_only(pack.model, "chance.safetensors", 0.5)
    loaded = weights(theirs)
    report["core loader"] = max(float((loaded[k] - everything[k]).abs().max()) for k in loaded)
    both = pack.run("StyleInterpolate", theirs, path.name, 0.5)[0]  # a style on top of a LoRA
    report["stacked"] = off(
        {k: weights(both)[k] for k in spatial}, {k: 2 * full[k] - plain[k] for k in spatial}, plain, 0.5
    )
    return report


def two_models(pack: Pack) -> dict:
    """Any two MODELs of one architecture; of two, both are named."""
    report: dict = {}
    host = pack.module("nodes.host.style")
    loaded = pack.run("LoadModel", pack.choice)[0]
    pairs = {
        "ours": (pack.model, anew(loaded, 4)),
        "sd15": (anew(standins.model_of("SD15", **SD15), 1), anew(standins.model_of("SD15", **SD15), 2)),
    }
    if "wan 5b" in standins.families():
        pairs["wan"] = tuple(anew(standins.FAMILIES["wan 5b"]().model, seed) for seed in (1, 2))
    for name, (one, two) in pairs.items():
        plain, other = weights(one), weights(two)
        for alpha in ALPHAS:
            now = weights(pack.run("StyleInterpolate", one, "unused", alpha, two)[0])
            mixed = {k: w for k, w in now.items() if not k.startswith("temporal.")}
            if (
                name == "wan"
            ):  # of a module with modules inside, the host patches no own parameters: nor does its merge
                theirs = weights(ModelMergeSimple().merge(one, two, 1 - alpha)[0])
                report[f"wan as the core merges {alpha}"] = all(
                    torch.equal(w, theirs[k]) for k, w in now.items()
                )
                mixed = {k: w for k, w in mixed.items() if not k.endswith("modulation")}
            report[f"{name} {alpha}"] = off(mixed, other, plain, alpha)
            report[f"{name} {alpha} time"] = all(
                torch.equal(w, plain[k]) for k, w in now.items() if k.startswith("temporal.")
            )
        report[f"{name} apart"] = max(float((other[k] - plain[k]).abs().max()) for k in plain)
    lora = pack.run("StyleInterpolate", pack.model, "chance.safetensors", 1.0)[0]
    half = weights(pack.run("StyleInterpolate", pack.model, "unused", 0.5, lora)[0])
    direct = weights(pack.run("StyleInterpolate", pack.model, "chance.safetensors", 0.5)[0])
    report["a styled model as style"] = max(float((half[k] - direct[k]).abs().max()) for k in half)
    sd, ours = pairs["sd15"][0], pack.model
    wide = anew(standins.model_of("SD15", **{**SD15, "model_channels": 64}), 1)
    report["names"] = [host.architecture(ours), host.architecture(sd)]
    report["refused"] = [
        sentence(lambda: pack.run("StyleInterpolate", ours, "unused", 0.5, sd)),
        sentence(lambda: pack.run("StyleInterpolate", sd, "unused", 0.5, wide)),
        sentence(lambda: pack.run("StyleInterpolate", sd, "chance.safetensors", 0.5)),
        sentence(lambda: pack.run("StyleInterpolate", ours, "nowhere", 0.5)),
        sentence(lambda: pack.run("StyleInterpolate", ours, "chance.safetensors", 1.5)),
        sentence(lambda: pack.run("StyleInterpolate", ours, "chance.safetensors", float("nan"))),
        sentence(lambda: pack.run("TrainStyle", sd, "x", "", 1, 0, images=torch.rand(2, 64, 64, 3))),
    ]
    return report


def strip(pack: Pack) -> dict:
    """The grid of alphas: its first column is the MODEL itself."""
    (latent,) = pack.run("EmptyVideo", 64, 64, 5)
    yes, no = pack.encode("a red fish"), pack.encode("")
    given = pack.model, yes, no, latent, pack.vae, "chance.safetensors"
    grid, clip = pack.run("AlphaStrip", *given, "0, 0.5,1", 5, 2, 3.0, "dpmpp_2m")
    alone = pack.run("Sample", pack.model, yes, no, latent, 5, 2, 3.0, "dpmpp_2m")[0]["samples"]
    head = clip.shape[1] - 128
    first = clip[:, head:, :128][:, ::2, ::2]  # shown twice as large
    frames = (alone[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1)
    columns = [clip[:, head:, x : x + 128] for x in (0, 132, 264)]
    words = "", "a", "0, 1.5", "0 " * 20
    refused = [
        sentence(lambda text=text: pack.run("AlphaStrip", *given, text, 5, 2, 3.0, "dpmpp_2m"))
        for text in words
    ]
    return {
        "strip": [list(grid.shape), list(clip.shape)],
        "first column": 255 * float((first - frames).abs().max()),
        "columns differ": [float((columns[0] - column).abs().mean()) for column in columns],
        "strip refused": refused,
    }


def training(pack: Pack) -> dict:
    """A style tuned in the graph: saved, found again, cancelled without a trace."""
    pictures, report = torch.rand(3, 48, 80, 4), {}
    given = pack.model, "my own", "a red fish\na blue boat\na fish", 3, 7
    plain = weights(pack.model)
    model, file, seen = pack.run("TrainStyle", *given, images=pictures)
    report["seen"] = list(seen.shape)
    path = STYLES / file
    folder_paths.filename_list_cache.clear()
    report["trained"] = [file, path.is_file(), path.with_suffix(".png").is_file(), path.stat().st_size]
    found = weights(pack.run("StyleInterpolate", pack.model, file, 1.0)[0])
    report["the style is the MODEL that came out"] = max(
        float((w - found[k]).abs().max()) for k, w in weights(model).items()
    )
    now = weights(model)
    report["trained time"] = all(torch.equal(now[k], plain[k]) for k in plain if k.startswith("temporal."))
    report["trained change"] = max(float((now[k] - plain[k]).abs().max()) for k in plain)
    report["lists"] = [
        [n for n in pack.module("nodes.load").models_of_users() if "styles" in n],
        sorted(pack.module("nodes.style").own_styles()),
    ]
    _, second, _ = pack.run("TrainStyle", *given, images=pictures)
    report["drawn"] = list(pack.run("TrainStyle", pack.model, "tried", "", 1, 7)[2].shape)
    report["second of the name"] = second
    before = sorted(p.name for p in STYLES.rglob("*"))
    management.interrupt_current_processing()
    try:
        pack.run("TrainStyle", pack.model, "cancelled", "", 3, 7, images=pictures)
    except management.InterruptProcessingException:
        report["cancelled"] = sorted(p.name for p in STYLES.rglob("*")) == before
    management.interrupt_current_processing(False)
    report["train refused"] = [
        sentence(lambda: pack.run("TrainStyle", pack.model, "x", "", 1, 0, images=torch.rand(0, 64, 64, 3))),
        sentence(lambda: pack.run("TrainStyle", pack.model, "x", "", 1, 0, images=torch.rand(500, 8, 8, 3))),
        sentence(lambda: pack.run("TrainStyle", pack.model, "x", "one\ntwo", 1, 0, images=pictures)),
        sentence(lambda: pack.run("TrainStyle", pack.model, "../x", "", 1, 0, images=pictures)),
        sentence(lambda: pack.run("TrainStyle", pack.model, "x", "", 0, 0, images=pictures)),
    ]
    ssr = pack.run("LoadModel", pack.nodes["Lumiere_LoadModel"].define_schema().inputs[0].options[1])[0]
    report["train refused"].append(
        sentence(lambda: pack.run("TrainStyle", ssr, "x", "", 1, 0, images=pictures))
    )
    return report


def bundled(pack: Pack) -> dict:
    """Every style that comes with the pack fits the bundled model, is small, and shows in the clip."""
    (latent,) = pack.run("EmptyVideo", 64, 64, 4)
    yes, no, report = pack.encode("a red fish"), pack.encode(""), {}
    plain = pack.run("Sample", pack.model, yes, no, latent, 5, 4, 3.0, "dpmpp_2m")[0]["samples"]
    for name, path in pack.module("lumiere_core.model.style").bundled_styles().items():
        styled, reference = pack.run("StyleInterpolate", pack.model, name, 1.0)
        made = pack.run("Sample", styled, yes, no, latent, 5, 4, 3.0, "dpmpp_2m")[0]["samples"]
        report[name] = [path.stat().st_size, apart(made, plain), list(reference.shape)]
    return {"bundled": report}


def main() -> dict:
    report: dict = {"version": getattr(comfy, "__version__", "")}
    with torch.inference_mode():
        pack = Pack()
        for part in (own_model, two_models, strip, training, bundled):
            report |= part(pack)
    return report


if __name__ == "__main__":
    print("REPORT " + json.dumps(main()))
