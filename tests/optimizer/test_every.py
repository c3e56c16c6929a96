"""What every shipped optimizer must do, whatever its method."""

import torch


def give_gradients(parameters, seed):
    """The same gradients each time, in the memory format of their parameters, as backward makes them."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        grad = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(grad)


def run(optimizer, parameters, seeds):
    for seed in seeds:
        give_gradients(parameters, seed)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (seed + 1) * group["lr_scale"]
        optimizer.step()


def test_groups_carry_what_the_engine_sets(name, build, parameters):
    optimizer = build(name, parameters())
    for group in optimizer.param_groups:
        assert {"lr", "lr_scale", "weight_decay"} <= set(group)
        assert "momentum" in group or len(group["betas"]) == 2
        assert all(p.ndim >= 2 for p in group["params"]) or group["weight_decay"] == 0


def test_a_saved_state_continues_bit_identically(name, build, parameters):
    first = parameters(torch.channels_last)
    optimizer = build(name, first)
    run(optimizer, first, range(3))
    strides = {value.stride() for value in optimizer.state[first[0]].values() if value.ndim}
    assert strides == {first[0].stride()}  # state lies in memory as its parameter does
    # As a checkpoint does it: contiguous tensors out, copied into empty_like(parameter) on the way in.
    stored = {
        index: {key: value.contiguous().clone() for key, value in state.items()} for index, state in optimizer.state_dict()["state"].items()
    }
    second = [torch.nn.Parameter(p.detach().clone(memory_format=torch.preserve_format)) for p in first]
    resumed = build(name, second)
    fresh, order = resumed.state_dict(), [p for group in resumed.param_groups for p in group["params"]]
    assert len(stored) == len(order)
    for index, state in stored.items():
        like = torch.empty_like(order[index])
        assert all(value.shape in (like.shape, ()) for value in state.values())
        fresh["state"][index] = {
            key: torch.empty_like(like).copy_(value) if value.shape == like.shape else value for key, value in state.items()
        }
    resumed.load_state_dict(fresh)
    for optimizer_, parameters_ in ((optimizer, first), (resumed, second)):
        run(optimizer_, parameters_, range(3, 5))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_channels_last_gives_the_same_result(name, build, parameters):
    plain, last = parameters(), parameters(torch.channels_last)
    assert last[0].is_contiguous(memory_format=torch.channels_last) and not last[0].is_contiguous()
    for one in (plain, last):
        run(build(name, one), one, range(4))
    for one, other in zip(plain, last, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_norms_and_biases_are_decayed_only_by_switch(name, build, parameters):
    for decay_norms in (False, True):
        members = parameters()
        optimizer = build(name, members, weight_decay=0.1, decay_norms=decay_norms)
        before = [p.detach().clone() for p in members]
        for p in members:
            p.grad = torch.zeros_like(p)
        optimizer.step()
        moved = [not torch.equal(p, old) for p, old in zip(members, before, strict=True)]
        assert moved == [p.ndim >= 2 or decay_norms for p in members]


def test_it_lowers_a_loss(name, build):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3))
    inputs, labels = torch.randn(12, 1, 6, 6), torch.arange(12) % 3
    optimizer, losses = build(name, list(model.parameters())), []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
