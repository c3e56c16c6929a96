import subprocess
import sys

import numpy as np
import torch

from cnntrain.draws import Draws, generator, key


def at(draws, epoch, index, step=0):
    return draws.at(epoch, step, torch.as_tensor(index))


def test_keys_are_the_same_in_every_process():
    code = "from cnntrain.draws import key; print(key(1, 'order', 7))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}, cwd=".")
    assert int(out.stdout) == key(1, "order", 7)
    assert key(1, "2") != key("12", "") and key("a", "b") != key("ab")


def test_every_epoch_is_another_permutation():
    draws = Draws(3, 100)
    orders = [draws.permutation(epoch) for epoch in range(3)]
    assert all(torch.equal(order.sort().values, torch.arange(100)) for order in orders)
    assert not torch.equal(orders[0], orders[1]) and not torch.equal(orders[1], orders[2])
    assert torch.equal(orders[1], Draws(3, 100).permutation(1))
    assert not torch.equal(orders[1], Draws(4, 100).permutation(1))


def test_a_samples_draws_do_not_depend_on_its_batch_or_on_what_was_drawn_before():
    whole = at(Draws(0, 50), 2, range(50)).uniform("crop", 2)
    draws = Draws(0, 50)
    at(draws, 0, [1, 2]).uniform("flip")
    part = at(draws, 2, [7, 3], step=9)
    part.normal("noise", 3)
    assert torch.equal(part.uniform("crop", 2), whole[[7, 3]])
    assert torch.equal(part.noise("noise", torch.Size([2, 3, 4, 4]))[1:], at(Draws(0, 50), 2, [3]).noise("noise", torch.Size([1, 3, 4, 4])))


def test_operations_epochs_seeds_and_samples_draw_apart():
    draws = Draws(0, 1000)
    rows = [at(draws, epoch, range(1000)).uniform(name, 1) for epoch in range(3) for name in ("crop", "flip")]
    rows.append(at(Draws(1, 1000), 0, range(1000)).uniform("crop", 1))
    values = torch.cat(rows).flatten()
    assert len(values.unique()) > 0.999 * len(values)


def test_what_is_drawn_once_is_the_same_in_every_epoch_and_apart_from_the_rest():
    draws = Draws(0, 50)
    once = at(draws, 0, range(50)).once("flip", 2)
    assert torch.equal(at(Draws(0, 50), 7, [3, 1], step=4).once("flip", 2), once[[3, 1]])
    others = [at(Draws(1, 50), 0, range(50)).once("flip", 2), at(draws, 0, range(50)).once("crop", 2)]
    others += [at(draws, epoch, range(50)).uniform("flip", 2) for epoch in range(2)]
    assert not any(torch.equal(once, other) for other in others)
    assert (draws.at(3, 8, torch.arange(2)).epoch, draws.at(3, 8, torch.arange(2)).step) == (3, 8)


def test_noise_is_standard_normal_and_white():
    noise = at(Draws(0, 64), 0, range(64)).noise("noise", torch.Size([64, 3, 16, 16])).double()
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert abs((noise**4).mean() - 3) < 0.1
    flat = noise.flatten(1)
    assert np.abs(np.corrcoef(flat.numpy()) - np.eye(64)).max() < 0.2
    assert abs((flat[:, 1:] * flat[:, :-1]).mean()) < 0.01


def test_batch_draws_are_a_function_of_the_step():
    draws = Draws(0, 10)
    first, again, later = (draws.at(0, step, torch.arange(2)).batch("mixup").random() for step in (4, 4, 5))
    assert first == again != later


def test_generator_is_seeded_by_all_its_parts():
    assert generator(1, "a").initial_seed() != generator(1, "b").initial_seed() != generator(2, "a").initial_seed()
