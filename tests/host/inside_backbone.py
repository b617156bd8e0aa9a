"""Runs inside ComfyUI's own interpreter: temporal layers trained over a small checkpoint. Prints one JSON object.

`test_backbone.py` starts it. The checkpoint is whole, as the core's loader takes it, with random weights; the clips are
drawn. `python -m lumiere_core train temporal --backbone` runs as an artist runs it.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from inside import HOST, PACK, Pack, base, core, sentence  # noqa: E402, I001  (first: it puts the host on the path)
import torch  # noqa: E402
from checkpoints import SMALL_SD15, write_checkpoint  # noqa: E402
from inside_inflate import SDXL, apart, drawn  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from standins import model_of  # noqa: E402

CHECKPOINT, N = "small_sd15.safetensors", 2
FRAMES, SIZE, FPS = 4, 64, 4
MODELS = Path(base) / "models"
CLIPS, RUNS = Path(base) / "clips", Path(base) / "runs"


def write_clips(pack: Pack, folder: Path, count: int = 3, frames: int = 8) -> None:
    """Scenes of the drawn world, each with its caption."""
    scenes, files = pack.module("lumiere_core.train.world.scenes"), pack.module("lumiere_core.media.files")
    rng = random.Random(0)
    folder.mkdir()
    for i in range(count):
        scene = scenes.WORLDS["small"].scene(rng, frozenset())
        files.write_clip(folder / f"{i}.mp4", scenes.render([scene], frames, SIZE, SIZE, FPS)[0] * 2 - 1, FPS)
        (folder / f"{i}.txt").write_text(scene.caption, encoding="utf-8")


def train(*options: str, checkpoint: Path = MODELS / "checkpoints" / CHECKPOINT) -> tuple[int, str]:
    """Exit code and last line of the command."""
    done = subprocess.run(
        [sys.executable, "-m", "lumiere_core", "train", "temporal", "--backbone", str(checkpoint), "--clips"]
        + [str(CLIPS), "--comfyui", str(HOST), "--runs", str(RUNS), "--name", "small", "--size", str(SIZE)]
        + ["--frames", str(FRAMES), "--fps", str(FPS), *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=PACK,
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [""]
    return done.returncode, "\n".join(lines[-3:])


def log() -> list[dict]:
    lines = (RUNS / "small" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def encoded(pack: Pack, model: Any, clip: Any, vae: Any) -> dict[str, float]:
    """What the program wrote for each stretch of a clip, beside what the core's nodes make of the same."""
    clips = pack.module("lumiere_core.train.backbone.clips")
    encoding = pack.module("lumiere_core.train.backbone.encoding")
    container = pack.module("lumiere_core.model.container")
    path = MODELS / "checkpoints" / CHECKPOINT
    cache = encoding.Cache(RUNS / "small" / "clips", path, container.digest(path)[:12], str(HOST))
    stretch = clips.read_folder(CLIPS, clips.Shape(FRAMES, float(FPS), SIZE))[0][0]
    found = encoding.read_encoded(cache.file_of(stretch, SIZE))
    pixels = stretch.pixels().float() / 255
    latents = model.model.process_latent_in(core.VAEEncode().encode(vae, pixels)[0]["samples"])
    rows = core.CLIPTextEncode().encode(clip, stretch.caption)[0][0][0]
    silence = encoding.read_silence(cache.file_of(None, SIZE))
    sigmas = model.get_model_object("model_sampling").sigmas
    return {
        "latents": apart(found.latents, latents.float()),
        "context": apart(found.context, rows[0].float()),
        "sigmas": float((silence.sigmas - sigmas).abs().max()),
        "files": len(list((RUNS / "small" / "clips").iterdir())),
        "prediction": silence.prediction,
    }


def main() -> None:
    pack = Pack()
    report: dict[str, Any] = {}
    for folder in ("checkpoints", "animatediff_models"):
        (MODELS / folder).mkdir(exist_ok=True)
    write_checkpoint(MODELS / "checkpoints" / CHECKPOINT, SMALL_SD15)
    write_clips(pack, CLIPS)

    report["first run"] = train("--minutes", "0.2", "--license", "mine")
    report["goes on"] = train("--minutes", "0.4", "--license", "mine")
    report["log"] = log()
    trained = RUNS / "small" / "small.safetensors"
    motion = MODELS / "animatediff_models"
    (motion / "trained.safetensors").write_bytes(trained.read_bytes())
    (motion / "half.safetensors").write_bytes(trained.read_bytes()[:-9])

    loaded = core.CheckpointLoaderSimple().load_checkpoint(CHECKPOINT)
    model, clip, vae = loaded[:3]
    report["encoded"] = encoded(pack, model, clip, vae)
    prompts = [core.CLIPTextEncode().encode(clip, text)[0] for text in ("a red balloon rising", "")]

    layers, stunet = (
        pack.module("lumiere_core.model.backbones.trained"),
        pack.module("lumiere_core.model.stunet"),
    )
    spec = layers.read_trained(trained).spec
    unet = pack.module("nodes.host.image.spacetime").spec_of_model(
        model, pack.module("nodes.host.image.spacetime").originals(model)
    )
    layers.save_trained(
        motion / "untrained.safetensors",
        spec,
        stunet.new_temporal(unet, spec.temporal),
        license="",
        trained_on="",
    )

    def moved(name: str, image: Any = model, mode: str = "lumiere") -> Any:
        return pack.run("Inflate", image, f"{name}.safetensors", 1.0, "auto", mode=mode)[0]

    def sampled(image: Any) -> torch.Tensor:
        latent = {"samples": torch.zeros(6, 4, 8, 8)}
        return core.common_ksampler(image, 5, 2, 3.0, "euler", "normal", *prompts, latent)[0]["samples"]

    plain, still, moving = sampled(model), sampled(moved("untrained")), sampled(moved("trained"))
    report["spread"] = float(plain.std())
    report["untrained"] = apart(still[::N], plain[::N])
    report["trained"] = apart(moving, still)
    report["original again"] = apart(sampled(model), plain)
    report["sigma max"] = [
        float(m.get_model_object("model_sampling").sigma_max) for m in (model, moved("trained"))
    ]
    other = drawn(model_of("SDXL", **SDXL))
    report["refused"] = {
        "base": sentence(lambda: moved("trained", other)),
        "compat": sentence(lambda: moved("trained", mode="compat")),
        "half": sentence(lambda: moved("half")),
    }
    alone = MODELS / "checkpoints" / "alone.safetensors"
    front = "model.diffusion_model."
    tensors = load_file(MODELS / "checkpoints" / CHECKPOINT)
    save_file({name: t for name, t in tensors.items() if name.startswith(front)}, alone)
    report["the U-Net alone"] = train("--name", "alone", checkpoint=alone)
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    try:
        with torch.inference_mode():
            main()
    finally:
        shutil.rmtree(base)  # checkpoints of true width
