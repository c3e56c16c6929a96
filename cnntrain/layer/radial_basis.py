"""Output units that measure the distance to a fixed code of each class.

LeCun, Bottou, Bengio, Haffner: "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86(11), 1998, doi
10.1109/5.726791, section II.B, equation 7: y_k = Σ_d (x_d - w_kd)². The codes w are not trained; they are pictures of the characters, 7×12
pixels of +1 and -1, so that characters that look alike have codes that are near to each other.

Deviation: the pictures of the ten digits are our own, drawn after the paper's description (its figure 3 has the whole printable
ASCII). For another number of classes, of which nothing is known, each code is a row of 84 fixed random signs: any two differ in about half
of them.
"""

import random

import torch
from torch import Tensor, nn

CODE_LENGTH = 84  # 7×12
# The digits 0 to 9 side by side
_PICTURES = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
.#####. ...##.. .#####. .#####. ....##. ####### .#####. ####### .#####. .#####.
##...## ..###.. ##...## ##...## ...###. ##..... ##...## .....## ##...## ##...##
##...## .####.. .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. ..####. ##..##. ######. ######. ....##. .#####. ##...##
##...## ...##.. ...##.. .....## ##..##. .....## ##...## ...##.. ##...## .######
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... ##...## ....##. ##...## ##...## ..##... ##...## ##...##
.#####. .###### ####### .#####. ....##. .#####. .#####. ..##... .#####. .#####.
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


class RadialBasis(nn.Module):
    """Squared distances to the classes' codes: (B, 84) → (B, K). The codes are a buffer (K, 84), which a checkpoint holds."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.tensor(digit_codes() if num_classes == 10 else random_codes(num_classes)))

    def forward(self, x: Tensor) -> Tensor:
        """Σ_d (x_d - w_kd)² for each class k."""
        return (x[:, None] - self.codes).square().sum(2)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{self.codes.shape[1]}, {self.codes.shape[0]}"


def digit_codes() -> list[list[float]]:
    """The codes of the digits 0 to 9, their pictures row by row: +1 is ink."""
    rows = [line.split() for line in _PICTURES.split("\n") if line]
    return [[1.0 if pixel == "#" else -1.0 for row in rows for pixel in row[digit]] for digit in range(10)]


def random_codes(num_classes: int) -> list[list[float]]:
    """A row of fixed signs a class. The first classes' codes do not depend on how many there are."""
    source = random.Random(0)
    return [[1.0 if source.random() < 0.5 else -1.0 for _ in range(CODE_LENGTH)] for _ in range(num_classes)]
