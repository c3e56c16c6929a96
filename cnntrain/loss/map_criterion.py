"""The maximum a posteriori criterion for outputs that are distances to the classes.

LeCun, Bottou, Bengio, Haffner: "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86(11), 1998, doi
10.1109/5.726791, section II.C, equation 9: y_t + log(e^-j + Σ_k e^-y_k), with y_t the distance to the given class. Pulling y_t down alone
(equation 8) lets all distances collapse, where the codes could move; here the others are pushed up, but not those beyond about j.

Deviation: the paper does not give j. It is cross entropy with one more class, the "rubbish class", whose distance is always j.
"""

import torch

from cnntrain.errors import ConfigError
from cnntrain.units import NonNegative

_MOST = 1e4  # of j: e^-j is 0 long before, and it must fit half precision


class MapCriterion:
    """``log(e^-j + Σ_k e^{z_k}) - Σ_k t_k·z_k`` per sample, for logits z = -y."""

    def __init__(self, *, rubbish: NonNegative = 30.0) -> None:
        if rubbish > _MOST:
            raise ConfigError(f"rubbish is {rubbish:g}, a distance is {_MOST:g} at most", where="loss.rubbish", fix="loss.rubbish=30")
        self.rubbish = rubbish

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) and class probabilities (B, K) to losses (B,), in nats."""
        rubbish = logits.new_full((len(logits), 1), -self.rubbish)
        return torch.cat([logits, rubbish], 1).logsumexp(1) - (targets * logits).sum(1)
