"""Row F2: every key of every verb and option misspelt, and words that stand in the wrong place: the right one is named."""

import re

import pytest
from faults.commands import SHIPPED, Remembering, leaves, told

from cnntrain.config import compose, find
from cnntrain.config.outline import read
from cnntrain.config.words import leaves as paths_of
from cnntrain.config.words import walk
from cnntrain.errors import ConfigError

pytestmark = pytest.mark.usefixtures("elsewhere")

LEAVES = leaves()
MEANT = re.compile(r"did you mean ([^?]*)\?")


def slips(word: str) -> list[str]:
    """The word with each letter dropped, doubled, or swapped with the next: dropped ones first."""
    places = range(len(word))
    dropped = [word[:i] + word[i + 1 :] for i in places]
    doubled = [word[:i] + word[i] + word[i:] for i in places]
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in places[1:-1]]
    return [wrong for wrong in dict.fromkeys(dropped + doubled + swapped) if wrong and wrong != word]


def names(line: str) -> list[str]:
    """What an error asks for, the nearest first."""
    found = MEANT.search(line)
    return [name.strip("'") for name in found[1].split(" or ")] if found else []


def test_every_key_with_every_slip(fault, capsys):
    """Against the whole tree that the words make, by the check that the command line uses; nothing but the key is looked at."""
    where, trees = find.folders(), {}
    total, missed, seen = 0, [], set()
    with compose.session(where):
        for leaf in LEAVES:
            words = leaf.command[1:]
            if (leaf.verb, words) not in trees:
                composer = Remembering(leaf.verb, where)
                trees[leaf.verb, words] = composer._base([one for one in compose.parse(words) if composer._is_group(one)])
            tree = trees[leaf.verb, words]
            paths = [path for path, _ in paths_of(tree) if not path.startswith("hydra.")]
            above, dot, last = leaf.key.rpartition(".")
            if leaf.verb == "train" and leaf.key in seen:
                continue
            seen.add(leaf.key)
            for wrong in slips(last):
                if above + dot + wrong in paths:
                    continue
                with pytest.raises(ConfigError) as caught:
                    walk(tree, above + dot + wrong, paths, f"{above}{dot}{wrong}=1")
                total += 1
                if names(str(caught.value))[:1] != [leaf.key]:
                    missed.append((above + dot + wrong, leaf.key, names(str(caught.value))))
            fault("F2", f"{leaf.key} misspelt")
    share = 1 - len(missed) / total
    with capsys.disabled():
        print(f"\n{total:,} misspelt keys, the right one named for {share:.1%}; missed: {sorted({one[0] for one in missed})}")
    assert total > 1500
    assert share >= 0.95, missed


@pytest.mark.parametrize("prefix", ["", "+", "++", "~"])
def test_a_slip_by_the_command_line(fault, capsys, chance, prefix):
    """One slip by chance for each key's name, through the whole command."""
    named = {(leaf.verb == "train", leaf.key.rpartition(".")[2]): leaf for leaf in LEAVES}
    asked, missed = 0, []
    for turn, leaf in enumerate(named.values()):
        if turn % 10 != ["", "+", "++", "~"].index(prefix):
            continue
        above, dot, last = leaf.key.rpartition(".")
        wrong = above + dot + chance.choice(slips(last))
        if any(wrong == other.key for other in LEAVES):
            continue
        given = leaf.command if leaf.verb != "resume" or leaf.key == "run" else (leaf.verb, "run=r")
        line = told(capsys, *given, f"{prefix}{wrong}" + ("=1" if prefix != "~" else ""))
        assert wrong.rpartition(".")[2] in line, line
        asked += 1
        missed += [line] if names(line)[:1] not in ([leaf.key], [last]) else []
        fault("F2", f"{prefix}{leaf.key} misspelt")
    assert asked > 5
    assert len(missed) / asked <= 0.1, "\n".join(missed)


def test_every_option_misspelt(fault, capsys, chance):
    asked, missed = 0, []
    for group, options in SHIPPED.items():
        for option in options if group else ():
            wrong = chance.choice([slip for slip in slips(option) if slip not in options])
            written = f"[{wrong}]" if group == "augment" else wrong
            line = told(capsys, "train", f"{group}={written}")
            asked += 1
            missed += [line] if names(line)[:1] != [option] else []
            fault("F2", f"{group}={option} misspelt")
    assert len(missed) / asked <= 0.05, "\n".join(missed)


@pytest.mark.parametrize("verb", sorted(SHIPPED[""]))
def test_a_verb_misspelt(fault, capsys, chance, verb):
    assert names(told(capsys, chance.choice(slips(verb))))[:1] == [verb]
    fault("F2", f"{verb} misspelt")


@pytest.mark.parametrize("group", [name for name in read(SHIPPED[""]["train"]).choices if name in SHIPPED])
def test_a_group_misspelt(fault, capsys, chance, group):
    for prefix in ("", "+", "++"):
        line = told(capsys, f"{prefix}{chance.choice(slips(group))}={next(iter(SHIPPED[group]))}")
        assert names(line)[:1] == [group], line
    fault("F2", f"{group} misspelt")


@pytest.mark.parametrize(
    ("word", "fix"),
    [
        ("lr=0.1", "optimizer.lr=0.1"),
        ("optimizer.sgd=0.1", "optimizer=sgd"),
        ("adam=true", "optimizer=adam"),
        ("resnet18=true", "model=resnet18"),
        ("mixup=0.2", "augment=[mixup]"),
        ("optimizer=lenet5", "model=lenet5"),
        ("model=cifar10", "data=cifar10"),
        ("augment.flip.p=0.3", "add augment=[shift,rotate,flip]"),
        ("augment=[flip,crp]", "augment=[flip,crop]"),
        ("augment=[flip,fli]", "choose one of"),
        ("epochs.length=3", "epochs=VALUE"),
        ("model=../data/digits", "choose one of"),
        ("model=/data/digits", "choose one of"),
        ("+epochs=3", "leave out the +: epochs=3"),
        ("+optimizer.lr=3", "leave out the +: optimizer.lr=3"),
        ("++model=lenet5", "leave out the +: model=lenet5"),
        ("~epoch", "set it: epochs=VALUE"),
        ("~epochs", "set it: epochs=VALUE"),
        ("~data", "choose another one"),
        ("hydra=1", "hydra.KEY=VALUE"),
        ("hydra.run.dir=", "hydra.run.dir=outputs/NAME"),
        ("hydra.run.dri=x", "hydra.run.dir=x"),
        ("epochs =3", "epochs=3"),
        ("'epochs'=3", "epochs=3"),
        ("epochs:=3", "epochs=3"),
        ("ep\nochs=3", "epochs=3"),
        ("=3", "use one of"),
        ("~", "use one of"),
        ("epochs=(", "quote it: epochs=\"'('\""),
        ("epochs='", "quote it: 'epochs="),
        ("--config-dir=", "write --config-dir VALUE"),
        ("--job=nowhere", "leave out --job"),
        ("--hlep", "see cnntrain --help"),
        ("weights.lr_scale.fc=2", "weights.lr_scale={fc: 2}"),
        ("evaluate checkpoint=x knob.column=2", "knobs.column=2"),
        ("model=resnet18,resnet34", "add -m to run each\n"),
        ("augment=crop,flip", "add -m to run each, or write [crop,flip] for a list"),
        # networks of others, by name: a typo of ours is still ours
        ("model=efficientnet_b0", "model=torchvision model.name=efficientnet_b0"),
        ("model=mobilenet_v3_small", "model=torchvision model.name=mobilenet_v3_small"),
        ("model=mobilenet_v3", "model=mobilenet_v"),
        ("model=resnet26", "model=resnet20"),
        # what stands within a node
        ("model@model.net=resnet20", "model=filtered model@model.net=resnet20"),
        ("model=filtered model@model.net=null", "model@model.net=lenet5"),
        ("model=filtered ~model@model.net", "model@model.net=lenet5"),
        ("model=filtered ~model@model.nett", "model@model.net=lenet5"),
        ("model=filtered model@model.nett=resnet20", "model@model.net=resnet20"),
        ("model=filtered model@net=resnet20", "model@model.net=resnet20"),
        ("model=filtered modle@model.net=resnet20", "model@model.net=resnet20"),
        ("model=filtered +model@model.net=resnet20", "leave out the +: model@model.net=resnet20"),
        ("model=filtered model@model.net=[resnet20]", "model@model.net=resnet20"),
        ("model=filtered model@model.net=resnt20", "model@model.net=resnet20"),
        ("model=filtered model@model.net=cifar10", "data=cifar10"),
        ("model=filtered model@model.net=vit_b_16", "model@model.net=torchvision model.net.name=vit_b_16"),
        ("model=filtered model.net=resnet20", "model@model.net=resnet20"),
        ("model=filtered model.net=resnt20", "model@model.net=resnet20"),
        ("model=filtered model.net=null", "model@model.net=lenet5"),
        ("model=filtered model.net.pol=max", "model.net.pool=max"),
        ("model=filtered model.nett.pool=max", "model.net.pool=max"),
        ("model=filtered model@model.net=resnet20 model.net.depht=14", "model.net.depth=14"),
        ("model=filtered model@model.net=filtered model@model.net.ent=resnet20", "model@model.net.net=resnet20"),
    ],
)
def test_words_that_stand_in_the_wrong_place(fault, capsys, word, fix):
    line = told(capsys, *(word.split(" ") if word.startswith(("model=", "evaluate ")) else [word]))
    assert f"Fix: {fix}" in line, line
    fault("F2", word)


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("model=glob(zz*)", "list the values: model=A,B,C"),
        ("epochs=glob(*)", "list the values: epochs=A,B,C"),
        ("hydra.launcher._target_=builtins.print seed=1,2", "hydra/launcher=cnntrain"),
        ("hydra.sweeper._target_=builtins.print seed=1,2", "hydra/sweeper=basic"),
        ("optimizer.lrr=1,2", "optimizer.lr"),
        ("seed=1,-2", "set seed"),
        ("model=glob(resnet2*) epochs=-1", "set epochs"),
    ],
)
def test_sweeps_that_cannot_be(fault, capsys, words, fix):
    line = told(capsys, "-m", *words.split())
    assert f"Fix: {fix}" in line or f"write {fix}" in line, line
    fault("F2", f"-m {words}")


def test_a_glob_chooses_options():
    where = find.folders()
    with compose.session(where):
        jobs = compose.Composer("train", where, many=True).combinations(["model=glob(resnet3*)", "seed=1,2"])
    assert jobs == [[f"model=resnet{depth}", f"seed={seed}"] for depth in (32, 34) for seed in (1, 2)]
