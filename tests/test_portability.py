"""Windows, macOS and Python 3.10 to 3.13 by construction: what a Linux machine can check without owning the others.

Not run on Windows: these tests keep out what is known to fail there. (`test_windows.py` is about windows of frames.)
That text is opened with an encoding is in `test_layout.py`.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = {"runs", "output", "__pycache__", "venv"}


def our_files() -> Iterator[str]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and (name[0] != "." or name == ".ci")]
        yield from ((Path(folder) / name).relative_to(ROOT).as_posix() for name in files)


FILES = sorted(our_files())
SOURCES = {name: (ROOT / name).read_text(encoding="utf-8") for name in FILES if name.endswith(".py")}
assert len(SOURCES) > 40 and "dev.py" in SOURCES


def faults_in_sources(check) -> list[str]:
    return [
        f"{name}:{line} {fault}"
        for name, source in SOURCES.items()
        for line, fault in check(ast.parse(source, name))
    ]


# Names and letters

RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\..*)?", re.IGNORECASE
)


def bad_names(names: list[str]) -> list[str]:
    """What Windows refuses, or what two of its files would share."""
    faults = []
    for name in names:
        parts = PurePosixPath(name).parts
        faults += [f"{name}: longer than 120 letters"] if len(name) > 120 else []
        faults += [f"{name}: {part} is reserved" for part in parts if RESERVED.fullmatch(part)]
        faults += [f"{name}: {part} ends in a dot or a space" for part in parts if part[-1] in ". "]
        faults += [f"{name}: a forbidden letter"] if re.search(r'[<>:"|?*\\\x00-\x1f]', name) else []
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    count = Counter(entry.lower() for entry in {*names, *folders})
    return faults + [f"{name}: twice, but for its case" for name, times in count.items() if times > 1]


def test_every_file_can_lie_on_a_windows_disk():
    assert not bad_names(FILES)


@pytest.mark.parametrize(
    "name",
    [
        "nodes/aux.py",
        "docs/NUL",
        "a/COM1.txt",
        "con/x.py",
        "a?.md",
        "a:b",
        "a\\b",
        "end./x",
        "end ",
        "x" * 121,
    ],
)
def test_a_name_that_windows_refuses_is_seen(name):
    assert bad_names([name]) and not bad_names(["nodes/auxiliary.py", "console.md", "a b.c.d"])


def test_names_that_differ_by_case_alone_are_seen():
    assert bad_names(["docs/a.md", "docs/A.md"]) and bad_names(["Docs/a.md", "docs/b.md"])


def outside_cp1252(text: str) -> set[str]:
    return {letter for letter in text if not letter.encode("cp1252", "ignore")}


def test_text_is_made_of_letters_that_an_old_windows_program_can_show():
    texts = [name for name in FILES if name.endswith((".py", ".txt", ".toml", ".md"))]
    found = {name: outside_cp1252((ROOT / name).read_text(encoding="utf-8")) for name in texts}
    assert not {name: letters for name, letters in found.items() if letters}
    assert outside_cp1252("\u00fc \u20ac \u2192 \u6d77") == {"\u2192", "\u6d77"}


# Calls

POSIX_MODULES = {
    "crypt",
    "fcntl",
    "grp",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "syslog",
    "termios",
    "tty",
}
WINDOWS_MODULES = {"msvcrt", "winreg"}  # imported behind a condition on os.name; see state.take
POSIX_NAMES = {
    "os": "chown chroot fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getuid kill killpg lchown "
    "mkfifo mknod nice posix_fallocate register_at_fork sched_getaffinity setpgid setsid setuid statvfs sync sysconf "
    "uname wait wait3 wait4 O_DIRECTORY O_NOFOLLOW O_NONBLOCK WNOHANG popen system".split(),
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH alarm "
    "pause setitimer sigwait pthread_kill pthread_sigmask set_wakeup_fd".split(),
    "time": ["tzset", "clock_gettime", "clock_settime"],
    "mp": ["set_start_method"],
    "multiprocessing": ["set_start_method"],
    "asyncio": ["add_signal_handler"],
}
POSIX_PATH = re.compile(r"(?<![\w.:/])/(tmp|dev|etc|usr|bin|var)(/|$)")
PROGRAMS = {"run", "Popen", "call", "check_call", "check_output"}


def only_posix(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) that Windows lacks. What a condition on os.name or sys.platform decorates or asks is left out."""
    for node in ast.iter_child_nodes(tree):
        conditions = [
            *getattr(node, "decorator_list", []),
            *([node.test] if isinstance(node, ast.If) else []),
        ]
        if any(re.search(r"os\.name|sys\.platform", ast.unparse(c)) for c in conditions):
            continue
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            modules = [f"{node.value.id}.{node.attr}"]
        for name in modules:
            module, _, attribute = name.partition(".")
            imported = module in POSIX_MODULES and not isinstance(node, ast.Attribute)
            if imported or attribute in POSIX_NAMES.get(module, ()):
                yield node.lineno, f"uses {name}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and POSIX_PATH.match(node.value):
            yield node.lineno, f"names {node.value}"
        if isinstance(node, ast.Call):
            options = {keyword.arg: keyword.value for keyword in node.keywords}
            for option in {"preexec_fn", "pass_fds"} & set(options):
                yield node.lineno, f"starts a program with {option}"
            if "shell" in options and getattr(options["shell"], "value", True):
                yield node.lineno, "starts a shell"
            program = (
                isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "subprocess"
            )
            if (
                program
                and node.func.attr in PROGRAMS
                and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
            ):
                yield node.lineno, "starts a program by one string"
        yield from only_posix(node)


def test_nothing_is_called_that_windows_lacks():
    assert not faults_in_sources(only_posix)


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from resource import getrlimit",
        "def f():\n import os\n if os.fork(): pass",
        "from os import geteuid",
        "process.send_signal(signal.SIGKILL)",
        "os.kill(pid, 9)",
        "os.system('ls')",
        "open('/tmp/x', 'rb')",
        "Path('/dev/null')",
        "subprocess.run(['ls'], shell=True)",
        "subprocess.run(f'ls {folder}')",
        "subprocess.Popen(['ls'], preexec_fn=f)",
        "mp.set_start_method('fork')",
    ],
)
def test_a_call_that_windows_lacks_is_seen(source):
    assert list(only_posix(ast.parse(source)))
    assert not list(
        only_posix(ast.parse("subprocess.run(['ls'], shell=False); os.replace(a, b); x = 'a/tmp/b'"))
    )


def test_what_is_marked_as_posix_only_is_left_out():
    assert not list(
        only_posix(ast.parse("@pytest.mark.skipif(os.name == 'nt')\ndef test():\n os.kill(1, 9)"))
    )


# Python 3.10 to 3.13

NEWER = """tomllib wsgiref.types datetime.UTC enum.StrEnum enum.ReprEnum enum.verify typing.Self typing.Never
typing.override typing.LiteralString typing.assert_never typing.assert_type typing.Unpack typing.TypeVarTuple
typing.NotRequired typing.Required typing.dataclass_transform typing.TypeAliasType typing.ReadOnly typing.TypeIs
contextlib.chdir hashlib.file_digest asyncio.TaskGroup asyncio.Runner asyncio.timeout itertools.batched math.cbrt
math.exp2 math.sumprod operator.call warnings.deprecated copy.replace collections.abc.Buffer builtins.ExceptionGroup
builtins.BaseExceptionGroup""".split()


def stdlib_names(tree: ast.AST) -> set[str]:
    """Modules of the standard library that are imported, and the names taken from them."""
    names, modules = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module != "__future__":
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (module := modules.get(ast.unparse(node.value))):
            names.add(f"{module}.{node.attr}")
        elif isinstance(node, ast.Name) and hasattr(builtins, node.id):
            names.add(f"builtins.{node.id}")
    names |= set(modules.values())
    here = sys.stdlib_module_names - WINDOWS_MODULES
    return {name for name in names if name.split(".")[0] in here and name[0] != "_"}


ALL_STDLIB = set().union(*(stdlib_names(ast.parse(source)) for source in SOURCES.values()))


def test_sources_are_python_3_10():
    for name, source in SOURCES.items():
        ast.parse(source, name, feature_version=(3, 10))
    assert not ALL_STDLIB & set(NEWER)
    assert {"tomllib", "datetime.UTC", "enum.StrEnum"} <= stdlib_names(
        ast.parse("import tomllib, datetime as d\nfrom enum import StrEnum\nd.UTC")
    )


INSIDE = """
import importlib, json, sys
sources, names = json.load(sys.stdin)
faults = []
for name, source in sources.items():
    try:
        compile(source, name, "exec")
    except SyntaxError as error:
        faults.append("%s:%s %s" % (name, error.lineno, error.msg))
for name in names:
    try:
        importlib.import_module(name)
    except ImportError:
        module, _, attribute = name.rpartition(".")
        try:
            getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError):
            faults.append("no " + name)
print(sys.version_info[:2], *faults, sep="\\n")
"""


def understood(python: str, sources: dict[str, str], names: set[str]) -> list[str]:
    """That interpreter's version, and what it does not understand."""
    done = subprocess.run(
        [python, "-W", "error::SyntaxWarning", "-c", INSIDE],
        input=json.dumps([sources, sorted(names)]), capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_each_python_on_this_machine_understands_the_sources(version):
    python = shutil.which(f"python{version}")
    said = understood(python, {}, set()) if python else []
    if said != [f"({version.replace('.', ', ')})"]:
        pytest.skip(f"no python{version} on the path")
    assert understood(python, SOURCES, ALL_STDLIB) == said
    assert len(understood(python, {"bad.py": "def f(:"}, {"os.nothing", "nothing"})) == 4


# Folders and terminals as people have them

FOLDER = "mein Ordner \u00fc & \u00e9 (1) 'x' 100%"


@pytest.fixture
def home(tmp_path, weights_files) -> Path:
    """A folder with spaces, umlauts and signs, with the tiny weights in it."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    for file, name in zip(weights_files, ("base.safetensors", "ssr.safetensors"), strict=True):
        shutil.copy(file, folder / name)
    return folder


def command_line(folder: Path, *args: str) -> subprocess.CompletedProcess:
    """`python -m lumiere_core` in that folder, its output as a Windows program's: cp1252, and no help from UTF-8."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "cp1252:strict",
    }
    return subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-m", "lumiere_core", *args],
        cwd=folder, env=environment, capture_output=True, encoding="cp1252", check=False,
    )  # fmt: skip


def test_clips_are_made_in_a_folder_with_spaces_and_umlauts(home):
    from lumiere_core.media.files import read_clip, read_comment

    weights = ["--weights", str(home / "base.safetensors"), "--ssr-weights", "ssr.safetensors"]
    small = ["--size", "8", "--frames", "3", "--steps", "1", "--ssr-steps", "1"]
    out, trace = os.path.join("neu \u00e4", "Clip \u00f6.mp4"), "Spur \u00df.png"
    prompt = "a red balloon \u00fcber \u6d77"
    done = command_line(
        home, "generate", *weights, *small, "--prompt", prompt, "--out", out, "--xt-slice", str(home / trace)
    )
    assert done.returncode == 0, done.stderr
    assert read_clip(home / out)[0].shape == (3, 3, 32, 32)
    assert f'"prompt": "{prompt}"' in read_comment(home / out)
    assert (home / trace).read_bytes().startswith(b"\x89PNG")
    assert not re.findall(r"lumiere_core.*EncodingWarning", done.stderr)


def test_weights_are_described_or_refused_there_in_words_a_windows_terminal_can_show(home):
    told = command_line(home, "info", "base.safetensors", "\u6d77.safetensors")
    assert told.returncode == 2 and "tiny" in told.stdout
    assert "Traceback" not in told.stderr and "\\u6d77.safetensors cannot be read" in told.stderr


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ""])
def test_clips_go_to_a_file_and_back_in_such_a_folder(tmp_path, suffix):
    import torch

    from lumiere_core.media.files import read_clip, write_clip

    clip = torch.linspace(-1, 1, 16).expand(3, 2, 16, 16)
    path = write_clip(tmp_path / FOLDER / f"Clip \u6d77 %d{suffix}", clip, 16, {"prompt": "\u00fc"})
    if suffix:
        assert read_clip(path)[0].shape == clip.shape
    else:
        assert sorted(p.name for p in path.iterdir()) == ["00000.png", "00001.png"]
