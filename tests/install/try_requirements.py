"""What `pip install -r requirements.txt` does to environments that other packs have filled before us.

    python tests/install/try_requirements.py [--add LINE] [--keep DIR]

Each environment is made anew. Afterwards `pip freeze` may differ by additions only, and OpenCV has to do what it did
before. Where there was none, the line that people are told to type (the extra `opencv` of pyproject.toml) has to bring
it under the same rule. `--add` tries one more requirement: with "opencv-python" the script has to fail.
Needs a package index, 2 GB of disk, and a Python that numpy 1.26 has wheels for (3.10 to 3.12).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = {
    "numpy 1.26, no cv2": ["numpy==1.26.4"],
    "numpy 2, no cv2": ["numpy>=2"],
    "opencv-contrib-python": ["opencv-contrib-python"],
    "opencv-python-headless": ["opencv-python-headless"],
    "opencv-python": ["opencv-python"],  # an upper bound in our requirements would downgrade it
}
NO_CV2 = "none"
USE_CV2 = """
import importlib.util, numpy
if importlib.util.find_spec("cv2") is None:
    raise SystemExit(print("none"))
import cv2
grey = numpy.random.default_rng(0).integers(0, 256, (64, 64), dtype=numpy.uint8)
assert cv2.resize(grey, (32, 16)).shape == (16, 32)
assert (cv2.imdecode(cv2.imencode(".png", grey)[1], 0) == grey).all()
assert cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(grey, grey, None).shape == (64, 64, 2)
contrib = hasattr(getattr(cv2, "ximgproc", None), "guidedFilter")
print(cv2.__version__ + " with contrib" * contrib)
"""


class Environment:
    """A virtual environment that has some packages."""

    def __init__(self, folder: Path, packages: list[str]):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.pip("install", *packages)

    def _run(self, *args: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(self.python), *args], cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
        )

    def pip(self, *args: str) -> str:
        done = self._run("-m", "pip", "-q", "--disable-pip-version-check", *args)
        if done.returncode:
            raise SystemExit(f"pip {' '.join(args)} failed: {done.stderr}")
        return done.stdout

    def state(self) -> tuple[dict[str, str], str]:
        """(packages and their versions, what cv2 says of itself)."""
        cv2 = self._run("-c", USE_CV2)
        said = cv2.stdout.strip() if not cv2.returncode else f"broken, {cv2.stderr.strip().splitlines()[-1]}"
        return dict(line.split("==") for line in self.pip("freeze").split()), said


def attempt(folder: Path, packages: list[str], lines: list[str], told: str) -> tuple[list[str], list[str]]:
    """(cells of the table, faults) of one environment."""
    place = Environment(folder, packages)
    before, cv2_before = place.state()
    place.pip("install", "-r", "requirements.txt", *lines)
    after, cv2_after = place.state()
    cells = [before["numpy"], after["numpy"], cv2_before, cv2_after]
    if cv2_after == NO_CV2:
        place.pip("install", told)
        after, cv2_after = place.state()
        cells[1], cells[3] = after["numpy"], f"{cv2_after}, typed"
    faults = [
        f"{name} {was} became {after.get(name)}" for name, was in before.items() if after.get(name) != was
    ]
    if cv2_after.startswith("broken") or cv2_before not in (NO_CV2, cv2_after):
        faults.append(f"cv2 {cv2_before} became {cv2_after}")
    return [*cells, " ".join(sorted(set(after) - set(before)))], faults


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--add", metavar="LINE", action="append", default=[], help="one more requirement to try"
    )
    options.add_argument(
        "--keep", metavar="DIR", type=Path, help="make the environments here, and leave them"
    )
    args = options.parse_args()
    told = re.search(r'^opencv = \["(.+)"\]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]
    failed = False
    print(
        "| before | numpy | numpy after | cv2 | cv2 after | added | changed or broken |\n|---|---|---|---|---|---|---|"
    )
    for name, packages in ENVIRONMENTS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = (args.keep or Path(temporary)).absolute() / re.sub(r"\W+", "-", name)
            cells, faults = attempt(folder, packages, args.add, told)
        print("|", " | ".join([name, *cells, "; ".join(faults) or "nothing"]), "|", flush=True)
        failed = failed or bool(faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
