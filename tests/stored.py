"""A checkpoint as a run leaves it, of an untrained network on made-up pictures; for the tasks that need nothing but that file."""

import torch

from cnntrain.config.recipe import check
from cnntrain.engine.checkpoint import write

SYNTHETIC = {
    "_target_": "cnntrain.data.synthetic.synthetic",
    "classes": 7,
    "image_size": 8,
    "channels": 3,
    "samples": 60,
    "test_samples": 41,
    "noise": 0.5,
}
NETWORK = {"_target_": "cnntrain.model.cifar_resnet.CifarResNet", "depth": 8}
MACHINE = check({"_target_": "cnntrain.engine.machine.Machine", "device": "cpu"}, place="machine")


def make(path, *, data=SYNTHETIC, model=NETWORK, loss=None, average=False, change=None, seed=3, **meta):
    """Write a checkpoint to ``path``; ``change`` edits its tensors. Returns the network as it is judged, and the data set."""
    dataset = check(data, place="data")(seed=seed)
    facts = {"in_channels": dataset.in_channels, "num_classes": len(dataset.classes), "image_size": dataset.image_size}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = check(model, place="model")(**facts)
        enliven(network, dataset)
        averaged = {f"average.{name}": value * 0.9 if value.is_floating_point() else value for name, value in network.state_dict().items()}
    tensors = {f"model.{name}": value.clone() for name, value in network.state_dict().items()} | (averaged if average else {})
    if change:
        change(tensors)
    config = {
        "data": data,
        "model": model,
        "loss": loss or {"_target_": "cnntrain.loss.cross_entropy.CrossEntropy"},
        "objective": {"_target_": "cnntrain.objective.classification.Classification"},
        "seed": seed,
    }
    facts_of_run = {
        "config": config,
        "model": {"recipe": model, "facts": facts},
        "classes": dataset.classes,
        "mean": dataset.mean,
        "std": dataset.std,
        "step": 12,
        "epoch": 2,
        "metrics": {},
        "threads": 1,
    }
    write(path, tensors, facts_of_run | meta)
    if average:
        network.load_state_dict({name.removeprefix("average."): value for name, value in averaged.items()})
    return network.eval(), dataset


def enliven(network, dataset):
    """Batch norm's statistics are those of the data and the answers differ from picture to picture, as in a trained network."""
    images, _ = pictures_of(dataset.train)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    if hasattr(network, "fc"):
        with torch.no_grad():
            network.fc.weight.mul_(5)
            network.train()
            mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
            network((images.float() / 255 - mean) / std)


def logits_of(network, dataset, images):
    """The network's logits, by plain arithmetic."""
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    with torch.no_grad():
        return network((images.float() / 255 - mean) / std)


def pictures_of(split):
    """All pictures and labels of a split."""
    images, labels, _ = next(iter(split.fetch([torch.arange(len(split))])))
    return images, labels
