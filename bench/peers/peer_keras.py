"""Keras 3 on torch: ``fit`` on the arrays (JPEGs: on a DataLoader with two workers), augmentation by Keras's layers in the model.

Fair: channels_first, torch's own order; no callback but the clock; whole-pixel (nearest) translation, the cheapest that Keras has.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers
from pictures import loader_of
from torchvision.transforms import PILToTensor
from work import BATCH, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Window, Work, given


def lenet5(x):
    x = layers.MaxPooling2D()(layers.Conv2D(6, 5, padding="same", activation="relu")(x))
    x = layers.MaxPooling2D()(layers.Conv2D(16, 5, activation="relu")(x))
    x = layers.Dense(120, activation="relu")(layers.Flatten()(x))
    return layers.Dense(10)(layers.Dense(84, activation="relu")(x))


def resnet20(x):
    def normed(x, width, stride=1):
        return layers.BatchNormalization(axis=1)(layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(x))

    x = layers.ReLU()(normed(x, 16))
    for width in (16, 16, 16, 32, 32, 32, 64, 64, 64):
        new = width - x.shape[1]
        out = normed(layers.ReLU()(normed(x, width, 2 if new else 1)), width)
        if new:  # every second pixel, and zeros for the new channels
            x = layers.MaxPooling2D(1, strides=2)(x)
            x = layers.Concatenate(axis=1)([x, keras.ops.zeros_like(x)])
        x = layers.ReLU()(layers.Add()([out, x]))
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


def build(work: Work) -> keras.Model:
    channels, size = work.shape
    x = inputs = keras.Input((channels, size, size), dtype="uint8")
    if work.augment:
        x = layers.RandomTranslation(4 / size, 4 / size, fill_mode="constant", interpolation="nearest")(x)
        x = layers.RandomFlip("horizontal")(x)
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Normalization(axis=1, mean=work.mean, variance=[s**2 for s in work.std])(x)
    return keras.Model(inputs, {"lenet5": lenet5, "resnet20": resnet20}[work.net](x))


class Stop(keras.callbacks.Callback):
    """Ends the run when the time is up."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def on_train_batch_end(self, batch, logs=None) -> None:
        """After a step."""
        self.model.stop_training = self.window.step()


def main() -> None:
    work, seconds = given()
    keras.config.set_image_data_format("channels_first")
    model, window = build(work), Window(seconds)
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    if work.jpeg:
        data = {"x": loader_of(work, PILToTensor())}
    else:
        x, y = (np.load(Path(work.folder) / f"{name}.npy") for name in ("images", "labels"))
        data = {"x": x, "y": y, "batch_size": BATCH}
    model.fit(**data, epochs=1000, verbose=0, callbacks=[Stop(window)])
    window.tell(f"keras {keras.__version__}")


if __name__ == "__main__":
    main()
