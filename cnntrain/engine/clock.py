"""The run's clock: turns every duration into optimizer steps once; below this line there are only steps."""

import math

from cnntrain.errors import ConfigError
from cnntrain.units import Duration, DurationOrZero, parse_duration


class Clock:
    """How many steps the run has, and which of them belong to which epoch.

    An epoch is every sample once: full batches and a smaller last one. A last batch of a single sample is left out
    (batch norm cannot train on it); the next epoch's order brings that sample back.

    Raises:
        ConfigError: the batch is larger than the training set, or the run has no step.
    """

    def __init__(self, *, num_samples: int, batch_size: int, epochs: Duration) -> None:
        if batch_size > num_samples:
            raise ConfigError(
                f"batch_size={batch_size} is larger than the training set of {num_samples} images",
                where="batch_size",
                fix=f"batch_size={num_samples} or smaller",
            )
        self.num_samples, self.batch_size = num_samples, batch_size
        leftover = num_samples % batch_size
        self.steps_per_epoch = num_samples // batch_size + (leftover > 1 or leftover == batch_size)
        number, unit = parse_duration(epochs)
        if unit == "%":
            raise ConfigError(f"epochs={epochs!r} is a share of itself", where="epochs", fix="epochs=10 or epochs=2000it")
        self.total = int(number) if unit == "it" else round(number * self.steps_per_epoch)
        if self.total < 1:
            raise ConfigError(
                f"epochs={epochs} is less than one step of {self.steps_per_epoch} an epoch", where="epochs", fix="epochs=1 or epochs=100it"
            )
        self.num_epochs = math.ceil(self.total / self.steps_per_epoch)

    def steps(self, duration: DurationOrZero) -> int:
        """A duration in steps: 0 stays 0, anything longer is at least one step."""
        number, unit = parse_duration(duration)
        steps = {"it": number, "ep": number * self.steps_per_epoch, "%": number / 100 * self.total}[unit]
        return max(round(steps), 1) if steps > 0 else 0

    def start(self, epoch: int) -> int:
        """The first step of an epoch."""
        return epoch * self.steps_per_epoch

    def stop(self, epoch: int) -> int:
        """The step after the last one of an epoch: the run may end within it."""
        return min((epoch + 1) * self.steps_per_epoch, self.total)
