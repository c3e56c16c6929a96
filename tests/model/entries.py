"""The ledger of the nets: what is known of every `conf/model/*.yaml`, and the net that such a file describes.

`ledger/FAMILY.yaml` has a line a variant:
- `at`: channels, classes and image size at which parameters are counted;
- `parameters`: trainable ones, as evaluated, and `with_heads` those with the auxiliary heads of training (null: it has none);
- `smallest`: the smallest image that a run accepts;
- `twin`: torchvision's net of the same function, whose weights load by name (null: it has none);
- `output`: `logits` (B, K), the default, or `images` (B, C, H, W).
"""

import functools
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import yaml
from torch import nn

CONF = Path(__file__).parents[2] / "conf" / "model"
FACTS = {"in_channels", "num_classes", "image_size"}


@dataclass(frozen=True)
class Entry:
    """A line of the ledger; `family` is the file in `cnntrain/model`."""

    family: str
    at: list[int]
    parameters: int
    smallest: int
    twin: str | None
    with_heads: int | None
    output: str = "logits"

    @property
    def facts(self) -> dict[str, int]:
        """Those of the count."""
        return dict(zip(("in_channels", "num_classes", "image_size"), self.at, strict=True))


def read() -> dict[str, Entry]:
    """Every variant's entry, by the name of its YAML."""
    entries = {}
    for path in sorted((Path(__file__).parent / "ledger").glob("*.yaml")):
        for name, line in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            assert name not in entries, f"{name} stands twice in the ledger"
            entries[name] = Entry(family=path.stem, **line)
    return entries


def twin(entry: Entry, num_classes: int) -> nn.Module:
    """torchvision's net of the same function, with fresh weights, and with auxiliary heads if ours has any."""
    from torchvision.models import get_model

    heads = {"init_weights": False, "aux_logits": entry.with_heads is not None} if entry.twin in ("googlenet", "inception_v3") else {}
    return get_model(entry.twin, weights=None, num_classes=num_classes, **heads)


def give_statistics(net: nn.Module) -> None:
    """Batch norms with running statistics that matter."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def build(name: str, *, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """The net that a YAML describes, called as a Recipe does: its keys, and those facts that the signature names."""
    node = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    for entry in node.pop("defaults", []):  # `/model@net: lenet5`: another net as the value of `net`
        ((group, option),) = entry.items()
        node[group.partition("@")[2]] = functools.partial(build, option)
    module, _, attribute = node.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), attribute)
    facts = {"in_channels": in_channels, "num_classes": num_classes, "image_size": image_size}
    parameters = set(inspect.signature(target).parameters)
    assert set(node) == parameters - FACTS, f"{name}.yaml must list every parameter of its target"
    return target(**node, **{key: value for key, value in facts.items() if key in parameters})
