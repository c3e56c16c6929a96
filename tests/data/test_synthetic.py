import torch

from cnntrain.data.synthetic import synthetic


def pixels(split) -> torch.Tensor:
    return next(iter(split.fetch([torch.arange(len(split))])))[0]


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others():
    one, two, other = (synthetic(samples=40, test_samples=10, image_size=8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(pixels(one.train), pixels(two.train)) and torch.equal(pixels(one.test), pixels(two.test))
    assert not torch.equal(pixels(one.train), pixels(other.train))


def test_shapes_and_counts_follow_the_keys():
    data = synthetic(classes=3, image_size=9, channels=1, samples=31, test_samples=7, val=0.1, seed=0)
    assert pixels(data.train).shape == (28, 1, 9, 9) and len(data.val) == 3 and len(data.test) == 7
    assert (data.in_channels, data.image_size, len(data.classes), data.num_train) == (1, 9, 3, 28)
    assert data.class_counts == torch.bincount(data.train.labels).tolist()


def test_classes_can_be_told_apart_by_the_nearest_training_mean():
    data = synthetic(classes=5, image_size=16, samples=500, test_samples=100, seed=0)
    train, test = pixels(data.train).float().flatten(1), pixels(data.test).float().flatten(1)
    means = torch.stack([train[data.train.labels == k].mean(0) for k in range(5)])
    guess = torch.cdist(test, means).argmin(1)
    assert (guess == data.test.labels).float().mean() > 0.9
