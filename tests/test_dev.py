"""What dev.py decides, without a network: which Python, which ComfyUI, what is installed, and how it gives up."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def dev(monkeypatch, tmp_path):
    """A fresh dev.py whose .venv lies in a temporary folder, and which records installations in `dev.installed`."""
    spec = importlib.util.spec_from_file_location("lumiere_dev", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    module.installed = []
    monkeypatch.setattr(
        module, "install", lambda python, *lines: module.installed.append((str(python), list(lines)))
    )
    return module


def lacking(dev, monkeypatch, lacks: dict[str, set[str]]) -> None:
    """Each interpreter lacks the modules given for it, until they are installed into it."""

    def missing(python, needs):
        there = {line for place, lines in dev.installed if place == str(python) for line in lines}
        gone = lacks.get(str(python), set())
        return [line for line in needs if re.split("[=<>]", line)[0] in gone and line not in there]

    monkeypatch.setattr(dev, "missing", missing)


def made_venvs(dev, monkeypatch) -> list[tuple]:
    made = []

    def make_venv(venv, *options):
        python = venv / dev.PYTHON
        python.parent.mkdir(parents=True)
        python.touch()
        made.append((venv, *options))
        return python

    monkeypatch.setattr(dev, "make_venv", make_venv)
    return made


def comfyui_at(folder: Path) -> Path:
    for part in ("comfy", "custom_nodes"):
        (folder / part).mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


# The running Python, or .venv


def test_a_python_that_has_everything_is_used_as_it_is(dev, monkeypatch):
    lacking(dev, monkeypatch, {})
    assert dev.prepare(dev.requirements(test=True)) == sys.executable
    assert not dev.installed


def test_an_own_environment_with_pytorch_gets_only_what_is_missing(dev, monkeypatch):
    lacking(dev, monkeypatch, {sys.executable: {"einops", "pytest"}})
    monkeypatch.setattr(dev.sys, "prefix", "an environment")
    assert dev.prepare(dev.requirements(test=True)) == sys.executable
    assert [[line.split(">")[0] for line in lines] for _, lines in dev.installed] == [["einops", "pytest"]]


def test_a_system_python_with_pytorch_is_left_alone_but_its_pytorch_is_used(dev, monkeypatch):
    lacking(dev, monkeypatch, {sys.executable: {"einops"}, str(dev.VENV / dev.PYTHON): {"einops"}})
    monkeypatch.setattr(dev.sys, "prefix", sys.base_prefix)
    made = made_venvs(dev, monkeypatch)
    assert dev.prepare(dev.requirements()) == dev.VENV / dev.PYTHON
    assert made == [(dev.VENV, "--system-site-packages")]
    assert [place for place, _ in dev.installed] == [str(dev.VENV / dev.PYTHON)]
    assert dev.TORCH not in dev.installed[0][1]


def test_without_pytorch_a_venv_is_made_once(dev, monkeypatch):
    everything = {"torch", "einops", "safetensors", "av", "pillow", "opencv-python"}
    lacking(dev, monkeypatch, {sys.executable: everything, str(dev.VENV / dev.PYTHON): everything})
    made = made_venvs(dev, monkeypatch)
    assert dev.prepare(dev.requirements()) == dev.prepare(dev.requirements()) == dev.VENV / dev.PYTHON
    assert made == [(dev.VENV,)]
    assert dev.installed == [(str(dev.VENV / dev.PYTHON), dev.requirements())]


def test_a_changed_requirement_is_installed_though_its_module_is_there(dev, monkeypatch):
    lacking(dev, monkeypatch, {sys.executable: {"torch"}})
    made_venvs(dev, monkeypatch)
    dev.prepare(["torch==2.13.0", "einops>=0.6"])
    dev.prepare(["torch==2.13.0", "einops>=0.9"])
    assert [lines for _, lines in dev.installed] == [["einops>=0.6"], ["einops>=0.9"]]


def test_modules_are_found_under_the_name_they_are_imported_by(dev):
    assert dev.missing(sys.executable, ["pytest>=8", "no-such-package==1"]) == ["no-such-package==1"]
    if importlib.util.find_spec("cv2"):
        assert dev.missing(sys.executable, dev.requirements()[-1:]) == []  # whichever cv2 it is


def test_installing_never_replaces_pytorch_or_numpy(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("lumiere_dev", ROOT / "dev.py")
    dev = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dev)
    commands = []

    def quietly(what, *command):
        commands.append([str(part) for part in command])
        return "torch==2.9.1+cu128\nnumpy==1.26.4\n"

    monkeypatch.setattr(dev, "quietly", quietly)
    dev.install("python", "einops>=0.6")
    assert commands[-1][-3:] == ["einops>=0.6", "torch==2.9.1+cu128", "numpy==1.26.4"]


def test_the_requirements_are_said_twice_and_equal(dev):
    lines = re.findall(r"^\w.*", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)\]", project, re.M | re.S)
    assert re.findall(r'"([^"]+)"', listed[1]) == lines
    assert not [line for line in lines if re.match("torch|numpy|opencv", line)]  # they replace what is there
    told = [re.search(rf'^{extra} = \["(.+)"\]', project, re.M)[1] for extra in ("media", "opencv")]
    without = [dev.TORCH, *lines, *told[0].split('", "'), told[1]]
    assert dev.requirements() == without
    extra = dev.requirements(test=True)[len(without) :]
    assert {"pytest", "ruff", "diffusers", "imageio-ffmpeg"} == {line.split(">")[0] for line in extra}


# One sentence and exit code 2


def test_an_unknown_command_says_so_in_one_sentence():
    for argv in ([], ["paint"]):
        done = subprocess.run([sys.executable, str(ROOT / "dev.py"), *argv], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "demo, test, fuzz, mutants or comfyui" in done.stderr


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        ("old Python", "3.10 or newer"),
        ("no venv", "install its venv module"),
        ("no space", "Only 0.5 GB are free"),
        ("foreign venv", "holds no Python for this system"),
        ("pip", "No matching distribution found"),
    ],
)
def test_a_python_that_cannot_be_prepared_is_one_sentence(dev, monkeypatch, capsys, obstacle, words):
    lacks = {"torch"} | ({"venv"} if obstacle == "no venv" else set())
    lacking(dev, monkeypatch, {sys.executable: lacks, str(dev.VENV / dev.PYTHON): lacks})
    if obstacle == "old Python":
        monkeypatch.setattr(dev.sys, "version_info", (3, 9, 1))
    if obstacle == "no space":
        monkeypatch.setattr(dev.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0.5e9}))
    if obstacle == "foreign venv":
        dev.VENV.mkdir()
    if obstacle == "pip":
        made_venvs(dev, monkeypatch)
        complaint = (
            "import sys; sys.exit('ERROR: No matching distribution found for torch\\n[notice] a new pip')"
        )
        monkeypatch.setattr(
            dev, "install", lambda *_: dev.quietly("Installing", sys.executable, "-c", complaint)
        )
    assert dev.main(["demo"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words in said
    assert obstacle == "foreign venv" or obstacle == "pip" or not dev.VENV.exists()


def test_a_program_that_is_not_there_is_one_sentence(dev):
    with pytest.raises(dev.Stop, match="does not start"):
        dev.quietly("Fetching", "no-such-program-at-all")


def test_options_are_passed_on_after_ours(dev, monkeypatch):
    ran = []
    monkeypatch.setattr(dev, "prepare", lambda needs: "python")
    monkeypatch.setattr(dev, "run", lambda *command: ran.append(command) or 0)
    assert dev.main(["demo", "--prompt", "a blue boat"]) == 0
    assert ran[0][:3] == ("python", "lumiere_core", "generate")
    assert ran[0][-2:] == ("--prompt", "a blue boat")
    assert dev.main(["test", "-k", "windows"]) == 0
    assert [command[1:3] for command in ran[1:3]] == [("ruff", "check"), ("ruff", "format")]
    assert "--check" in ran[2], "a test writes no files"
    assert ran[3][1:] == ("pytest", "-k", "windows")


@pytest.mark.parametrize("fails", ["check", "format", "pytest"])
def test_whatever_fails_fails_the_tests(dev, monkeypatch, fails):
    monkeypatch.setattr(dev, "prepare", lambda needs: "python")
    monkeypatch.setattr(dev, "run", lambda *command: int(fails in command))
    assert dev.main(["test"]) == 1


def test_the_command_line_runs_from_any_folder(dev, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert dev.run(sys.executable, "lumiere_core", "--version") == 0


# ComfyUI


def test_a_named_comfyui_wins_over_the_one_around_and_the_one_at_home(dev, tmp_path):
    named = comfyui_at(tmp_path / "named")
    around = comfyui_at(tmp_path / "around")
    home = comfyui_at(tmp_path / "home" / "comfy" / "ComfyUI").parent.parent
    root = around / "custom_nodes" / "lumiere"
    elsewhere = tmp_path / "some" / "where" / "lumiere"
    assert dev.find_comfyui({"COMFYUI_PATH": str(named)}, root, home) == named
    assert dev.find_comfyui({}, root, home) == around
    assert dev.find_comfyui({}, elsewhere, home) == home / "comfy" / "ComfyUI"
    assert dev.find_comfyui({}, elsewhere, tmp_path / "nobody") is None


def test_the_folder_of_a_portable_comfyui_may_be_named(dev, tmp_path):
    inside = comfyui_at(tmp_path / "portable" / "ComfyUI")
    assert dev.find_comfyui({"COMFYUI_PATH": str(tmp_path / "portable")}, tmp_path, tmp_path) == inside


def test_a_named_folder_without_comfyui_is_refused_not_replaced(dev, tmp_path):
    with pytest.raises(dev.NoHost, match="there is no ComfyUI in it"):
        dev.find_comfyui({"COMFYUI_PATH": str(tmp_path)}, tmp_path, tmp_path)


def test_an_existing_comfyui_gets_only_what_is_missing_and_never_pytorch(dev, monkeypatch, tmp_path):
    comfy = comfyui_at(tmp_path / "ComfyUI")
    made_venvs(dev, monkeypatch)
    python = dev.make_venv(comfy / "venv")
    lacking(dev, monkeypatch, {str(python): {"safetensors"}})
    assert dev.prepare_host(comfy, {}) == python
    assert [[line.split(">")[0] for line in lines] for _, lines in dev.installed] == [["safetensors"]]
    lacking(dev, monkeypatch, {str(python): {"torch"}})
    with pytest.raises(dev.Stop, match="has no PyTorch"):
        dev.prepare_host(comfy, {})
    assert dev.prepare_host(comfy, {"COMFYUI_PYTHON": sys.executable}) == Path(sys.executable)


def test_a_new_host_environment_that_broke_off_is_taken_up_again(dev, monkeypatch, tmp_path):
    comfy = comfyui_at(tmp_path / "ComfyUI")
    lacking(dev, monkeypatch, {})
    made = made_venvs(dev, monkeypatch)
    install = dev.install

    def broken(*_):
        raise dev.Stop("the network is gone")

    monkeypatch.setattr(dev, "install", broken)
    with pytest.raises(dev.Stop):
        dev.prepare_host(comfy, {})
    monkeypatch.setattr(dev, "install", install)
    for _ in range(2):
        dev.prepare_host(comfy, {})
    assert len(made) == 1
    assert [lines for _, lines in dev.installed] == [[*dev.HOST_TORCH, "-r", str(comfy / "requirements.txt")]]


@pytest.fixture
def pack(dev, monkeypatch, tmp_path) -> Path:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "custom_nodes").mkdir()
    monkeypatch.setattr(dev, "ROOT", tmp_path / "pack")
    return tmp_path / "custom_nodes"


def test_the_pack_is_linked_once(dev, pack):
    placed = dev.place(pack)
    assert placed == pack / "lumiere" and placed.resolve() == dev.ROOT.resolve()
    assert dev.place(pack) == placed
    assert len(list(pack.iterdir())) == 1


def test_a_pack_that_lies_there_already_stays_where_it_is(dev, monkeypatch, pack):
    (pack / "another-name").mkdir()
    monkeypatch.setattr(dev, "ROOT", pack / "another-name")
    assert dev.place(pack) == pack / "another-name"
    assert len(list(pack.iterdir())) == 1


def test_another_copy_of_the_pack_is_not_touched(dev, pack):
    (pack / "lumiere").mkdir()
    (pack / "lumiere" / "mine.txt").touch()
    with pytest.raises(dev.Stop, match="move it away"):
        dev.place(pack)
    assert (pack / "lumiere" / "mine.txt").exists()


def test_where_links_are_refused_a_copy_is_renewed_at_each_start(dev, monkeypatch, pack):
    def refused(*_, **__):
        raise OSError("links are not allowed here")

    monkeypatch.setattr(Path, "symlink_to", refused)
    monkeypatch.setattr(dev, "quietly", refused)
    (dev.ROOT / ".venv").mkdir()
    assert dev.place(pack) == pack / "lumiere"
    (dev.ROOT / "new.py").touch()
    dev.place(pack)
    assert (pack / "lumiere" / "new.py").exists() and not (pack / "lumiere" / ".venv").exists()
