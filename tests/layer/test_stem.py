"""The stem's choice."""

import pytest

from cnntrain.layer.stem import choose_stem


@pytest.mark.parametrize(
    ("stem", "image_size", "small"),
    [("auto", 1, True), ("auto", 64, True), ("auto", 65, False), ("cifar", 224, True), ("imagenet", 32, False)],
)
def test_auto_goes_by_the_images_size_and_says_so(stem, image_size, small):
    found, choices = choose_stem(stem, image_size)
    assert found == small and set(choices) == ({"stem"} if stem == "auto" else set())
    if choices:
        assert choices["stem"].startswith("3x3, stride 1, no pooling" if small else "7x7, stride 2")
        assert f"image {image_size} {'<=' if small else '>'} 64" in choices["stem"]
