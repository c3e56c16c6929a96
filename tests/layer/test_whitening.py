import torch

from cnntrain.layer.whitening import Whitening, patch_moment


def pictures(number=40, channels=2):
    """Pictures whose neighbouring pixels are alike."""
    noise = torch.randn(number, channels, 13, 13, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.avg_pool2d(noise, 3, 1) * 3


def patches_of(images, kernel=2):
    return torch.nn.functional.unfold(images, kernel).transpose(1, 2).reshape(-1, images.shape[1] * kernel * kernel)


def test_the_moment_is_that_of_all_patches():
    images = pictures(600)  # more than are taken at a time
    patches = patches_of(images).double()
    torch.testing.assert_close(patch_moment(images, 2), patches.T @ patches / len(patches))


def test_responses_are_white():
    """Uncorrelated, of mean square 1: λ / (λ + eps) with a small eps."""
    layer, images = Whitening(2), pictures()
    layer.whiten(images, eps=1e-9)
    half = layer(images)[:, :8].detach()
    responses = half.permute(0, 2, 3, 1).reshape(-1, 8).double()
    torch.testing.assert_close(responses.T @ responses / len(responses), torch.eye(8).double(), atol=1e-4, rtol=0)


def test_filters_are_eigenvectors_of_either_sign_the_strongest_first():
    layer, images = Whitening(2), pictures()
    layer.whiten(images, eps=0.1)
    rows = layer.weight.detach().reshape(16, 8).double()
    assert torch.equal(rows[:8], -rows[8:])
    moment = patch_moment(images, 2)
    lengths = rows[:8].norm(dim=1)
    values = (1 / lengths**2) - 0.1
    torch.testing.assert_close(rows[:8] @ moment, values[:, None] * rows[:8], atol=1e-5, rtol=1e-4)
    assert (values.diff() < 0).all() and torch.equal(layer.bias, torch.zeros(16))
    assert (rows[:8].gather(1, rows[:8].abs().argmax(1, keepdim=True)) > 0).all()


def test_the_memory_format_is_kept():
    layer = Whitening(3).to(memory_format=torch.channels_last)
    layer.whiten(pictures(channels=3).contiguous(memory_format=torch.channels_last), eps=1e-3)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    other = Whitening(3)
    other.whiten(pictures(channels=3), eps=1e-3)
    torch.testing.assert_close(layer.weight, other.weight)
