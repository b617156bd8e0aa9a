"""A ComfyUI server with a copy of this pack, for the tests that talk to one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]


class Server:
    def __init__(self, path: Path, python: Path, base: Path, neighbours: Sequence[Path] = ()) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.base, self.log = base, base / "server.log"
        (base / "custom_nodes").mkdir(parents=True)
        # A copy, not a link: what is tested is what a release holds.
        shutil.copytree(
            PACK,
            base / "custom_nodes" / "lumiere",
            ignore=shutil.ignore_patterns(".git", ".venv", "runs", "output", "__pycache__", ".*_cache"),
        )
        for pack in neighbours:
            shutil.copytree(pack, base / "custom_nodes" / pack.name, ignore=shutil.ignore_patterns(".git"))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    str(python),
                    str(path / "main.py"),
                    "--cpu",
                    "--port",
                    str(self.port),
                    "--base-directory",
                    str(base),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=path,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        end = time.monotonic() + 240
        while time.monotonic() < end:
            assert self.process.poll() is None, self.text()[-4000:]
            try:
                self.get("/system_stats")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(1)
        raise AssertionError("the server did not answer in 240 s: " + self.text()[-4000:])

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, data: dict) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(data).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def wait(self, prompt_id: str, seconds: float = 600) -> dict:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if history := self.get(f"/history/{prompt_id}"):
                return history[prompt_id]
            time.sleep(0.5)
        raise AssertionError(f"not done in {seconds} s: " + self.text()[-3000:])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
