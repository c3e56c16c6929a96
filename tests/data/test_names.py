import pickle

import pytest
import torch

from cnntrain.data.names import Names

SOME = ["a/1.png", "ünï 猫/x y.jpg", "a\nb/\udc80.gif", "z/2"]


def test_names_come_back_as_they_were():
    names = Names.of(SOME)
    assert list(names) == SOME and len(names) == 4 and names[0] == "a/1.png" and names[-1] == "z/2"
    assert list(Names(names.joined)) == list(pickle.loads(pickle.dumps(names))) == SOME
    assert len(Names.of([])) == 0
    with pytest.raises(IndexError):
        names[4]


def test_a_subset_of_a_subset_shares_the_buffer():
    names = Names.of(SOME)
    part = names.subset(torch.tensor([3, 0, 1])).subset(torch.tensor([0, 2]))
    assert list(part) == [SOME[3], SOME[1]] and part.joined is names.joined and len(names) == 4
