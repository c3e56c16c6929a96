import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from fake_verb import lay_out

import cnntrain
from cnntrain.cli import main
from cnntrain.config.find import shipped
from cnntrain.errors import ConfigError

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(shipped().parent)}
CONTRACT = re.compile(r"error: .+\. Fix: .+")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working folder with a verb of its own."""
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("faketask", None)


def shown(capsys):
    """What was printed, and the last line on stderr."""
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out, err.splitlines()[-1] if err else ""


def test_a_run_of_the_users_own_verb(work, capsys):
    assert main(["fake", "x=0.25", "part=b"]) == 0
    assert "x is 0.25" in shown(capsys)[0]
    status = json.loads((work / "outputs/fake/status.json").read_text())
    assert (status["state"], status["value"]) == ("done", 0.25)
    config = yaml.safe_load((work / "outputs/fake/config.yaml").read_text())
    assert config["part"] == {"_target_": "faketask.Part", "depth": 4}
    assert not {"debug", "sweep", "trust", "hydra"} & set(config)
    assert "cnntrain fake x=0.25 part=b" in (work / "outputs/fake/train.log").read_text()
    assert main(["fake"]) == 0  # the same second, the same name: a folder of its own
    assert (work / "outputs/fake_2/status.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["fak", "x=1"],
        ["--hlep"],
        ["--cfg"],
        ["--cfg", "jbo"],
        ["--config-dir", "nowhere"],
        ["x=1", "evaluate"],
        ["fake", "x=7"],
        ["fake", "y=1"],
        ["fake", "+foo=1"],
        ["fake", "part=c"],
        ["fake", "part.depth=0"],
        ["fake", "sweep.parallel=0"],
        ["fake", "debug=maybe"],
        ["fake", "trust=1"],
        ["fake", "-m", "x=0.1,7"],
        ["fake", "-m", "x=interval(0,1)"],
        ["resume", "-m", "run=a,b"],
        ["modle=lenet5"],
        ["epochs=-1"],
        ["+foo=1"],
        ["-m", "optimizer.lrr=1,2"],
    ],
    ids=" ".join,
)
def test_wrong_commands_are_one_line_code_2_and_leave_nothing(work, capsys, words):
    before = sorted(work.rglob("*"))
    assert main(words) == 2
    out, error = shown(capsys)
    assert CONTRACT.fullmatch(error), error
    assert out == ""
    assert [path for path in sorted(work.rglob("*")) if "__pycache__" not in str(path)] == before


def test_an_error_in_the_users_code_is_one_line_and_its_traceback_is_in_the_log(work, capsys):
    assert main(["fake", "how=raise"]) == 1
    error = shown(capsys)[1]
    assert "ValueError: oh no" in error and "faketask.py" in error and "outputs/fake/train.log" in error
    assert "Traceback" in (work / "outputs/fake/train.log").read_text()
    assert json.loads((work / "outputs/fake/status.json").read_text())["state"] == "failed"
    assert main(["fake", "how=raise", "debug=true"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert main(["fake", "how=exit"]) == 7


@pytest.mark.parametrize(
    ("own", "seen"),
    [({}, "20000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["ours", "the user's count", "the user's policy"],
)
@pytest.mark.parametrize("sweep", [[], ["-m", "seed=1,2", "hydra.sweep.dir=all"]], ids=["one run", "a job"])
def test_threads_wait_politely_unless_the_user_says_otherwise(work, own, seen, sweep):
    task = work / "faketask.py"
    task.write_text(task.read_text().replace('print("x is", x)', 'print("spins", os.environ.get("GOMP_SPINCOUNT"))'))
    kept = {name: value for name, value in ENVIRONMENT.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-m", "cnntrain", "fake", "hydra.launcher.start=fresh", *sweep]
    done = subprocess.run(command, cwd=work, env={**kept, **own}, capture_output=True, text=True, timeout=250, check=True)
    shown = next((work / "all").glob("0_*/console.log")).read_text() if sweep else done.stdout
    assert f"spins {seen}\n" in shown


def test_explicit_run_folders_are_used_once(work, capsys):
    assert main(["fake", "hydra.run.dir=here"]) == 0
    before = (work / "here/status.json").read_text()
    assert main(["fake", "hydra.run.dir=here"]) == 4
    assert "holds a run already" in shown(capsys)[1]
    assert (work / "here/status.json").read_text() == before
    (work / "file").write_text("")
    assert main(["fake", "hydra.run.dir=file/run"]) == 4


def test_cfg(work, capsys):
    assert main(["fake", "--cfg", "job", "x=0.125"]) == 0
    config = yaml.safe_load(shown(capsys)[0])
    assert config["x"] == 0.125 and "hydra" not in config
    assert main(["fake", "--cfg", "all", "--package", "hydra.run.dir"]) == 0
    assert shown(capsys)[0] == "outputs/fake\n"
    assert main(["predict", "--cfg", "job"]) == 0  # values may still be missing
    assert yaml.safe_load(shown(capsys)[0])["images"] == "???"
    assert not (work / "outputs").exists()


def test_resume_lays_values_over_the_stored_config(work, capsys, monkeypatch):
    main(["fake"])
    capsys.readouterr()
    run = "run=outputs/fake"
    for words, message in (
        (["y=1"], "no key 'y'"),
        (["part=b"], "keeps its part"),
        (["part.dept=1"], "Fix: part.depth=1"),
        (["x=7"], "x: 7"),
        (["x=1,2"], "one value"),
        (["~x"], "one value"),
        (["x=${seed}"], "plain values"),
    ):
        # faketask is no part of ours: it is named only when trusted
        assert main(["resume", run, "trust=[faketask]", *words]) == 2
        assert re.search(message, shown(capsys)[1])
    assert main(["resume", run]) == 2
    assert "trust=[faketask]" in shown(capsys)[1]
    assert main(["resume", "run=nowhere"]) == 4
    (work / "outputs/fake/config.yaml").write_text("a: [")
    assert main(["resume", run]) == 4


def test_the_public_face(work):
    assert len(cnntrain.__all__) <= 10
    assert set(cnntrain.__all__) <= set(dir(cnntrain))
    assert re.match(r"\d+\.\d+", cnntrain.__version__)
    with pytest.raises(cnntrain.CnntrainError, match="did you mean 'epochs'"):
        cnntrain.train("model=lenet5", epoch=3)
    with pytest.raises(ConfigError, match=r"epochs: .it.{1,2}s. is not"):
        cnntrain.train(epochs="it's")
    with pytest.raises(AttributeError):
        cnntrain.nothing  # noqa: B018


def test_python_and_the_command_line_are_one_path(work):
    from cnntrain.cli import call

    result = call("fake", "part=b", x=0.25)
    assert result["value"] == 0.25
    assert result["folder"] == "outputs/fake"


def test_a_typo_is_found_before_torch_is_imported(work):
    code = """if True:
        import sys
        from cnntrain.cli import main
        codes = [main([*words]) for words in (["modle=x"], ["optimizer.lr=-1"], ["+foo=1"], ["model=resnet81"])]
        sys.exit(codes != [2] * 4 or "torch" in sys.modules)
        """
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, stderr=subprocess.DEVNULL, check=False).returncode == 0
    code = "import sys, cnntrain; sys.exit(any(name in sys.modules for name in ('torch', 'hydra', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0


def test_a_reader_that_leaves_stops_nothing(work):
    command = f"{sys.executable} -m cnntrain fake | true"
    subprocess.run(["bash", "-c", command], env=ENVIRONMENT, cwd=work, check=True)
    assert json.loads((work / "outputs/fake/status.json").read_text())["state"] == "done"
    command = f"{sys.executable} -m cnntrain fake <&- >&- 2>&-"
    subprocess.run(["bash", "-c", command], env=ENVIRONMENT, cwd=work, check=True)
    assert json.loads((work / "outputs/fake_2/status.json").read_text())["state"] == "done"
