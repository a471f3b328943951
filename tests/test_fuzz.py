"""The fuzzer notices what it is there for, and its inputs are a function of the seed."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs limits on memory, and /proc")

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Runs a program of these lines in an empty folder; what the fuzzer says is wrong with it."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from fuzzing.child import run_program
    from fuzzing.judge import judge

    folder, logs = tmp_path / "input", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()

    def run(text: str, must_refuse: bool = False, **limits: float) -> str:
        (tmp_path / "program.py").write_text(text)
        return judge(must_refuse, run_program(tmp_path / "program.py", [], folder, logs, **limits), folder)

    return run


REFUSAL = "import sys; print('error: x.png: the file is empty', file=sys.stderr); sys.exit(2)"


@pytest.mark.parametrize("text", ["print('done')", REFUSAL, "open('out', 'w').write('here')"])
def test_sound_programs_pass(judged, text) -> None:
    assert judged(text) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("bytearray(2**40)", "MemoryError"),
        ("import os; os.kill(os.getpid(), 15)", "signal 15"),
        ("import subprocess; subprocess.run(['true'])", "started a program"),
        ("open('../elsewhere', 'w').close()", "wrote '../elsewhere'"),
        ("import sys; print('error: a\\nerror: b', file=sys.stderr); sys.exit(2)", "in 2 lines"),
        ("import sys; print('libpng error: bad', file=sys.stderr)", "printed: libpng"),
        ("import sys; sys.exit(2)", "in 0 lines"),
        ("import os; os.mkdir('out'); open('out/a.json', 'w').write('[NaN]')", "no JSON"),
        ("import os; os.mkdir('out'); open('out/.a.json.1.part', 'w')", "left out"),
    ],
)
def test_faults_are_noticed(judged, text, problem) -> None:
    assert problem in judged(text)


def test_hanging_programs_are_ended(judged) -> None:
    assert judged("import time; time.sleep(60)", wall_seconds=0.5) == "took too long"


def test_accepting_what_must_be_refused_is_noticed(judged) -> None:
    assert judged(REFUSAL, must_refuse=True) == ""
    assert "had to be refused" in judged("pass", must_refuse=True)


def test_damage_is_a_function_of_the_seed(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from fuzzing.mutators import mutate_bytes, mutate_json, mutate_yaml

    tree, data = {"a": [1, 2.5], "b": {"c": "x"}}, bytes(range(256)) * 4
    for make in (
        lambda rng: mutate_bytes(rng, data),
        lambda rng: mutate_yaml(rng, tree),
        lambda rng: mutate_json(rng, json.dumps(tree).encode()),
    ):
        made = [[make(random.Random(seed)) for seed in range(50)] for _ in range(2)]
        assert made[0] == made[1]
        assert len(set(made[0])) > 25


@pytest.mark.slow
def test_a_short_run_finds_nothing(tmp_path) -> None:
    command = [sys.executable, SCRIPTS / "fuzz.py", "--inputs", "300", "--output", tmp_path, "--json", tmp_path / "x"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    assert sum(kind["accepted"] for kind in json.loads((tmp_path / "x").read_text())["kinds"].values()) > 20
