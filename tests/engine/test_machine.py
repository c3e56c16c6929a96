import pytest
import torch

from cnntrain.engine.machine import Machine, find_device
from cnntrain.errors import ConfigError, OutOfMemoryError

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


@pytest.mark.parametrize("name", ["gpu", "cpu:3", "cuda:x", "tpu", "", "CUDA", "cpu:-1"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ConfigError, match="not a device"):
        find_device(name)


@no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:9"])
def test_no_cuda_here(name):
    with pytest.raises(ConfigError, match="There is no CUDA device.*machine.device=cpu") as error:
        find_device(name)
    assert error.value.exit_code == 2


def test_auto_and_cpu_always_work():
    assert find_device("auto").type in ("cpu", "cuda", "mps") and find_device("cpu").type == "cpu"


def test_a_session_leaves_the_process_as_it_was():
    threads = torch.get_num_threads()
    with Machine(device="cpu", threads=1, deterministic=True).session(7):
        assert torch.get_num_threads() == 1 and torch.are_deterministic_algorithms_enabled()
        first = torch.rand(3)
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()
    with Machine(device="cpu").session(7):
        assert torch.equal(first, torch.rand(3))


@pytest.mark.parametrize(
    "error", [MemoryError("x"), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 bytes")]
)
def test_out_of_memory_is_told_with_a_way_out(error):
    with pytest.raises(OutOfMemoryError, match="Fix: microbatch") as told, Machine(device="cpu").session(0):
        raise error
    assert told.value.exit_code == 6


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), Machine(device="cpu").session(0):
        raise RuntimeError("shapes differ")


def test_models_take_the_memory_format():
    model = Machine(device="cpu").place(torch.nn.Conv2d(3, 4, 3))
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    model = Machine(device="cpu", channels_last=False).place(torch.nn.Conv2d(3, 4, 3))
    assert model.weight.is_contiguous()


@pytest.mark.parametrize(("given", "mode"), [(True, "default"), ("reduce-overhead", "reduce-overhead"), ("max-autotune", "max-autotune")])
def test_a_model_is_compiled_in_its_mode_for_fixed_sizes(monkeypatch, given, mode):
    asked = {}
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: asked.update(how))
    machine = Machine(device="cpu", compile=given)
    machine.place(torch.nn.Conv2d(3, 4, 3))
    assert asked == {"mode": mode, "dynamic": False} and f"compiled ({mode})" in machine.describe()


def test_nothing_is_compiled_unless_asked(monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: pytest.fail("compiled"))
    machine = Machine(device="cpu")
    machine.place(torch.nn.Conv2d(3, 4, 3))
    assert "compiled" not in machine.describe()


def test_one_compilation_a_batch_size_and_a_fresh_start_for_the_next_session(monkeypatch):
    """With the compiler's front alone (no C++): each size once, however often it comes back, and in every session."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(tuple(inputs[-1].shape))
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, *, mode, dynamic: real(call, backend=backend, dynamic=dynamic))

    class Net(torch.nn.Module):
        def forward(self, x):
            return x.relu().sum()

    for _ in range(10):  # more than torch compiles one code without a reset
        machine = Machine(device="cpu", compile=True)
        with machine.session(0):
            model = machine.place(Net())
            for size in (8, 3, 8, 3):
                model(torch.ones(size, 2))
    assert compiled == [(8, 2), (3, 2)] * 10
