"""The README's commands run as written, in order, through the real command line, on the CPU."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w+)( download)?\n(.*?)^```", README.read_text(), flags=re.M | re.S)


def commands(download):
    lines = [line for kind, marked, text in BLOCKS if kind == "sh" and bool(marked) is download for line in text.splitlines()]
    return [line for line in lines if line.startswith("cnntrain")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def run(line, folder):
    words = [sys.executable, "-m", "cnntrain", *shlex.split(line, comments=True)[1:]]
    environment = {**os.environ, "PYTHONPATH": str(README.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.parametrize("line", commands(download=False))
def test_a_command_runs_as_written(line, folder):
    done = run(line, folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "Traceback" not in done.stdout
    wide = [
        row for row in done.stdout.splitlines() if len(row) > 80 and "outputs/" not in row and not row.startswith(("note: ", "warning: "))
    ]
    assert not wide, done.stdout


@pytest.mark.parametrize("line", commands(download=True))
def test_a_command_that_would_download_composes_and_checks(line, folder):
    done = run(f"{line} --cfg job", folder)
    assert done.returncode == 0 and "_target_: cnntrain.task.train.train" in done.stdout, done.stderr


def test_the_errors_that_it_shows_are_those_that_are_told(folder):
    shown = re.findall(r"^\$ (cnntrain .*)\n(error: .*)$", README.read_text(), flags=re.M)
    assert len(shown) >= 2
    for line, error in shown:
        done = run(line, folder)
        assert (done.returncode, done.stderr.strip()) == (2, error)
    assert not list(folder.glob("outputs/*/*modle*"))


def test_the_users_own_model_and_python(folder):
    blocks = {kind: text for kind, _, text in BLOCKS if kind == "yaml"}
    net, script = [text for kind, _, text in BLOCKS if kind == "python"]
    (folder / "mynets.py").write_text(net)
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "mynet.yaml").write_text(blocks["yaml"])
    done = run("cnntrain model=mynet model.width=64 epochs=1 hydra.run.dir=outputs/own", folder)
    assert done.returncode == 0, done.stderr
    done = run("cnntrain model=mynet model.widht=64", folder)
    assert done.returncode == 2 and "did you mean 'model.width'" in done.stderr
    environment = {**os.environ, "PYTHONPATH": str(README.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode == 0, ran.stderr
