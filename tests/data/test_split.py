import torch

from cnntrain.data.names import Names
from cnntrain.data.split import Split


def tiny() -> Split:
    images = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 3, 2, 2).contiguous()
    return Split(images, torch.arange(10) % 2, names=Names.of(f"{k}.png" for k in range(10)))


def test_fetch_gives_pictures_labels_and_index_in_the_order_asked_for():
    orders = [torch.tensor([3, 1]), torch.tensor([9])]
    batches = list(tiny().fetch(orders))
    assert [b[0][:, 0, 0, 0].tolist() for b in batches] == [[3, 1], [9]]
    assert [b[1].tolist() for b in batches] == [[1, 1], [1]]
    assert [b[2].tolist() for b in batches] == [[3, 1], [9]]
    assert batches[0][0].dtype == torch.uint8 and batches[0][1].dtype == batches[0][2].dtype == torch.int64


def test_subset_shares_the_pixels_and_counts_from_its_own_start():
    whole = tiny()
    part = whole.subset(torch.tensor([2, 5, 7])).subset(torch.tensor([0, 2]))
    assert part.images.data_ptr() == whole.images.data_ptr()
    assert len(part) == 2 and list(part.names) == ["2.png", "7.png"] and part.labels.tolist() == [0, 1]
    images, _, index = next(iter(part.fetch([torch.tensor([1, 0])])))
    assert images[:, 0, 0, 0].tolist() == [7, 2] and index.tolist() == [1, 0]


def test_moving_to_another_device_takes_only_the_parts_own_pixels():
    part = tiny().subset(torch.tensor([2, 5]))
    assert part.to("cpu") is part
    moved = part.to("meta")
    assert moved.images.shape == (2, 3, 2, 2) and moved.images.device.type == "meta" and len(moved) == 2


def test_pixels_that_do_not_fit_on_the_device_stay_and_batches_move(monkeypatch):
    monkeypatch.setattr(Split, "_fits", lambda self, device: False)
    moved = tiny().subset(torch.tensor([2, 5])).to("meta")
    assert moved.images.device.type == "cpu" and len(moved.images) == 10
    assert moved.device.type == "meta"


def test_a_batch_does_not_alias_the_set():
    split = tiny()
    images, _, _ = next(iter(split.fetch([torch.arange(10)])))
    images.zero_()
    assert split.images.sum() > 0
