"""FractalNet: its columns, the paper's sizes, drop-path within it, and any column as a net of its own."""

import pytest
import torch
from model.entries import build
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.model.fractalnet import FractalBlock, FractalNet

FACTS = {"in_channels": 3, "num_classes": 10, "image_size": 32}
QUARTER = (16, 32, 64, 128, 128)


def parameters(*, classes, **config):
    with torch.device("meta"):
        net = FractalNet(**config, **FACTS | {"num_classes": classes})
    return sum(value.numel() for value in net.parameters())


def small(**config):
    """A net of two blocks, of which nothing is dropped."""
    off = {"drop_path": 0.0, "global_share": 0.0, "dropout": (0.0, 0.0)}
    return FractalNet(**{"widths": (4, 6), "columns": 3} | off | config, in_channels=2, num_classes=3, image_size=8)


def by_arithmetic(widths, columns, inputs=3, classes=10):
    """In each block C convolutions take its input, the other 2^C - 1 - C its own maps; each has a norm."""
    layers, total = 2**columns - 1, 0
    for width in widths:
        total += 9 * width * (columns * inputs + (layers - columns) * width) + layers * 2 * width
        inputs = width
    return total + inputs * classes + classes


@pytest.mark.parametrize(("columns", "millions"), [(1, 0.3), (2, 0.8), (3, 2.1), (4, 4.8), (5, 10.2), (6, 21.1)])
def test_parameters_of_the_papers_table_3(columns, millions):
    count = parameters(widths=QUARTER, columns=columns, classes=100)  # it is of CIFAR-100
    assert count == by_arithmetic(QUARTER, columns, classes=100)
    assert round(count / 1e6, 1) == millions


def test_parameters_of_the_variants():
    assert by_arithmetic((64, 128, 256, 512, 512), 3) == 33_724_618
    assert by_arithmetic((64, 128, 256, 512, 512), 4) == 76_106_634  # model=fractalnet20 model.columns=4
    assert by_arithmetic(QUARTER, 4) == 4_767_210
    stem = 64 * 3 * 49 + 2 * 64
    assert by_arithmetic((128, 256, 512, 1024), 4, inputs=64, classes=1000) + stem == 164_031_016


@pytest.mark.parametrize(("columns", "depth"), [(1, 1), (2, 2), (3, 4), (4, 8)])
def test_the_deepest_column_has_two_to_the_c_minus_1_layers(columns, depth):
    net = small(columns=columns)
    assert [len(row) for row in net.blocks[0].rows] == [2**place for place in range(columns)] and len(net.blocks[0].rows[-1]) == depth


def fractal(block: FractalBlock, z, *, columns, taken):
    """The paper's rule, as it stands: f_1 is a layer, f_{C+1}(z) is the mean of f_C(f_C(z))'s branches and another layer of z.

    A fractal's outputs are kept apart until the join that they share with the shallower column.
    """
    first = len(block.rows) - columns  # the shallowest of its columns
    layer = block.rows[first][taken[first]]
    taken[first] += 1
    if columns == 1:
        return [layer(z)]
    inner = fractal(block, z, columns=columns - 1, taken=taken)
    joined = torch.stack(inner).mean(0)
    return [layer(z), *fractal(block, joined, columns=columns - 1, taken=taken)]


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_block_is_the_papers_recursion(columns):
    torch.manual_seed(0)
    block = small(columns=columns).double().eval().blocks[0]
    x = torch.randn(2, 2, 8, 8).double()
    expected = torch.stack(fractal(block, x, columns=columns, taken=[0] * columns)).mean(0)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("column", [1, 2, 3])
def test_a_column_alone_is_a_plain_net_with_the_wholes_weights(column):
    torch.manual_seed(0)
    whole = small().double()
    alone = small(column=column).double()
    alone.load_state_dict(whole.state_dict())
    x = torch.randn(4, 2, 8, 8).double()
    y = x
    for block, pool in zip(whole.eval().blocks, whole.pools, strict=True):
        y = pool(nn.Sequential(*block.rows[column - 1])(y))
    torch.testing.assert_close(alone.eval()(x), whole.fc(y.mean((2, 3))))
    assert not torch.allclose(alone(x), whole(x))


def test_a_column_alone_draws_nothing():
    net = small(column=2, drop_path=0.15, global_share=0.5).train()
    before = torch.get_rng_state()
    net(torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_global_drop_path_is_the_column_alone_for_each_sample(monkeypatch):
    """With batch norm as in evaluation, a sample whose column is drawn gets exactly that column's logits."""
    torch.manual_seed(0)
    whole = small(global_share=1.0).double().train()
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    x, drawn = torch.randn(3, 2, 8, 8).double(), [2, 0, 1]
    monkeypatch.setattr("cnntrain.model.fractalnet.global_columns", lambda *_, **__: list(torch.eye(3)[:, drawn]))
    out = whole(x)
    for sample, column in enumerate(drawn):
        alone = small(column=column + 1).double().eval()
        alone.load_state_dict(whole.state_dict())
        torch.testing.assert_close(out[sample], alone(x)[sample])


def test_a_column_that_is_not_drawn_learns_nothing(monkeypatch):
    only = [torch.zeros(4), torch.ones(4), torch.zeros(4)]
    monkeypatch.setattr("cnntrain.model.fractalnet.global_columns", lambda *_, **__: only)
    for paths in ("drop", "freeze"):
        torch.manual_seed(0)
        net = small(global_share=1.0, paths=paths).train()
        net(torch.randn(4, 2, 8, 8)).square().sum().backward()
        learns = [[bool(layer[0].weight.grad is not None and layer[0].weight.grad.any()) for layer in row] for row in net.blocks[1].rows]
        assert learns == [[False], [True, True], [False] * 4], paths


def test_frozen_paths_give_the_value_of_the_whole_net():
    torch.manual_seed(0)
    net = small(global_share=0.5, drop_path=0.3, paths="freeze").double().train()
    plain = small().double().train()
    plain.load_state_dict(net.state_dict())
    x = torch.randn(4, 2, 8, 8).double()
    torch.testing.assert_close(net(x), plain(x))


def test_evaluation_and_a_net_that_drops_nothing_draw_nothing():
    x = torch.ones(2, 2, 8, 8)
    for net in (small(drop_path=0.3, global_share=0.5).eval(), small().train()):
        state = torch.get_rng_state()
        net(x)
        assert torch.equal(torch.get_rng_state(), state)


def test_stems_and_pools():
    with torch.device("meta"):
        small_form = build("fractalnet20", **FACTS)
        large = build("fractalnet34", in_channels=3, num_classes=10, image_size=224)
        seen = []
        large.avgpool.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
        small_form.avgpool.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
        large.eval()(torch.zeros(1, 3, 224, 224))
        small_form.eval()(torch.zeros(1, 3, 32, 32))
        assert seen == [(1, 1024, 7, 7), (1, 512, 1, 1)]
        auto = FractalNet(in_channels=3, num_classes=10, image_size=65)
    assert "7x7" in auto.choices["stem"] and "none" in small_form.choices["stem"] and not large.choices


def test_knobs_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"5 blocks have 2 rates of dropout.*model\.dropout=\[0\.1,0\.2,0\.0,0\.0,0\.0\]"):
        FractalNet(dropout=(0.1, 0.2), **FACTS)
    with pytest.raises(ConfigError, match=r"no column 4 of 3.*model\.column=3"):
        FractalNet(column=4, **FACTS)
