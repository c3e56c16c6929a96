"""The shipped optimizers, built from their YAMLs, and parameters to step."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

FOLDER = Path(__file__).parents[2] / "conf" / "optimizer"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes ``name`` runs for every shipped optimizer."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", NAMES)


@pytest.fixture(scope="session")
def build() -> Callable[..., torch.optim.Optimizer]:
    """``build(name, parameters, **overrides)``: the optimizer that a YAML describes."""

    def make(name: str, parameters: list[torch.nn.Parameter], **overrides: object) -> torch.optim.Optimizer:
        values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
        module, function = values.pop("_target_").rsplit(".", 1)
        return getattr(importlib.import_module(module), function)(params=[{"params": parameters, "lr_scale": 1.0}], **values | overrides)

    return make


@pytest.fixture
def parameters() -> Callable[..., list[torch.nn.Parameter]]:
    """``parameters(memory_format)``: the same filter, norm, hidden matrix, head and bias each time."""

    def make(memory_format: torch.memory_format = torch.contiguous_format) -> list[torch.nn.Parameter]:
        generator = torch.Generator().manual_seed(1)
        filters = torch.randn(6, 4, 3, 3, generator=generator).to(memory_format=memory_format)
        others = [torch.randn(*shape, generator=generator) for shape in ((6,), (8, 5), (3, 8), (3,))]
        return [torch.nn.Parameter(tensor) for tensor in (filters, *others)]

    return make
