"""Mutated files, a thousand in CI; and the fuzzer itself, which has to notice what it is there for."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("lumiere_fuzz", HERE / "fuzz.py")
fuzz = sys.modules["lumiere_fuzz"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


def test_no_file_does_more_than_be_refused_in_a_sentence():
    result = fuzz.survey(int(os.environ.get("LUMIERE_FUZZ", 1000)))
    assert not result.faults, result.table() + "\n" + "\n".join(map(str, result.faults[:20]))
    ends = {end for _, end in result.ends}
    assert ends == {
        "taken, and works",
        "refused in a sentence",
    }  # mutants are neither all broken nor all harmless
    assert {mutation for mutation, _ in result.ends} == set(fuzz.MUTATIONS)


# A reading process whose reader does what the name of its target says.
SERVER = """
import importlib.util, os, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("lumiere_fuzz", sys.argv[1])
fuzz = sys.modules["lumiere_fuzz"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)
fuzz.originals = dict

def use(target, path):
    if target == "KeyError":
        {}["spec"]
    elif target == "sentence":
        raise ValueError(f"{path.name} is no model. Use another.")
    elif target == "words":
        raise ValueError("no")
    elif target == "crash":
        os._exit(3)
    elif target == "hang":
        time.sleep(60)
    elif target == "slow":
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
    elif target == "memory":
        b"x" * (200 * 2**20)

fuzz.use = use
fuzz.serve(Path(sys.argv[2]))
"""


def test_what_is_wrong_with_a_reader_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    reader = fuzz.Reader([sys.executable, "-c", SERVER, str(HERE / "fuzz.py"), str(tmp_path)])
    try:
        seen = {}
        for target in ("good", "sentence", "KeyError", "words", "slow", "crash", "hang", "memory"):
            monkeypatch.setattr(fuzz, "HANGS", 2.0 if target == "hang" else 100.0)
            monkeypatch.setattr(fuzz, "MIB", 100 if target == "memory" else 1024)
            seen[target] = fuzz.fault(reader.ask(target, tmp_path / "mutant"), "mutant")
    finally:
        reader.end()
    assert seen == {
        "good": "",
        "sentence": "",
        "KeyError": "KeyError",
        "words": "ValueError without a sentence",
        "slow": "slow",
        "crash": "crash",
        "hang": "hang",
        "memory": "memory" if fuzz.peak_mib() else "",
    }


def test_a_mutant_is_the_same_file_every_time():
    files = {
        name: fuzz.pack(
            {
                "__metadata__": {"spec": '{"a": [1, 2]}'},
                "t": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]},
            },
            bytes(8),
        )  # fmt: skip
        for name in fuzz.TARGETS
    }
    first = [fuzz.mutant(number, files) for number in range(200)]
    assert first == [fuzz.mutant(number, files) for number in range(200)]
    assert len({file for _, _, file in first}) > 100
