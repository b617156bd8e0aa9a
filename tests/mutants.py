"""Mutants of the engine's core: what could be written wrong in one place, and whether a test would notice.

    python dev.py mutants [--only PART] [--sample N] [--list]

Small changes are made one at a time, to the running code alone: no file is written. A change that no test notices is
a survivor, and is named. `ISSUES` are faults that people thought of; `changes_of` makes the usual ones: another sign or
comparison, a number one higher, two arguments swapped, a branch turned round, a call left out.

Only tests that ran the changed function in the first, whole run are asked again. Not part of the checks of each change:
all of it takes minutes.
"""

from __future__ import annotations

import _thread
import argparse
import ast
import contextlib
import copy
import importlib
import inspect
import io
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The modules that are changed, and the tests that have to notice.
CORE = {
    "diffusion/process.py": "diffusion/test_process.py diffusion/test_samplers.py",
    "diffusion/samplers.py": "diffusion/test_samplers.py",
    "diffusion/guidance.py": "diffusion/test_guidance.py",
    "diffusion/windows.py": "diffusion/test_windows.py",
    "diffusion/condition.py": "diffusion/test_condition.py",
    "diffusion/inversion.py": "diffusion/test_inversion.py",
    "diffusion/prompts.py": "diffusion/test_prompts.py",
    "model/functional.py": "model/test_functional.py",
    "model/temporal.py": "model/test_temporal.py model/test_stunet.py",
    "model/stunet.py": "model/test_stunet.py",
    "photo/loops/loop.py": "photo/test_loop.py photo/test_morph.py",
    "photo/brush.py": "photo/test_brush.py",
    "photo/field.py": "photo/test_field.py",
    "photo/strokes.py": "photo/test_strokes.py",
}
# Written as text: (module, what it does, what it did). Tests are of modules in which only ISSUES are tried.
TESTS = CORE | {
    "generate.py": "test_generate.py",
    "train/stages.py": "train/test_recipe.py",
    "train/trainer.py": "train/test_recipe.py",
    "train/data.py": "train/test_recipe.py train/test_trainer.py",
    "train/evaluate.py": "train/test_recipe.py",
}
OPPOSITE: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
# Changes that change nothing, and why.
SAME: dict[str, str] = {
    "guided: 2 -> 3": "two clips in three chunks are two chunks",
    "parse: first > expected -> first >= expected": "it is asked where they differ",
    "span_weights: 1 -> 2": "the smaller of it and 1 is taken",
    "noise_behind: level >= FROM -> level > FROM": "no level is FROM to the last bit",
}
EITHER_WAY = {"max", "min", "maximum", "minimum", "transpose"}  # calls whose arguments may change places


@dataclass(frozen=True)
class Mutant:
    """One change: its module, and the code of each function it changes."""

    module: str
    what: str
    codes: dict[str, CodeType]
    line: int = 0

    def __str__(self) -> str:
        return f"{self.module}:{self.line}  {self.what}"


# ------------------------------------------------------------------------------------------------------ changes
def changes_of(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand there in its place."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPPOSITE:
        yield with_field(node, op=OPPOSITE[type(node.op)]())
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield with_field(node, ops=[OPPOSITE[type(node.ops[0])]()])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield copy.copy(node.operand)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float) and not 0 < node.value < 1e-3:
        yield with_field(node, value=node.value + 1)
    elif isinstance(node, ast.IfExp):
        yield with_field(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.If | ast.While):
        yield with_field(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] not in EITHER_WAY:
        for i in range(len(node.args) - 1):
            pair = node.args[i : i + 2]
            starred = any(isinstance(argument, ast.Starred) for argument in pair)
            if not starred and ast.dump(pair[0]) != ast.dump(pair[1]):
                swapped = [*node.args[:i], *pair[::-1], *node.args[i + 2 :]]
                yield with_field(node, args=swapped)


def with_field(node: ast.AST, **fields: Any) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def places_of(tree: ast.AST) -> Iterator[tuple[Callable[[ast.AST], None], ast.AST]]:
    """(how to put another node there, the node) for all that functions do; not what they say when they refuse."""

    def below(node: ast.AST, inside: bool) -> Iterator[tuple[Callable[[ast.AST], None], ast.AST]]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "args", "type_comment") and not isinstance(
                node, ast.Call
            ):
                continue
            for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                    continue
                if inside:
                    if i is None:
                        yield (lambda new, n=node, f=name: setattr(n, f, new)), child
                    else:
                        yield (lambda new, v=value, i=i: v.__setitem__(i, new)), child
                yield from below(child, inside or isinstance(child, ast.FunctionDef))

    yield from below(tree, False)


def codes_of(code: CodeType, path: str = "") -> dict[str, CodeType]:
    """The code of every function of a module and of its classes, by its dotted name."""
    found = {}
    for const in code.co_consts:
        if isinstance(const, CodeType) and const.co_name[0] != "<":
            name = f"{path}{const.co_name}"
            found |= {name: const} | codes_of(const, f"{name}.")
    return found


def different(before: dict[str, CodeType], after: dict[str, CodeType], module: Any) -> dict[str, CodeType]:
    """The functions that differ and can be reached; not those that lose a closure, such as a `super()` left out."""

    def fits(name: str, code: CodeType) -> bool:
        function = function_at(module, name)
        return function is not None and function.__code__.co_freevars == code.co_freevars

    return {name: code for name, code in after.items() if code != before.get(name) and fits(name, code)}


def usual_mutants(name: str) -> Iterator[Mutant]:
    path, module = ROOT / "lumiere_core" / name, module_at(name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    before = codes_of(compile(tree, str(path), "exec"))
    for put, node in list(places_of(tree)):
        for other in changes_of(node):
            ast.copy_location(other, node)
            put(other)
            ast.fix_missing_locations(tree)
            codes = different(before, codes_of(compile(tree, str(path), "exec")), module)
            put(node)
            if codes:
                was, now = (" ".join(ast.unparse(n).split()) for n in (node, other))
                yield Mutant(name, f"{next(iter(codes))}: {was} -> {now}", codes, node.lineno)


def named_mutants(name: str) -> Iterator[Mutant]:
    path, module = ROOT / "lumiere_core" / name, module_at(name)
    source = path.read_text(encoding="utf-8")
    before = codes_of(compile(source, str(path), "exec"))
    for file, what, right, wrong in ISSUES:
        if file != name:
            continue
        if source.count(right) != 1:
            yield Mutant(name, f"{what} (its line is gone: write that row of ISSUES anew)", {})
            continue
        codes = codes_of(compile(source.replace(right, wrong), str(path), "exec"))
        yield Mutant(
            name, what, different(before, codes, module), source[: source.index(right)].count("\n") + 1
        )


# ---------------------------------------------------------------------------------------------- the running code
def module_at(name: str) -> Any:
    return importlib.import_module("lumiere_core." + name.removesuffix(".py").replace("/", "."))


def function_at(module: Any, path: str) -> FunctionType | None:
    """The function behind a dotted name, below decorators; None for what is made anew at each call."""
    found = module
    for part in path.split("."):
        if not (inspect.ismodule(found) or inspect.isclass(found)):
            return None
        found = inspect.getattr_static(found, part, None)
    found = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
    found = inspect.unwrap(found) if callable(found) else None
    return found if isinstance(found, FunctionType) else None


@contextlib.contextmanager
def changed(mutant: Mutant) -> Iterator[None]:
    functions = {name: function_at(module_at(mutant.module), name) for name in mutant.codes}
    before = {name: function.__code__ for name, function in functions.items()}
    try:
        for name, function in functions.items():
            function.__code__ = mutant.codes[name]
        yield
    finally:
        for name, function in functions.items():
            function.__code__ = before[name]


class Watch:
    """A pytest plugin: which functions each test calls. What a fixture calls counts for its whole file."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], set[str]] = defaultdict(set)  # (file, function) -> tests
        self.seconds: dict[str, float] = {}
        self.files: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.files[str(item.path)].append(item.nodeid)

    def watched(self, tests: Callable[[], list[str]]) -> Iterator[None]:
        def profile(frame: Any, event: str, _: Any) -> None:
            if event == "call" and "lumiere_core" in frame.f_code.co_filename:
                seen.add((frame.f_code.co_filename, frame.f_code.co_name))

        seen: set[tuple[str, str]] = set()
        sys.setprofile(profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            for place in seen:
                self.calls[place].update(tests())

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        yield from self.watched(lambda: self.files[str(item.path)])

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        start = time.monotonic()
        yield from self.watched(lambda: [item.nodeid])
        self.seconds[item.nodeid] = time.monotonic() - start

    def tests_of(self, mutant: Mutant, among: list[str]) -> list[str]:
        """The tests that run a changed function, quick ones first."""
        file = str(ROOT / "lumiere_core" / mutant.module)
        tests = set().union(*(self.calls[file, name.split(".")[-1]] for name in mutant.codes))
        return sorted((t for t in tests if t.split("::")[0] in among), key=lambda t: self.seconds.get(t, 0))


def run_tests(tests: list[str], plugin: Any = None, limit: float = 0) -> int:
    """pytest's exit code, 2 where it had to be stopped."""
    clock = threading.Timer(limit, _thread.interrupt_main) if limit else None
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        if clock:
            clock.start()
        try:
            code = int(pytest.main([*OPTIONS, *tests], plugins=[plugin] if plugin else []))
        except KeyboardInterrupt:
            code = 2
        finally:
            if clock:
                clock.cancel()
    if plugin and code:
        sys.exit(quiet.getvalue() + "The tests have to pass before mutants are tried.")
    return code


OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--no-header", "--tb=no"]


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--only", default="", help="a part of a module's name, such as windows; all by default")
    p.add_argument("--sample", type=int, default=0, help="so many of the usual changes of a module; 0 is all")
    p.add_argument("--list", action="store_true", help="name the changes and try none")
    args = p.parse_args()
    survivors = tried = 0
    began = time.monotonic()
    for name, files in TESTS.items():
        if args.only not in name:
            continue
        usual = [m for m in usual_mutants(name) if m.what not in SAME] if name in CORE else []
        few = random.Random(0).sample(usual, args.sample) if 0 < args.sample < len(usual) else usual
        mutants = [*named_mutants(name), *few]
        if args.list:
            print(*mutants, sep="\n")
            continue
        among, watch, left = [f"tests/{file}" for file in files.split()], Watch(), 0
        start = time.monotonic()
        run_tests(among, watch)
        for mutant in mutants:
            tests = watch.tests_of(mutant, among)
            limit = 20 + 10 * sum(watch.seconds.get(t, 0) for t in tests)
            with changed(mutant):
                if not mutant.codes or not tests or run_tests(tests, limit=limit) == 0:
                    left += 1
                    print(f"survives: {mutant}" + ("" if tests else " (no test runs it)"), flush=True)
        print(f"{name}: {len(mutants) - left} of {len(mutants)} noticed, {time.monotonic() - start:.0f} s")
        survivors, tried = survivors + left, tried + len(mutants)
    if tried:
        print(f"{tried - survivors} of {tried} noticed in {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


# The faults that people thought of: (module, the fault, the line as it is, as it would be).
ISSUES: tuple[tuple[str, str, str, str], ...] = (
    (
        "generate.py",
        "prompt and negative swapped",
        "for text in (prompt, negative))",
        "for text in (negative, prompt))",
    ),
    (
        "diffusion/guidance.py",
        "prompt and negative swapped in guidance",
        "x0 = no + cfg_scale * (yes - no)",
        "x0 = yes + cfg_scale * (no - yes)",
    ),
    (
        "photo/loops/loop.py",
        "a dissolve begins at the pure end",
        "into / (plan.overlap + 1)",
        "(into - 1) / plan.overlap",
    ),
    (
        "photo/brush.py",
        "texture goes over with a kink",
        "share = share * share * (3 - 2 * share)",
        "share = share",
    ),
    ("photo/brush.py", "every place goes over at once", "even = 1 / (1 + ", "even = 0.5 + 0 / (1 + "),
    (
        "photo/brush.py",
        "still things are mirrored into water",
        "return np.where(known > 0, picture, wide)",
        "return picture",
    ),
    (
        "photo/field.py",
        "a slope forgets the photo's shape",
        "* (1, 1 / aspect)  # in photo widths",
        "* (1, 1)",
    ),
    (
        "diffusion/windows.py",
        "FreeNoise with the stride of windows that are not spread",
        "pairwise(starts(noise.shape[2], window, overlap))",
        "pairwise(range(0, noise.shape[2] - window + 1, window - overlap))",
    ),
    (
        "model/temporal.py",
        "temporal up convolves before it repeats",
        "self.conv, repeat_frames(x, self.stride), frames * self.stride\n        )",
        "lambda v: self.conv(v).repeat_interleave(self.stride, 2), x, frames\n        )",
    ),
    (
        "model/temporal.py",
        "temporal down strides before it convolves",
        "return over_time(self.conv, x, frames)  # (B*T/stride, C, H, W)",
        "w, b = self.conv.weight, self.conv.bias\n        return over_time("
        "lambda v: F.conv2d(v[:, :, :: self.stride], w, b, padding=(w.shape[2] // 2, 0)), x, frames)",
    ),
    (
        "model/temporal.py",
        "rotary positions are never applied",
        "attention(rotary(q, places, self.head_dim), rotary(k, places, self.head_dim), v, self.head_dim)",
        "attention(q, k, v, self.head_dim)",
    ),
    (
        "model/stunet.py",
        "a skip is taken before inflation",
        """                h = extra["inflate"](h, tau, frames)
            if block.resize:
                h = extra["resize"](block.resize(h), frames)  # space, then time
                frames //= extra["resize"].stride
                emb, tau = (thinned(v, clips, frames) for v in (whole_emb, whole_tau))
            skips.append(h)""",
        """                skip, h = h, extra["inflate"](h, tau, frames)
            if block.resize:
                h = extra["resize"](block.resize(h), frames)  # space, then time
                frames //= extra["resize"].stride
                emb, tau = (thinned(v, clips, frames) for v in (whole_emb, whole_tau))
            skips.append(h if block.resize else skip)""",
    ),
    (
        "train/stages.py",
        "caption drop inverted",
        "chance[0] < stage.empty_caption",
        "chance[0] > stage.empty_caption",
    ),
    (
        "train/stages.py",
        "SSR told a wrong noise level",
        "noise_level=level).float()",
        "noise_level=level / 2).float()",
    ),
    (
        "train/stages.py",
        "SSR noised differently",
        "small = noised(batch.small, extra, level.view(-1, 1, 1, 1, 1))",
        "small = batch.small + level.view(-1, 1, 1, 1, 1) * extra",
    ),
    (
        "train/stages.py",
        "SSR's spoilt clips count by all that they err",
        "error * (plain + FAINT).rsqrt()",
        "error",
    ),
    (
        "train/stages.py",
        "SSR's clips count beside bicubic of what was not spoilt",
        "bicubic(small, model.spec.scale)",
        "bicubic(batch.small, model.spec.scale)",
    ),
    (
        "train/stages.py",
        "clips are trained on noise that frames do not share",
        "noise = process.shared(torch.randn(x0.shape, generator=generator, device=x0.device))\n    noisy",
        "noise = torch.randn(x0.shape, generator=generator, device=x0.device)\n    noisy",
    ),
    (
        "train/stages.py",
        "the second is hidden where it should be told",
        "chance[1] < stage.no_second",
        "chance[1] > stage.no_second",
    ),
    (
        "diffusion/process.py",
        "targets x0 and v swapped",
        "PREDICTIONS[self.spec.prediction][1]",
        'PREDICTIONS[{"v": "x0", "x0": "v", "eps": "eps"}[self.spec.prediction]][1]',
    ),
    ("train/trainer.py", "EMA decay swapped", "self.trained], 1 - decay)", "self.trained], decay)"),
    (
        "train/trainer.py",
        "gradient clipping removed",
        "torch.nn.utils.clip_grad_norm_(self.trained, 1.0)",
        "pass",
    ),
    (
        "train/data.py",
        "training windows always at 0",
        "rng.uniform(0, latest) * 16",
        "rng.uniform(0, 0) * 16",
    ),
    (
        "train/evaluate.py",
        "flips with different seeds",
        "same = [seeds[i] for i in sideways]",
        "same = [seeds[i] + 1 for i in sideways]",
    ),
)

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
