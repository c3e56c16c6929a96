import pytest
from fake_verb import lay_out

from cnntrain.config import find
from cnntrain.config.compose import Composer, searched, session
from cnntrain.config.quote import literal, quote
from cnntrain.config.run_folder import create, job_name, refuse_results
from cnntrain.errors import CheckpointError, ConfigError

GLOBAL = "# @package _global_\n"


@pytest.fixture
def compose(tmp_path, monkeypatch):
    """Composes in a folder that has the given files in its conf/."""
    monkeypatch.chdir(tmp_path)

    def composing(*words, verb="train", **files):
        for name, text in files.items():
            path = tmp_path / "conf" / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        where = find.led_by(find.folders(searched=searched(words)), verb)
        with session(where):
            return Composer(verb, where)(list(words))

    return composing


def test_a_run(compose):
    composed = compose("model=resnet18", "data=cifar10", "optimizer.lr=3e-4", "augment=[flip,crop]")
    assert composed.tree["optimizer"]["lr"] == 3e-4
    assert list(composed.tree["augment"]) == ["flip", "crop"]
    assert "hydra" not in composed.tree
    assert composed.setting("run.dir").endswith("_resnet18_cifar10")


def test_data_sets_bring_their_augmentation_and_the_words_override_it(compose):
    assert "flip" in compose("data=cifar10").tree["augment"]
    assert "flip" not in compose("data=digits").tree["augment"]
    assert not compose("data=cifar10", "augment=[]").tree.get("augment")


@pytest.mark.parametrize("text", ['{"*.bias":64,"head.*":0.5}', "{'*.bias': 64, 'head.*': 0.5}", "{*.bias:64,head.*:0.5}"])
def test_a_dict_is_written_as_hydra_or_json_has_it(compose, text):
    assert compose(f"weights.lr_scale={text}").tree["weights"]["lr_scale"] == {"*.bias": 64, "head.*": 0.5}
    assert literal({"*.bias": 64}) == "{'*.bias':64}", "what the Python interface makes of one is read, too"


def test_a_dict_is_laid_over_the_one_that_is_there(compose):
    recipe = GLOBAL + "weights:\n  lr_scale:\n    '*.bias': 64\n    head.*: 2\n"
    tree = compose("experiment=fast", "weights.lr_scale={head.*:3,fc.*:4}", experiment__fast=recipe).tree
    assert list(tree["weights"]["lr_scale"].items()) == [("*.bias", 64), ("head.*", 3), ("fc.*", 4)]


def test_a_sweep_over_dicts(tmp_path):
    with session(find.folders()):
        composer = Composer("train", find.folders())
        jobs = composer.combinations(['weights.lr_scale={"*.bias":2},{"fc*":3,"*.bias":4}', "seed=1,2"])
        assert len(jobs) == 4
        assert [composer(job).tree["weights"]["lr_scale"] for job in jobs[1:3]] == [{"*.bias": 2}, {"fc*": 3, "*.bias": 4}]


def test_a_net_within_a_net_is_chosen_from_the_same_group(compose):
    composed = compose("model=filtered", "model@model.net=resnet20", "model.net.depth=14")
    assert composed.tree["model"]["net"]["depth"] == 14 and composed.choices["model"] == "filtered"
    assert composed.setting("run.dir").endswith("_filtered_digits")
    assert compose("model=filtered").tree["model"]["net"]["_target_"].endswith(".LeNet5")
    assert compose("model=filtered", "model@model.net=filtered", "model@model.net.net=vgg11").tree["model"]["net"]["net"]["_target_"]


def test_keys_of_the_users_own_are_made(compose):
    """``knobs``, which is a dict for the user to fill."""
    words = ("checkpoint=x", "knobs.column=2", "knobs.net.depth=3", "knobs={width: 4}")
    assert compose(*words, verb="evaluate").tree["knobs"] == {"column": 2, "net": {"depth": 3}, "width": 4}
    assert compose("checkpoint=x", "++knobs.column=2", verb="evaluate").tree["knobs"] == {"column": 2}
    with session(find.folders()):
        jobs = Composer("evaluate", find.folders(), many=True).combinations(["checkpoint=x", "knobs.column=1,2"])
        assert [Composer("evaluate", find.folders())(job).tree["knobs"] for job in jobs] == [{"column": 1}, {"column": 2}]


def test_a_dict_for_a_key_that_does_not_exist(compose):
    with pytest.raises(ConfigError, match="did you mean 'weights.lr_scale'"):
        compose("weights.lr_scal={head.*:3}")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("modle=resnet18", "did you mean 'model'.*Fix: model=resnet18"),
        ("model=resnet81", "model has no option 'resnet81' .did you mean 'resnet18'.*Fix: model=resnet18"),
        ("optimizer.lrr=3", "optimizer has no key 'lrr' .did you mean 'optimizer.lr'.*Fix: optimizer.lr=3"),
        ("lr=3", "did you mean 'optimizer.lr'"),
        ("checkpoint.minuts=3", "checkpoint.minutes"),
        ("hydra.run.dri=x", "hydra.run.dir"),
        ("hydra/launcher=cnntrian", "cnntrain"),
        ("sweep.paralel=2", "sweep.parallel=2"),
        ("model=[resnet18,lenet5]", "takes one option.*Fix: model=resnet18"),
        ("augment=[crop,crop]", "crop twice.*Fix: augment=.crop"),
        ("augment=[crop,fli]", "Fix: augment=.crop,flip"),
        ("augment.shift.pixls=1", "augment.shift.pixels"),
        ("augment.crop.padding=1", "does not have crop.*add augment=.shift,rotate,crop"),
        ("data=null", "cannot be null"),
        ("~model", "cannot be taken away"),
        ("~optimizer.lr", "cannot be taken away"),
        ("+model=resnet18", "leave out the .: model=resnet18"),
        ("epochs.x=1", "epochs is a value"),
        ("epochs", "neither KEY=VALUE nor a flag"),
        ("epochs=[1", "cannot be read"),
        ("epochs=1,2", "add -m"),
        ("=3", "without a key"),
        ("model/foo=3", "no group 'model/foo'"),
        ("experiment=nope", "experiment has no option"),
        ("hydra.searchpath=[nowhere]", "no folder nowhere"),
        ("hydra.searchpath=nowhere", "list of folders"),
    ],
)
def test_wrong_words(compose, tmp_path, word, message):
    with pytest.raises(ConfigError, match=message):
        compose(word)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo: [\nbar: 1", r"bad.yaml:\d"),
        ("foo:\n\t- 1", r"bad.yaml:3\).*spaces"),
        ("foo: 1\nfoo: 2", r"duplicate key foo.*bad.yaml:3"),
        ("defaults:\n  - override /model: resnet81", r"did you mean 'resnet18'.*bad.yaml"),
        ("defaults:\n  - override /modle: resnet18", r"did you mean 'model'.*bad.yaml"),
        ("epochs: ${ep}", r"'ep' not found \(epochs\)"),
        ("epochs: ${batch_size}\nbatch_size: ${epochs}", "[Rr]ecursive"),
        ("epochs: ${oc.env:NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
        ("- a\n- b", "bad"),
    ],
)
def test_wrong_files(compose, text, message):
    with pytest.raises(ConfigError, match=message):
        compose("experiment=bad", experiment__bad=GLOBAL + text)


def test_a_file_that_is_not_utf8(compose):
    with pytest.raises(ConfigError, match=r"UTF-8.*bad.yaml"):
        compose("experiment=bad", experiment__bad=b"epochs: \xff\n")


def test_windows_line_ends_are_read_and_byte_order_marks_refused(compose):
    text = b"# @package _global_\r\nepochs: 3\r\n"
    assert compose("experiment=fine", experiment__fine=text).tree["epochs"] == 3
    with pytest.raises(ConfigError, match="byte order mark .*bad.yaml:1"):
        compose("experiment=bad", experiment__bad=b"\xef\xbb\xbf" + text)


def test_missing_values(compose):
    with pytest.raises(ConfigError, match=r"predict needs checkpoint and images.*add checkpoint="):
        compose(verb="predict")


def test_groups_that_are_off(compose):
    assert compose("checkpoint=x", verb="evaluate").tree["data"] is None
    assert compose("checkpoint=x", "data=cifar10", verb="evaluate").tree["data"]["_target_"]
    assert compose("experiment=null").tree == compose().tree


def test_users_files_join_and_twins_are_refused(compose, tmp_path):
    lay_out(tmp_path)
    assert compose("part=b", verb="fake").tree["part"] == {"_target_": "faketask.Part", "depth": 4}
    assert compose("model=mine", model__mine="# mine\n_target_: faketask.Part\ndepth: 1\n").tree["model"]["depth"] == 1
    with pytest.raises(ConfigError, match=r"conf/model/lenet5.yaml and .*conf/model/lenet5.yaml have the same name"):
        compose(model__lenet5="# mine\n_target_: faketask.Part\n")


def test_search_path(compose, tmp_path):
    (tmp_path / "it's more" / "model").mkdir(parents=True)
    (tmp_path / "it's more" / "model" / "own.yaml").write_text("_target_: faketask.Part\ndepth: 2\n")
    folder = quote(f"file://{tmp_path}/it's more")
    assert compose("model=own", f"hydra.searchpath=[{folder}]").tree["model"]["depth"] == 2


def test_combinations(compose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = find.folders()
    with session(where):
        jobs = Composer("train", where).combinations(["optimizer.lr=0.1,0.2", "seed=1,2,3", "epochs=2"])
    assert len(jobs) == 6
    assert jobs[0] == ["optimizer.lr=0.1", "seed=1", "epochs=2"]


@pytest.mark.parametrize(
    "value", [None, True, 3, 0.1, 1e-7, "plain", "a b", "it's", "null", "1", "back\\", "a=b,c", "[x]", [1, "a b"], {"k": [1, "x y"]}, ""]
)
def test_python_values_survive_the_grammar(value):
    from cnntrain.config.compose import parse

    assert parse([f"key={literal(value)}"])[0].value() == value


def test_run_folders_are_created_exclusively(tmp_path):
    path = tmp_path / "deep" / "run"
    assert create(path, given=False) == path
    assert create(path, given=False) == path.with_name("run_2")
    mine = create(tmp_path / "mine", given=True)
    refuse_results(create(mine, given=True))
    (mine / "config.yaml").write_text("")
    with pytest.raises(CheckpointError, match="holds a run already"):
        refuse_results(mine)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be created"):
        create(tmp_path / "file" / "run", given=False)


def test_job_names():
    assert job_name(3, ["optimizer.lr=0.1", "seed=2"]) == "3_lr=0.1_seed=2"
    assert job_name(0, ["a.lr=1", "b.lr=2"]) == "0_a.lr=1_b.lr=2"
    assert job_name(1, ["data.root=/a b/c", "augment=[crop,flip]"]) == "1_root=-a-b-c_augment=-crop-flip"
    long = [job_name(1, [f"x={'y' * 200}{end}"]) for end in "ab"]
    assert all(len(name) <= 100 for name in long) and long[0] != long[1]
