"""One command for each job, doing its own set-up, with the standard library only. Options are passed on.

python dev.py demo [options]      a clip from a prompt: output/demo.mp4 and output/demo_xt.png
python dev.py test [options]      ruff, then pytest
python dev.py fuzz [options]      100,000 files that say anything, read by the engine (hours)
python dev.py mutants [options]   faults put into the engine's core one by one: which of them would no test notice?
python dev.py comfyui [options]   ComfyUI with this pack in it
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parent  # links are kept: custom_nodes/lumiere may be one
sys.path.append(str(ROOT))  # an embedded Python does not look beside the script
from lumiere_core.hosts import PYTHON, NoHost, find_comfyui, python_of  # noqa: E402

VENV = ROOT / ".venv"
TORCH = "torch==2.13.0"
DEMO = [
    "--prompt",
    "a red balloon rising over the sea at sunset",
    "--seed",
    "7",
    "--out",
    "output/demo.mp4",
    "--xt-slice",
    "output/demo_xt.png",
]

HOST_SOURCE, HOST_RELEASE = "https://github.com/comfyanonymous/ComfyUI", "v0.33.0"
HOST_TORCH = ["torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0"]  # a matching set for that release
COPIED = "copied-by-dev-py.txt"


class Stop(Exception):
    """Set-up cannot go on; the message is the one sentence that says why."""


def requirements(test: bool = False) -> list[str]:
    """PyTorch, requirements.txt, and pyproject's extras `media` and `opencv`; with `test` its `test` too."""
    needs = [TORCH] + re.findall(r"^[\w-].*", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("media", "opencv", "test") if test else ("media", "opencv"):
        needs += re.findall(r'"([^"]+)"', re.search(rf"^{name} = \[(.*?)\]", project, re.M | re.S)[1])
    return needs


def quietly(what: str, *command: str | Path) -> str:
    """Run a command and return what it prints; if it fails, say that `what` failed, and its last line."""
    try:
        done = subprocess.run(
            [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise Stop(f"{what} failed: {command[0]} does not start ({error.strerror}).") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()] or [
            "no message"
        ]
        raise Stop(f"{what} failed: {([line for line in lines if line.startswith('ERROR:')] or lines)[-1]}")
    return done.stdout


def missing(python: str | Path, needs: Sequence[str]) -> list[str]:
    """The requirement lines whose module that interpreter does not find; nothing is imported."""
    modules = {"opencv-python": "cv2", "pillow": "PIL"}
    names = [re.match(r"[\w-]+", line)[0] for line in needs]
    names = [modules.get(name, name).replace("-", "_") for name in names]
    code = (
        "import sys, importlib.util as u\nfor name in sys.argv[1:]:\n"
        " spec = u.find_spec(name); print(int(bool(spec and spec.origin)))"
    )
    found = quietly(f"Asking {python}", python, "-c", code, *names)
    return [line for line, there in zip(needs, found.split(), strict=True) if there == "0"]


def install(python: str | Path, *lines: str) -> None:
    """pip install, never replacing a PyTorch or numpy that is there."""
    print(f"Installing {' '.join(lines)} (for {python})")
    kept = quietly(
        "Listing packages",
        python,
        "-c",
        "import importlib.metadata as m\nfor d in m.distributions():\n"
        " n = d.metadata['Name']\n if n in ('torch', 'torchvision', 'numpy'): print(n + '==' + d.version)",
    )
    quietly(
        "Installing",
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        *lines,
        *kept.split(),
    )


def make_venv(venv: Path, *options: str) -> Path:
    """The interpreter of a new virtual environment. A half-made one is removed."""
    if venv.exists():
        raise Stop(f"{venv} holds no Python for this system: delete that folder and run again.")
    if missing(sys.executable, ["venv", "ensurepip"]):
        raise Stop(
            "This Python cannot make a virtual environment: install its venv module (python3-venv on Debian "
            "and Ubuntu), or run dev.py with a Python that has PyTorch."
        )
    if (free := shutil.disk_usage(venv.parent).free / 1e9) < 3:
        raise Stop(f"Only {free:.1f} GB are free at {venv.parent}, but PyTorch needs at least 3 GB.")
    print(f"Making {venv}: the first set-up takes some minutes")
    try:
        quietly(f"Making {venv}", sys.executable, "-m", "venv", *options, venv)
    except BaseException:
        shutil.rmtree(venv, ignore_errors=True)
        raise
    return venv / PYTHON


def prepare(needs: Sequence[str]) -> str | Path:
    """An interpreter that has all `needs`: the running one where it has PyTorch, else .venv."""
    lacks = missing(sys.executable, needs)
    private = sys.prefix != sys.base_prefix or any(
        Path(sys.executable).parent.glob("python*._pth")
    )  # or embedded
    if lacks and TORCH not in lacks and private:
        install(sys.executable, *lacks)
        lacks = []
    if not lacks:
        return sys.executable
    python = VENV / PYTHON
    if not python.exists():
        make_venv(VENV, *[] if TORCH in lacks else ["--system-site-packages"])
    lacks = missing(python, needs)
    stamp = VENV / f"lumiere-{hashlib.sha256(repr(needs).encode()).hexdigest()[:12]}.stamp"
    if lacks or not stamp.exists():
        install(python, *(line for line in needs if line in lacks or line != TORCH))
        stamp.touch()
    return python


@contextmanager
def running(command: Sequence[str | Path], cwd: Path = ROOT) -> Iterator[subprocess.Popen]:
    """A child that ends with the block. Ctrl-C reaches it too, so it first gets time to tidy up."""
    child = subprocess.Popen([str(part) for part in command], cwd=cwd)
    try:
        yield child
    finally:
        try:
            child.wait(8)
        except subprocess.TimeoutExpired:
            child.terminate()


def run(python: str | Path, module: str, *args: str) -> int:
    """`python -m module`, also for an embedded Python, which does not look into the working folder."""
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    with running([python, "-c", code, ROOT, module, *args]) as child:
        return child.wait()


def demo(args: Sequence[str]) -> int:
    return run(prepare(requirements()), "lumiere_core", "generate", *DEMO, *args)


def test(args: Sequence[str]) -> int:
    python = prepare(requirements(test=True))
    lint = run(python, "ruff", "check", ".") or run(python, "ruff", "format", "--check", ".")
    return run(python, "pytest", *args) or lint


def fuzz(args: Sequence[str]) -> int:
    with running(
        [prepare(requirements(test=True)), ROOT / "tests/fuzz/fuzz.py", "--count", "100000", *args]
    ) as child:
        return child.wait()


def mutants(args: Sequence[str]) -> int:
    return run(prepare(requirements(test=True)), "tests.mutants", *args)


def prepare_host(comfy: Path, env: Mapping[str, str]) -> Path:
    """ComfyUI's interpreter with our requirements. To an environment that is not ours only what is missing is added."""
    python = python_of(comfy, env)
    made = python is None
    python = python or make_venv(comfy / ".venv")
    unfinished = python.parent.parent / "lumiere-unfinished"
    if made or unfinished.exists():
        unfinished.touch()
        install(python, *HOST_TORCH, "-r", str(comfy / "requirements.txt"))
        unfinished.unlink()
    lacks = missing(python, requirements())
    if TORCH in lacks:
        raise Stop(f"{python} has no PyTorch: finish the installation of ComfyUI, or set COMFYUI_PYTHON.")
    if lacks:
        install(python, *lacks)
    return python


def place(custom_nodes: Path) -> Path:
    """This pack as a folder of custom_nodes: a link, on Windows a junction, else a copy renewed at each start."""
    for entry in custom_nodes.iterdir():
        if entry.resolve() == ROOT.resolve():
            return entry
    target = custom_nodes / "lumiere"
    if (target / COPIED).exists():
        shutil.rmtree(target)
    if target.exists() or target.is_symlink():
        raise Stop(
            f"{target} is another copy of this pack or a dead link: move it away, or use the dev.py in it."
        )
    try:
        if os.name == "nt":
            import _winapi  # a junction needs no administrator, and no shell that would read the path

            _winapi.CreateJunction(str(ROOT.resolve()), str(target))
        else:
            target.symlink_to(ROOT.resolve(), target_is_directory=True)
    except OSError:
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".*", "runs", "output", "__pycache__"))
        (target / COPIED).write_text(
            "Renewed by dev.py at each start: edit the original.\n", encoding="utf-8"
        )
    return target


def read(url: str) -> bytes:
    """What the address answers; empty when it does not, or speaks something else."""
    with (
        suppress(Exception),
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=9) as got,
    ):
        return got.read()
    return b""


def comfyui(args: Sequence[str]) -> int:
    url = "http://127.0.0.1:" + (re.findall(r"--port[ =](\d+)", " ".join(args)) or ["8188"])[-1]
    if read(f"{url}/"):
        raise Stop(f"Something already answers at {url}: stop it, or choose another port with --port.")
    comfy = find_comfyui(os.environ, ROOT, Path.home()) or Path.home() / "comfy" / "ComfyUI"
    if not (comfy / "main.py").exists():
        print(f"Fetching ComfyUI {HOST_RELEASE} into {comfy}")
        quietly(
            "Fetching ComfyUI",
            "git",
            "-c",
            "advice.detachedHead=false",
            "clone",
            "--quiet",
            "--depth",
            "1",
            "--branch",
            HOST_RELEASE,
            HOST_SOURCE,
            comfy,
        )
    python = prepare_host(comfy, os.environ)
    pack = place(comfy / "custom_nodes")
    gpu = "import torch as t; print(any(getattr(t, n).is_available() for n in ('cuda', 'xpu', 'mps') if hasattr(t, n)))"
    if not {"--cpu", "--directml"} & set(args) and "True" not in quietly(
        "Looking for a GPU", python, "-c", gpu
    ):
        print("PyTorch sees no GPU: starting with --cpu")
        args = ["--cpu", *args]
    print(f"Starting {comfy}")
    with running([python, "main.py", *args], comfy) as server:
        while not read(f"{url}/system_stats"):
            if server.poll() is not None:
                raise Stop(
                    f"ComfyUI ended before it answered, with exit code {server.returncode}: see above."
                )
            time.sleep(0.5)
        if b"Lumiere_LoadModel" not in read(f"{url}/object_info/Lumiere_LoadModel"):
            print("ComfyUI runs, but could not load this pack: its reason is above.")
        print(
            f"\nOpen {url} and there Templates > custom node templates > {pack.name} > 1_start_text_to_clip,"
            "\nthen press Run. Ctrl-C here stops the server."
        )
        return server.wait()


def main(argv: Sequence[str]) -> int:
    commands = {"demo": demo, "test": test, "fuzz": fuzz, "mutants": mutants, "comfyui": comfyui}
    commands["--help"] = lambda _: print(__doc__) or 0
    sys.stdout.reconfigure(line_buffering=True)  # our lines stay before those of the children
    try:
        if sys.version_info < (3, 10):  # noqa: UP036 (an older Python comes this far)
            raise Stop(f"Python {sys.version.split()[0]} is too old: 3.10 or newer is needed.")
        if not argv or argv[0] not in commands:
            raise Stop(
                f"{' '.join(argv[:1]) or 'Nothing'} is not a command: say demo, test, fuzz, mutants or comfyui."
            )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children end too
        return commands[argv[0]](list(argv[1:]))
    except (Stop, NoHost) as reason:
        print(f"dev.py: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
