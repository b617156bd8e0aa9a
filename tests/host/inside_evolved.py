"""Runs inside ComfyUI's own interpreter: AnimateDiff-Evolved and we on the same weights, seed and steps.

    COMFYUI_PATH=... COMFYUI_NEIGHBOURS=... <ComfyUI's python> tests/host/inside_evolved.py

`test_inflate.py` starts it. The image model and the motion file have SD1.5's true shape, which that pack asks for, and
random weights. Prints one JSON object.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from inside import Pack, base, core  # noqa: E402, I001  (first: it puts the host on the path)
import torch  # noqa: E402
from inside_inflate import SD15, Files, drawn, prompt  # noqa: E402
from standins import model_of  # noqa: E402
from torch import Tensor  # noqa: E402

TRUE = {**SD15, "model_channels": 320, "channel_mult": [1, 2, 4, 4]}
WIDTHS = (320, 640, 1280, 1280)


def evolved() -> Any:
    """The other pack's modules, imported as the host does."""
    folder = Path(os.environ["COMFYUI_NEIGHBOURS"]) / "ComfyUI-AnimateDiff-Evolved"
    spec = importlib.util.spec_from_file_location(
        "evolved", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["evolved"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NODE_CLASS_MAPPINGS


def sampled(model: Any, frames: int, cfg: float) -> Tensor:
    latent = {"samples": torch.zeros(frames, 4, 4, 4)}  # small: the layers are of true shape
    return core.common_ksampler(model, 7, 2, cfg, "euler", "normal", prompt(1), prompt(2), latent)[0][
        "samples"
    ]


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.std())


def main() -> None:
    pack, nodes, report = Pack(), evolved(), {}
    files = Files(pack)
    image = drawn(model_of("SD15", **TRUE))
    plain = sampled(image, 16, 1.0)
    for name, cfg, changes in (("v3", 3.0, {}), ("v2", 1.0, {"middle": True})):
        files.write(f"{name}.safetensors", scale=0.3, widths=WIDTHS, **changes)
        (ours,) = pack.run("Inflate", image, f"{name}.safetensors", 1.0, "auto")
        load = nodes["ADE_AnimateDiffLoaderGen1"]().load_mm_and_inject_params
        (theirs,) = load(image, f"{name}.safetensors", "autoselect")
        made = sampled(theirs, 16, cfg)
        report[name] = {"apart": apart(sampled(ours, 16, cfg), made), "moves": apart(made, plain)}
        if name == "v2":
            (context,) = nodes["ADE_StandardStaticContextOptions"]().create_options(16, 8)
            (theirs,) = load(image, "v2.safetensors", "autoselect", context_options=context)
            (ours,) = pack.run("MultiDiffusion", ours, 16, 8, "triangle", False, False)
            report["windows"] = apart(sampled(ours, 32, 1.0), sampled(theirs, 32, 1.0))
        os.remove(Path(base) / "models" / "animatediff_models" / f"{name}.safetensors")
        print("REPORT " + json.dumps(report), flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
