import torch

from cnntrain.data.arrival import arriving, one_ahead
from cnntrain.data.split import Split


class Lane:
    """Notes what happens when."""

    def __init__(self):
        self.events = []

    def send(self, batch):
        self.events.append(("sent", batch))
        return batch

    def receive(self, sent):
        self.events.append(("received", sent))
        return sent


def test_the_next_batch_is_under_way_when_one_is_handed_out():
    lane = Lane()
    for batch in one_ahead([1, 2, 3], lane):
        lane.events.append(("used", batch))
    order = [
        ("sent", 1),
        ("sent", 2),
        ("received", 1),
        ("used", 1),
        ("sent", 3),
        ("received", 2),
        ("used", 2),
        ("received", 3),
        ("used", 3),
    ]
    assert lane.events == order


def test_no_batch_and_one_batch():
    assert list(one_ahead([], Lane())) == [] and list(one_ahead([1], Lane())) == [1]


def test_on_the_host_nothing_is_read_ahead_or_copied():
    read = []
    batches = (read.append(k) or (torch.full((2,), k),) for k in range(3))
    given = next(arriving(batches, torch.device("cpu")))
    assert read == [0] and given[0].tolist() == [0, 0]


def test_leaving_early_closes_what_is_read():
    closed = []

    def batches():
        try:
            yield from range(5)
        finally:
            closed.append(True)

    taken = one_ahead(batches(), Lane())
    next(taken)
    taken.close()
    assert closed == [True]


def test_pixels_on_the_host_come_as_from_the_device(monkeypatch):
    """CUDA's own part cannot run here: the gathering is checked, with ordinary memory for pinned."""
    source = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 3, 4, 4), dtype=torch.uint8, generator=source)
    part = Split(images, torch.arange(20)).subset(torch.tensor([3, 5, 8, 13, 2]))
    orders = [torch.tensor([4, 0, 1]), torch.tensor([2])]
    for (gathered, order), (expected, _, index) in zip(part._gathered(orders), part.fetch(orders), strict=True):
        assert torch.equal(gathered, expected) and torch.equal(order, index)
