"""The dry pass: counts against closed forms and against torch itself, errors that name the layer, and no side effects at all."""

import copy
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnntrain.engine.shapes import check_shapes, layer_table, totals
from cnntrain.engine.trace import build_unfilled, meta_copy, trace
from cnntrain.errors import ConfigError


class Small(nn.Module):
    """Convolution, norm, branch, functional pooling, auxiliary head, dropout: a bit of everything."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 5, padding=2)
        self.down = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.head, self.auxiliary = nn.Linear(16, num_classes), nn.Linear(16, num_classes)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.norm(self.stem(x))), 2)
        x = self.down(torch.cat([self.left(x), self.right(x)], 1))
        x = self.drop(x.mean((2, 3)))
        return (self.head(x), self.auxiliary(x)) if self.training else self.head(x)


def table(model, channels=3, size=32, batch=4):
    return {layer.name: layer for layer in layer_table(model, channels, size, batch)}


def test_counts_are_those_of_the_closed_forms():
    rows = table(Small())
    assert rows["stem"].multiply_adds == 32 * 32 * 8 * 3 * 9
    assert rows["right"].multiply_adds == 16 * 16 * 8 * 8 * 25
    assert rows["down"].output == (16, 8, 8) and rows["down"].multiply_adds == 8 * 8 * 16 * 16 * 9
    assert rows["head"].multiply_adds == 160 and rows["head"].parameters == 170
    assert rows["auxiliary"].training_only and rows["auxiliary"].multiply_adds == 0 and rows["auxiliary"].output == (10,)
    assert sum(row.parameters for row in rows.values()) == sum(p.numel() for p in Small().parameters())


def test_transposed_and_grouped_convolution():
    rows = table(nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2), nn.Conv2d(6, 12, 3, groups=2)), 4, 5)
    assert rows["0"].output == (6, 11, 11) and rows["0"].multiply_adds == 5 * 5 * 4 * 6 * 9
    grouped = 9 * 9 * 12 * 3 * 9
    assert (rows["1"].multiply_adds, rows["1"].dense_multiply_adds) == (grouped, 2 * grouped)


def test_depthwise_separable_pair_stands_for_one_dense_convolution():
    """SPEC L4: H·W·D·F² + H·W·D·K against H·W·D·K·F², with norm and activation in between."""
    height, depth, kernels = 16, 8, 20
    pair = nn.Sequential(
        nn.Conv2d(depth, depth, 3, padding=1, groups=depth, bias=False),
        nn.BatchNorm2d(depth),
        nn.ReLU(),
        nn.Conv2d(depth, kernels, 1, bias=False),
    )
    dense = nn.Conv2d(depth, kernels, 3, padding=1, bias=False)
    sums = totals(layer_table(pair, depth, height, 2))
    assert sums.multiply_adds == height**2 * depth * 9 + height**2 * depth * kernels
    assert sums.dense_multiply_adds == totals(layer_table(dense, depth, height, 2)).multiply_adds == height**2 * depth * kernels * 9


def test_a_depthwise_convolution_pairs_once_and_only_with_its_own_map():
    class Squeeze(nn.Module):
        """MobileNet v3: the 1×1 convolution on the pooled map is not the pair's."""

        def __init__(self):
            super().__init__()
            self.deep, self.gate, self.point = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x):
            x = self.deep(x)
            return self.point(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))).mean((2, 3))

    rows = table(Squeeze(), 8, 10)
    assert rows["gate"].dense_multiply_adds == rows["gate"].multiply_adds == 64
    assert rows["point"].dense_multiply_adds == 9 * rows["point"].multiply_adds
    assert rows["deep"].dense_multiply_adds == 0


@pytest.mark.parametrize("number, field", [(2, 5), (3, 7)])
def test_receptive_field_of_stacked_3x3(number, field):
    """SPEC V1: two 3×3 see 5×5, three see 7×7."""
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3) for _ in range(number)))
    assert layer_table(net, 1, 16, 2)[-1].receptive_field == (field, field)


def test_receptive_field_is_what_the_gradient_sees():
    """Stride, dilation, pooling, a rectangular kernel and a branch, against the pixels that do change the middle of the output."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(1, 1, (1, 5), stride=2, padding=(0, 2))
            self.b, self.c = nn.Conv2d(1, 1, 3, padding=2, dilation=2), nn.Conv2d(1, 1, 1)
            self.pool, self.up = nn.AvgPool2d(3, 1, 1), nn.ConvTranspose2d(1, 1, 2, stride=2)
            self.last = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            x = self.a(x)
            x = self.pool(self.b(x) + self.c(x))
            return self.last(self.up(x))

    net = Branches()
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    fields = set()
    for at in (20, 21):  # after an upsampling, neighbours see as many pixels or fewer
        image = torch.ones(1, 1, 41, 41, requires_grad=True)
        net(image)[0, 0, at, at].backward()
        seen = image.grad[0, 0] != 0
        rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
        fields.add((int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1))
    found = table(net, 1, 41)["last"].receptive_field
    assert found[1] == max(f[1] for f in fields)
    assert 0 <= found[0] - max(f[0] for f in fields) <= 1  # a stride of 2 skips every other row of the picture


def test_memory_is_what_autograd_keeps():
    model = Small()
    kept = {}
    own = {p.data_ptr() for p in [*model.parameters(), *model.buffers()]}

    def keep(saved):
        if saved.data_ptr() not in own:
            kept[saved.untyped_storage().data_ptr()] = saved
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        model(torch.zeros(4, 3, 32, 32))
    assert totals(layer_table(model, 3, 32, 4)).saved_bytes == sum(saved.untyped_storage().nbytes() for saved in kept.values())


@pytest.mark.parametrize("training", [False, True])
def test_shapes_on_meta_are_those_of_a_true_pass(training):
    layers = [
        nn.Conv2d(3, 8, 3, padding="same"),
        nn.GELU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.GroupNorm(2, 8),
        nn.AvgPool2d(2, ceil_mode=True),
    ]
    layers += [nn.LocalResponseNorm(5), nn.Conv2d(8, 8, (1, 3), dilation=(1, 2)), nn.ELU(inplace=True)]
    layers += [nn.Upsample(scale_factor=2), nn.AdaptiveMaxPool2d(3), nn.Unfold(2), nn.Flatten(), nn.Linear(8 * 4 * 4, 5), nn.Softmax(1)]
    model = nn.Sequential(*layers)
    _, real = trace(meta_copy(model, "cpu"), torch.zeros(2, 3, 31, 31), training=training)
    _, dry = trace(meta_copy(model), torch.empty(2, 3, 31, 31, device="meta"), training=training)
    for name, record in real.records.items():
        assert (dry.records[name].output, dry.records[name].multiply_adds) == (record.output, record.multiply_adds), name


def test_nothing_of_the_model_or_of_a_generator_changes():
    model = Small()
    model.head.eval()
    before, flags, state = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()], torch.get_rng_state()
    layer_table(model, 3, 32, 8)
    check_shapes(lambda size: Small(), 3, 32, 10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    model(torch.rand(2, 3, 32, 32))[0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


class Tied(nn.Module):
    """A weight in two places, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.norm(self.first(x)))


@pytest.mark.parametrize("make", [Small, Tied])
def test_a_model_that_is_spare_gives_the_same_table_and_keeps_its_tensors(make):
    model = make()
    before = model.state_dict(keep_vars=True)
    values = copy.deepcopy(before)
    assert layer_table(model, 3, 32, 4, spare=True) == layer_table(model, 3, 32, 4)
    after = model.state_dict(keep_vars=True)
    assert all(after[name] is value and torch.equal(value, values[name]) for name, value in before.items())
    assert sum(layer.parameters for layer in layer_table(model, 3, 32, 4, spare=True)) == sum(p.numel() for p in model.parameters())


def test_a_spare_model_that_cannot_be_passed_on_meta_or_at_all_keeps_its_tensors():
    class Reads(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * float(self.bias.sum() * 0 + 1)

    model = Reads(3, 2, 5)
    weight = model.weight
    assert layer_table(model, 3, 8, 2, spare=True)[0].multiply_adds == 16 * 2 * 75
    with pytest.raises(ConfigError, match="smaller than its kernel"):
        layer_table(model, 3, 4, 2, spare=True)
    assert model.weight is weight and not weight.is_meta


class Drawn(nn.Module):
    """Draws its start by torch's functions and by methods, of parameters and of what is none."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 64)
        nn.init.trunc_normal_(self.fc.weight)
        with torch.no_grad():
            self.fc.bias.normal_()
        self.register_buffer("mask", nn.init.ones_(torch.empty(5)))


def test_an_unfilled_model_draws_nothing_and_others_go_on_as_ever():
    filled, free, done = threading.Event(), threading.Event(), []

    def elsewhere():  # in another thread, while the model is being built
        free.wait()
        done.append(nn.init.ones_(nn.Parameter(torch.empty(3))).sum().item())
        done.append(nn.init.trunc_normal_(nn.Parameter(torch.full((3,), 9.0))).abs().max().item())
        filled.set()

    class Slow(Drawn):
        def __init__(self):
            super().__init__()
            self.kept = nn.Parameter(torch.full((4,), 7.0))
            nn.init.normal_(self.kept)
            free.set()
            filled.wait()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    state = torch.get_rng_state()
    try:
        model = build_unfilled(Slow)
    finally:
        free.set()
        thread.join()
    assert torch.equal(model.kept, torch.full((4,), 7.0)) and torch.equal(model.mask, torch.ones(5))
    assert done[0] == 3 and done[1] <= 2
    assert torch.equal(torch.get_rng_state(), state)
    assert not {"normal_", "fill_", "copy_"} & vars(nn.Parameter).keys()
    assert torch.equal(nn.init.zeros_(model.kept), torch.zeros(4))


def test_an_unfilled_model_is_not_drawn_until_it_is_in_range(monkeypatch):
    monkeypatch.setattr(torch, "where", lambda *_: pytest.fail("drawn again"))
    weight = build_unfilled(lambda: nn.ParameterList([nn.init.trunc_normal_(nn.Parameter(torch.full((3,), 9.0)))]))[0]
    assert torch.equal(weight, torch.full((3,), 9.0))


def test_a_net_that_reads_numbers_is_passed_on_the_cpu():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.fc = torch.ones(1), nn.Linear(12, 3)

        def forward(self, x):
            return self.fc(x.flatten(1) * float(self.scale)) if float(x.sum()) >= 0 else None

    assert check_shapes(lambda size: Reads(), 3, 2, 3) == []
    rows = table(Reads(), 3, 2, 128)
    assert rows["fc"].multiply_adds == 36 and rows["fc"].saved_bytes == 128 * 12 * 4


class Deep(nn.Sequential):
    """Halves the map four times: 16×16 gives 1×1."""

    def __init__(self, kernel=3, padding=1, times=4):
        layers = [nn.Conv2d(1 if i == 0 else 4, 4, kernel, stride=2, padding=padding) for i in range(times)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_nothing_left_to_stride_over_names_layer_map_and_smallest_size():
    with pytest.raises(ConfigError) as caught:
        check_shapes(lambda size: Deep(), 1, 8, 3)
    text = str(caught.value)
    assert "layer 3 (Conv2d 3×3, stride 2, padding 1)" in text and "1×1 map" in text and "nothing is left to stride over" in text
    assert "data.image_size=9," in caught.value.fix
    assert check_shapes(lambda size: Deep(), 1, 9, 3) == []


def test_a_kernel_larger_than_its_map_names_layer_map_and_smallest_size():
    with pytest.raises(ConfigError) as caught:
        check_shapes(lambda size: Deep(kernel=5, padding=0, times=2), 1, 12, 3)
    assert "layer 1 (Conv2d 5×5, stride 2) gets a 4×4 map, which is smaller than its kernel" in str(caught.value)
    assert "data.image_size=13," in caught.value.fix
    assert check_shapes(lambda size: Deep(kernel=5, padding=0, times=2), 1, 13, 3) == []


def test_a_pool_that_meets_one_pixel_is_refused_even_if_called_by_function():
    class Pools(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(1, 3)

        def forward(self, x):
            return self.fc(F.max_pool2d(x, 3, stride=2, padding=1).flatten(1))

    with pytest.raises(ConfigError, match="nothing is left to stride over"):
        check_shapes(lambda size: Pools(), 1, 1, 3)


def test_a_padded_kernel_on_one_pixel_is_a_remark():
    net = lambda size: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Flatten())  # noqa: E731
    first, others = check_shapes(net, 1, 8, 3)
    assert "layer 1 " in first and "1×1 map" in first and "1 more" in others


def test_a_net_that_cannot_be_built_so_small_says_so():
    def build(size):
        return nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten(), nn.Linear(2 * (size - 4) ** 2 if size > 4 else -1, 3))

    with pytest.raises(ConfigError) as caught:
        check_shapes(build, 1, 4, 3)
    assert "cannot be built" in str(caught.value) and "data.image_size=5," in caught.value.fix


def test_wrong_logits_and_wrong_channels_are_errors():
    with pytest.raises(ConfigError, match=r"logits of shape \(2, 10\)"):
        check_shapes(lambda size: Small(num_classes=7), 3, 32, 10)
    with pytest.raises(ConfigError, match="layer stem .*3 channels"):
        check_shapes(lambda size: Small(), 1, 32, 10)


def test_logits_or_pictures_are_told_apart():
    same = lambda size: nn.Conv2d(3, 3, 3, padding=1)  # noqa: E731
    assert check_shapes(same, 3, 32, "images") == check_shapes(same, 3, 32, None) == []
    with pytest.raises(ConfigError, match="gives pictures") as caught:
        check_shapes(same, 3, 32, 10)
    assert caught.value.fix == "objective=reconstruction"
    with pytest.raises(ConfigError, match="not pictures like them") as caught:
        check_shapes(lambda size: Small(), 3, 32, "images")
    assert caught.value.fix == "objective=classification"
    with pytest.raises(ConfigError, match=r"\(2, 3, 30, 30\), not pictures like them, of shape \(2, 3, 32, 32\)"):
        check_shapes(lambda size: nn.Conv2d(3, 3, 3), 3, 32, "images")


def test_the_check_is_quick_and_leaves_the_compiler_and_sympy_out():
    """In a fresh process, as before every training: torch's own shape functions would import both (1 to 3 s)."""
    code = """
import sys, torch
from cnntrain.engine.shapes import check_shapes, layer_table
from cnntrain.model.resnet import ResNet
import time
start = time.process_time()
build = lambda size: ResNet(depth=18, in_channels=3, num_classes=1000, image_size=size)
check_shapes(build, 3, 224, 1000)
print(time.process_time() - start)
layer_table(build(224), 3, 224, 128)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = result.stdout.split("\n")[:2]
    assert modules == "[]"
    assert float(seconds) < 2  # measured: 0.06 to 0.2 s
