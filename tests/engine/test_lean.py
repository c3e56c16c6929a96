"""Optimizers without torch._dynamo: in processes of their own, because other tests import it."""

import subprocess
import sys

START = """
import sys, torch
from cnntrain.engine.lean import avoid_dynamo
def steps(kind, **config):
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 2))]
    optimizer = kind(parameters, lr=0.1, **config)
    for _ in range(3):
        optimizer.zero_grad()
        parameters[0].square().sum().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    return parameters[0].sum().item()
"""

LEAN = """
avoid_dynamo()
avoid_dynamo()
kinds = [(torch.optim.SGD, dict(momentum=0.9, nesterov=True, fused=True)), (torch.optim.AdamW, dict(fused=True)),
         (torch.optim.Adam, dict()), (torch.optim.RMSprop, dict())]
lean = [steps(kind, **config) for kind, config in kinds]
assert "torch._dynamo" not in sys.modules
start = torch.ones(1, requires_grad=True)
moved = start.clone(); moved.grad = torch.ones(1)
torch.optim.SGD([moved], lr=0.1, differentiable=True).step()
assert moved.requires_grad and not torch.autograd.grad(moved, start)[0].isnan().any()
assert torch.is_grad_enabled() and "torch._dynamo" not in sys.modules

import torch._dynamo  # from here on torch's own step is called
assert [steps(kind, **config) for kind, config in kinds] == lean
assert torch.compile(lambda x: x * 2, backend="eager")(start).item() == 2
"""

FOREIGN = """
torch.optim.Optimizer.zero_grad = lambda self: [setattr(p, "grad", None) for g in self.param_groups for p in g["params"]]
torch.optim.SGD.step = torch.no_grad()(torch.optim.SGD.step.__wrapped__)
known = torch.optim.SGD.step
del torch.optim.RMSprop
avoid_dynamo()
assert torch.optim.SGD.step is known
steps(torch.optim.SGD)
"""

TRAINING = """
import tempfile
from cnntrain.cli import main
with tempfile.TemporaryDirectory() as folder:
    code = main(["epochs=3it", "machine.threads=1", f"hydra.run.dir={folder}/run"])
assert code == 0
slow = [name for name in ("torch._dynamo", "torchvision", "sklearn", "sympy") if name in sys.modules]
assert not slow, slow
"""


def run(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def test_optimizers_step_without_dynamo_and_to_the_same_numbers():
    run(LEAN)


def test_unknown_insides_are_left_alone():
    run(FOREIGN)


def test_a_whole_run_imports_none_of_what_takes_seconds():
    run(TRAINING)
