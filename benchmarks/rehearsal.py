"""A rehearsal at full size in ComfyUI, on random weights of true shape: SD1.5 with motion, or the x4 upscaler.

    COMFYUI_PATH=... <ComfyUI's python> benchmarks/rehearsal.py [--frames 16,48] [--side 256] [--steps 2]
                            [--mode lumiere] [--x4] [--markdown]

Load Checkpoint -> Load LoRA -> Inflate -> (Long Clips, over 32 frames) -> KSampler -> VAE Decode, all but Inflate and
Long Clips the core's nodes. With --x4: Load Checkpoint -> Enlarge a Clip, from that side to four times. It shows that
files of that size load and what they take, in memory and time; the pictures are noise. About 3 GB of files are made in
a temporary folder. Memory is the highest of the process so far.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OPTIONS = argparse.ArgumentParser(description=__doc__.splitlines()[0])
OPTIONS.add_argument("--frames", default="16,48", help="clips to make, by commas")
OPTIONS.add_argument("--side", type=int, default=256, help="pixels, a multiple of 64")
OPTIONS.add_argument("--steps", type=int, default=2)
OPTIONS.add_argument("--x4", action="store_true", help="the x4 upscaler")
OPTIONS.add_argument("--mode", default="compat", help="of Inflate: compat or lumiere")
OPTIONS.add_argument("--markdown", action="store_true", help="the table as Markdown")
CHOSEN = OPTIONS.parse_args()

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS / "host"), str(TESTS / "fuzz")]
from fuzz import peak_mib  # noqa: E402, I001
from inside import Pack, base, core  # noqa: E402  (first: it puts the host on the path)
import torch  # noqa: E402
from checkpoints import SD15, X4, drawn_tensors, write_checkpoint  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor  # noqa: E402

CHECKPOINT, MOTION, LORA = "random_sd15.safetensors", "random_v3.safetensors", "random_lora.safetensors"
WINDOW = 16  # frames that AnimateDiff was trained on


def write_motion(folder: Path, pack: Pack) -> None:
    network = pack.module("lumiere_core.model.animatediff.network")
    with torch.device("meta"):
        modules = network.MotionModules(network.MotionSpec("", "", (320, 640, 1280, 1280), frames=32))
    tensors = drawn_tensors(modules.state_dict())
    for name in tensors:
        if ".proj_out." in name:  # what is added stays small
            tensors[name] *= 0.05
    save_file(tensors, folder / MOTION)


def write_lora(folder: Path) -> None:
    """Rank 8 on the text attention of the finest level."""
    tensors = {}
    for block in range(2):
        layer = f"lora_unet_down_blocks_0_attentions_{block}_transformer_blocks_0_attn1_to_q"
        tensors[f"{layer}.lora_down.weight"] = (torch.randn(8, 320) / 18).half()
        tensors[f"{layer}.lora_up.weight"] = (torch.randn(320, 8) / 30).half()
        tensors[f"{layer}.alpha"] = torch.tensor(8.0).half()
    save_file(tensors, folder / LORA)


class Steps:
    """What each step took: seconds, and gigabytes that the process has held at most by then."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def take(self, name: str, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        made = call()
        self.rows.append((name, f"{time.monotonic() - began:.0f} s", f"{peak_mib() / 2**10:.1f} GB"))
        print("  ".join(self.rows[-1]), file=sys.stderr, flush=True)
        return made


def rehearse(pack: Pack) -> list[tuple[str, str, str]]:
    """Every step at full size. Raises AssertionError where frames are lost or a value is not a number."""
    steps, models = Steps(), Path(base) / "models"
    for kind in ("checkpoints", "animatediff_models", "loras"):
        (models / kind).mkdir(parents=True, exist_ok=True)
    write_checkpoint(models / "checkpoints" / CHECKPOINT, SD15)
    write_motion(models / "animatediff_models", pack)
    write_lora(models / "loras")

    model, clip, vae = steps.take(
        "Load Checkpoint", lambda: core.CheckpointLoaderSimple().load_checkpoint(CHECKPOINT)
    )
    model, clip = steps.take("Load LoRA", lambda: core.LoraLoader().load_lora(model, clip, LORA, 0.8, 0.8))
    encode = core.CLIPTextEncode().encode
    yes, no = steps.take("prompts", lambda: [encode(clip, text)[0] for text in ("a boat on the sea", "")])
    inflated = steps.take(
        f"Inflate, {CHOSEN.mode}",
        lambda: pack.run("Inflate", model, MOTION, 1.0, "auto", mode=CHOSEN.mode)[0],
    )
    for frames in map(int, CHOSEN.frames.split(",")):
        moving = inflated
        if frames > 32:
            (moving,) = pack.run("MultiDiffusion", inflated, WINDOW, 4, "triangle", False, True)
        (latent,) = core.EmptyLatentImage().generate(CHOSEN.side, CHOSEN.side, frames)

        def sampled(moving: Any = moving, latent: dict = latent) -> dict:
            return core.KSampler().sample(moving, 1, CHOSEN.steps, 7.0, "euler", "normal", yes, no, latent)[0]

        made = steps.take(f"KSampler, {frames} frames, {CHOSEN.steps} steps", sampled)
        images = steps.take(
            f"VAE Decode, {frames} frames", lambda made=made: core.VAEDecode().decode(vae, made)[0]
        )
        assert images.shape == (frames, CHOSEN.side, CHOSEN.side, 3), images.shape
        assert bool(images.isfinite().all())
    return steps.rows


def rehearse_x4(pack: Pack) -> list[tuple[str, str, str]]:
    """The x4 upscaler at full size. Raises AssertionError as `rehearse`."""
    steps, folder = Steps(), Path(base) / "models" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(folder / CHECKPOINT, X4)
    model, clip, vae = steps.take(
        "Load Checkpoint", lambda: core.CheckpointLoaderSimple().load_checkpoint(CHECKPOINT)
    )
    encode = core.CLIPTextEncode().encode
    yes, no = steps.take("prompts", lambda: [encode(clip, text)[0] for text in ("a boat on the sea", "")])
    for frames in map(int, CHOSEN.frames.split(",")):
        small = torch.rand(frames, CHOSEN.side, CHOSEN.side, 3)

        def enlarged(small: Tensor = small) -> Tensor:
            how = {"model": model, "positive": yes, "negative": no, "vae": vae, "cfg": 7.0}
            return pack.run("Upscale", small, 1, CHOSEN.steps, WINDOW, 4, 0.02, **how)[0]

        large = steps.take(f"Enlarge a Clip, {frames} frames, {CHOSEN.steps} steps", enlarged)
        assert large.shape == (frames, 4 * CHOSEN.side, 4 * CHOSEN.side, 3), large.shape
        assert bool(large.isfinite().all())
    return steps.rows


def main() -> None:
    try:
        with torch.inference_mode():
            rows = rehearse_x4(Pack()) if CHOSEN.x4 else rehearse(Pack())
    finally:
        shutil.rmtree(base)
    line = "| {:<42} | {:>8} | {:>8} |" if CHOSEN.markdown else "{:<42}  {:>8}  {:>8}"
    for row in [("step", "time", "memory"), *([("---",) * 3] if CHOSEN.markdown else []), *rows]:
        print(line.format(*row))


if __name__ == "__main__":
    main()
