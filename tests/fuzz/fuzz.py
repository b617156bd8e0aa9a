"""Files that say anything, read by the engine: each is refused in a sentence or works, in seconds and little memory.

    python tests/fuzz/fuzz.py [--count 1000] [--first 0] [--root FOLDER] [--keep FOLDER]

Mutant number i is the same file every time, so `--first i --count 1 --keep .` brings one back. A second process reads
the files: what hangs or takes all memory ends that process and not this one. `make fuzz` tries 100,000.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import queue
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MIB = 2.0, 1024  # what one file may take: seconds of the processor, memory beyond the first file's
HANGS = 20.0  # seconds on the clock after which the reader is ended
TARGETS = ("weights", "ssr", "probe")


# ---------------------------------------------------------------------------------------------- files to begin with
def pack(header: dict[str, Any], data: bytes) -> bytes:
    """A safetensors file by hand, which may say what no library would write."""
    text = json.dumps(header).replace('"<deep>"', "[" * 60_000).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + data


def unpack(file: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack_from("<Q", file)
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def originals() -> dict[str, bytes]:
    """One good file a target, as small as they come. Runs where lumiere_core is importable."""
    from dataclasses import asdict

    import torch
    from safetensors.torch import save

    from lumiere_core.config import PRESETS, replace, to_dict
    from lumiere_core.model.checkpoint import MODEL_FILE, Lumiere
    from lumiere_core.model.container import Kind
    from lumiere_core.train.probe import PROBE_FILE, Probe, ProbeSpec

    torch.manual_seed(0)
    text = replace(PRESETS["tiny"].text, vocabulary=("red", "boat", "sea"), depth=1)
    base = replace(PRESETS["tiny"], text=text)
    sizes = {
        name: getattr(base.unet, name)
        for name in ("groups", "head_dim", "context_dim", "word_dim", "embed_width")
    }
    ssr = PRESETS["mini-ssr"]
    ssr = replace(ssr, text=text, unet=replace(ssr.unet, channels=(8, 8, 16), **sizes))
    ssr = replace(ssr, temporal=replace(ssr.temporal, head_dim=8))
    probe = Probe(ProbeSpec(("boat",), ("red", "blue"), ("sea",), ("day", "night"), (8, 8, 8)))

    def file(model: torch.nn.Module, spec: dict[str, Any], kind: Kind[Any]) -> bytes:
        facts = {"format": kind.format, "format_version": str(kind.version), "spec": json.dumps(spec)}
        weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
        return save(weights, {**facts, "license": "Apache-2.0"})

    return {
        "weights": file(Lumiere(base), to_dict(base), MODEL_FILE),
        "ssr": file(Lumiere(ssr), to_dict(ssr), MODEL_FILE),
        "probe": file(probe, asdict(probe.spec), PROBE_FILE),
    }


# -------------------------------------------------------------------------------------------------------- mutations
STRANGE = [
    *(None, True, False, 0, -1, 1, 2, 3, 5, 16, 255, 2**31, 2**63, 10**9, 10**30, -(10**9), 10**400),
    *(0.5, -0.0, 1e-308, 1e308, float("inf"), float("nan")),
    *("", "x", "0", "x" * 100_000, "\ud800", "\x1b[31m", "../../x", "<deep>", "v", "ssr", "image"),
    *([], {}, [0], [1] * 10_000, [[]], {"a": 1}, [0, 2**62], [2**32, 2**32]),
]


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from places(tree[key])


def bent(rng: random.Random, tree: Any) -> Any:
    """A JSON value with one to three of its places changed."""
    fragments = [copy.deepcopy(where[key]) for where, key in places(tree)]  # for the wrong place
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not (found := list(places(tree))):
            return copy.deepcopy(rng.choice(STRANGE))
        where, key = rng.choice(found)
        value, way = where[key], rng.random()
        if way < 0.35:
            where[key] = copy.deepcopy(rng.choice(STRANGE))
        elif way < 0.6 and type(value) in (int, float):
            where[key] = rng.choice(
                (value + 1, value - 1, value * 2, value // 2, value * 1000, -value, str(value))
            )
        elif way < 0.7:
            del where[key]
        elif way < 0.8 and isinstance(where, dict):
            where[rng.choice((key + "x", "warp", "", key.upper()))] = value
        elif isinstance(value, list):
            where[key] = rng.choice((value * 2, value[:-1], value[::-1], value * 500, [value]))
        else:
            where[key] = copy.deepcopy(rng.choice(fragments))
    return tree


def bend_bytes(rng: random.Random, file: bytes) -> bytes:
    """Flipped, cut, added and moved bytes, mostly in the header."""
    raw = bytearray(file)
    for _ in range(rng.choice((1, 1, 2, 8))):
        end = len(raw) if rng.random() < 0.3 else min(len(raw), 6000)
        at, way = rng.randrange(max(1, end)), rng.random()
        if way < 0.5:
            raw[at : at + 1] = bytes([rng.randrange(256)])
        elif way < 0.6:
            del raw[at:]
        elif way < 0.7:
            del raw[at : at + rng.randrange(1, 64)]
        elif way < 0.8:
            raw[at:at] = rng.randbytes(rng.randrange(1, 64))
        elif way < 0.9:
            raw[:8] = struct.pack(
                "<Q", rng.choice((0, 1, 2, 8, len(raw), 2**20, 2**31, 2**40, 2**63, 2**64 - 1))
            )
        else:
            raw[at : at + 64] = raw[at // 2 : at // 2 + 64]
    return bytes(raw)


def bend_header(rng: random.Random, file: bytes) -> bytes:
    """What the file says about its tensors: names, dtypes, shapes, offsets."""
    header, data = unpack(file)
    facts = header.pop("__metadata__")
    return pack({"__metadata__": facts} | bent(rng, header), data)


def bend_facts(rng: random.Random, file: bytes) -> bytes:
    """The metadata beside the spec: kind, version, licence."""
    header, data = unpack(file)
    header["__metadata__"] = bent(rng, header["__metadata__"])
    return pack(header, data)


def bend_spec(rng: random.Random, file: bytes) -> bytes:
    """The sizes that the network is built from."""
    header, data = unpack(file)
    spec = json.dumps(bent(rng, json.loads(header["__metadata__"]["spec"])))
    header["__metadata__"]["spec"] = spec.replace('"<deep>"', "[" * 60_000)
    return pack(header, data)


def bend_tensors(rng: random.Random, file: bytes) -> bytes:
    """The tensors themselves, in a file that is whole: NaN, other dtypes, other shapes, some lost, some more."""
    header, data = unpack(file)
    facts = header.pop("__metadata__")
    parts = {k: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])]) for k, v in header.items()}
    name = rng.choice(list(parts))
    dtype, shape, raw = parts[name]
    way = rng.randrange(7)
    if way == 0:  # NaN or infinity somewhere
        at = 2 * rng.randrange(len(raw) // 2)
        parts[name] = (
            dtype,
            shape,
            raw[:at] + rng.choice((b"\x00\x7e", b"\x00\x7c", b"\x00\xfc")) + raw[at + 2 :],
        )
    elif way == 1:  # other dtypes of the right length
        size, other = rng.choice(((2, "BF16"), (2, "I16"), (2, "U16"), (4, "F32"), (8, "F64"), (8, "I64"), (1, "BOOL"),
                                  (1, "F8_E4M3"), (1, "U8"), (8, "C64"), (1, "F4"), (1, "F8_E8M0")))  # fmt: skip
        parts[name] = other, shape, rng.randbytes(len(raw) // 2 * size)
    elif way == 2:
        parts[name] = (
            dtype,
            rng.choice((shape[::-1], [*shape, 1], [1, *shape], [len(raw) // 2], [0], [])),
            raw,
        )
    elif way == 3:
        del parts[name]
    elif way == 4:
        parts[rng.choice((name + ".x", "network." + name, "", "\x1b]0;x\x07", "x" * 5000))] = parts.pop(name)
    elif way == 5:
        parts["network.halo"] = "F16", [len(raw) // 2], raw
    else:  # one float type throughout is a good file
        parts = {k: ("F32", s, b"\0" * 2 * len(r)) for k, (_, s, r) in parts.items()}
    out, blob = {"__metadata__": facts}, b""
    for k, (d, s, r) in parts.items():
        out[k] = {"dtype": d, "shape": s, "data_offsets": [len(blob), len(blob) + len(r)]}
        blob += r
    return pack(out, blob)


MUTATIONS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "bytes": bend_bytes,
    "header": bend_header,
    "facts": bend_facts,
    "spec": bend_spec,
    "tensors": bend_tensors,
}
WEIGHTS = (2, 1, 1, 4, 1)  # how often each: most of a file's power lies in its spec


def mutant(number: int, files: dict[str, bytes]) -> tuple[str, str, bytes]:
    """(target, mutation, file) of a number."""
    rng = random.Random(number)
    target = rng.choice(TARGETS)
    (mutation,) = rng.choices(list(MUTATIONS), WEIGHTS)
    return target, mutation, MUTATIONS[mutation](rng, files[target])


# ----------------------------------------------------------------------------------------------- the reading process
def use(target: str, path: Path) -> None:
    """Read a file and, where it is taken, run what it holds once on the smallest input."""
    import torch

    if target == "probe":
        from lumiere_core.train.probe import load_probe

        load_probe(path).read(torch.zeros(1, 3, 1, 64, 64))
        return
    from lumiere_core.model.checkpoint import load

    model = load(path)
    unet, side = model.spec.unet, model.spec.unet.size_multiple
    if side > 64 or model.spec.temporal is None:
        return
    x, t = torch.zeros(1, 3, 1, side, side), torch.tensor([0.5])
    more = {}
    if unet.low_res_channels:
        more = {"low_res": torch.zeros(1, 3, 1, side // unet.patch, side // unet.patch), "noise_level": t}
    with torch.inference_mode():
        assert model.network(x, t, model.text.encode([""]), **more).shape == x.shape


def peak_mib() -> float:
    """The most memory this process ever had; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # there ru_maxrss still counts what the parent had when it started this process
        (line,) = (row for row in status.read_text(encoding="utf-8").splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    if os.name != "nt":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    return 0.0


def serve(folder: Path) -> None:
    """Write the original files into a folder, then read whatever file is named on stdin: one line in, one line out."""
    for target, file in originals().items():
        (folder / target).write_bytes(file)
        use(target, folder / target)
    if sys.platform == "linux":  # a runaway ends here and not the machine
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        limit = pages * resource.getpagesize() + 4 * MIB * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    first = peak_mib()
    print(json.dumps({"what": "ready"}), flush=True)
    for line in sys.stdin:
        target, name = line.rstrip("\n").split(" ", 1)
        began, what, said = time.process_time(), "taken", ""
        try:
            use(target, Path(name))
        except BaseException as error:  # also what Rust throws when it panics
            what, said = type(error).__name__, str(error)
        facts = {"seconds": time.process_time() - began, "mib": peak_mib() - first}
        print(json.dumps({"what": what, "said": said[:2000], **facts}), flush=True)


def serving(root: Path, folder: Path) -> list[str]:
    """The command of the reading process, with the engine of a tree."""
    code = (
        "import sys, runpy; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return [sys.executable, "-c", code, str(root), str(Path(__file__)), "--serve", str(folder)]


class Reader:
    """The reading process: started when needed, ended when it hangs or has taken too much."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.child: subprocess.Popen | None = None

    def start(self) -> None:
        self.child = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        self.lines: queue.Queue[str] = queue.Queue()

        def listen(child: subprocess.Popen, lines: queue.Queue[str]) -> None:
            for line in child.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=listen, args=(self.child, self.lines), daemon=True).start()
        if not self.lines.get(timeout=300):
            raise SystemExit("the reading process did not start: its reason is above")

    def ask(self, target: str, path: Path) -> dict[str, Any]:
        """What became of a file."""
        if self.child is None:
            self.start()
        self.child.stdin.write(f"{target} {path}\n")
        self.child.stdin.flush()
        try:
            line = self.lines.get(timeout=HANGS)
        except queue.Empty:
            line = '{"what": "hang"}'
        answer = json.loads(line or '{"what": "crash"}')
        if answer["what"] in ("hang", "crash", "MemoryError") or answer["mib"] > MIB:
            self.end()
        return answer

    def end(self) -> None:
        if self.child:
            self.child.kill()
            self.child.wait()
            self.child = None


# ----------------------------------------------------------------------------------------------------------- verdict
def fault(answer: dict[str, Any], name: str) -> str:
    """What is wrong with how a file was received; empty where nothing is."""
    said = answer.get("said", "")
    if answer["what"] not in ("taken", "ValueError"):
        return answer["what"]
    if answer["seconds"] > SECONDS:
        return "slow"
    if answer["mib"] > MIB:
        return "memory"
    if answer["what"] == "taken":
        return ""
    sentence = name in said and said.endswith(".") and said.isprintable() and " " in said and len(said) < 500
    return "" if sentence else "ValueError without a sentence"


@dataclass
class Survey:
    """How many files of each mutation met which end, and the faults: (number, fault, what was said)."""

    ends: Counter
    faults: list[tuple[int, str, str]]
    seconds: float

    def table(self) -> str:
        """Rows are ends, columns mutations."""
        ends = sorted(
            {end for _, end in self.ends}, key=lambda end: -sum(self.ends[m, end] for m in MUTATIONS)
        )
        rows = [f"{'':>34}" + "".join(f"{name:>9}" for name in (*MUTATIONS, "all"))]
        for end in ends:
            counts = [self.ends[name, end] for name in MUTATIONS]
            rows.append(f"{end:>34}" + "".join(f"{n:>9}" for n in (*counts, sum(counts))))
        total = sum(self.ends.values())
        return "\n".join([*rows, f"{len(self.faults)} faults in {total} files, {self.seconds:.0f} s"])


def survey(count: int, first: int = 0, root: Path = ROOT, keep: Path | None = None) -> Survey:
    """Try mutants `first` to `first + count`; keep: a folder for the files at fault."""
    result, began = Survey(Counter(), [], 0.0), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        reader = Reader(serving(root, folder))
        try:
            reader.start()
            files = {target: (folder / target).read_bytes() for target in TARGETS}
            for number in range(first, first + count):
                target, mutation, file = mutant(number, files)
                path = folder / "mutant.safetensors"
                path.write_bytes(file)
                answer = reader.ask(target, path)
                wrong = fault(answer, path.name)
                end = (
                    wrong
                    or {"taken": "taken, and works", "ValueError": "refused in a sentence"}[answer["what"]]
                )
                result.ends[mutation, end] += 1
                if wrong:
                    result.faults.append((number, wrong, answer.get("said", "")))
                    if keep:
                        (keep / f"{target}-{number}.safetensors").write_bytes(file)
        finally:
            reader.end()
    result.seconds = time.monotonic() - began
    return result


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--root", type=Path, default=ROOT, help="another tree of this project")
    p.add_argument("--keep", type=Path, help="a folder for the files at fault")
    p.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.serve:
        serve(args.serve)
        return 0
    result = survey(args.count, args.first, args.root, args.keep)
    for number, wrong, said in result.faults[:20]:
        print(f"{number:>8}  {wrong}: {said[:200]!r}")
    print(result.table())
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
