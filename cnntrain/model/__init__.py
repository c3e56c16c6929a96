"""Networks: a file here is a family (one idea, one paper), a YAML in `conf/model/` is a variant of it.

Contract: a class that is an `nn.Module`, built from its own config and these facts of the run, keyword-only, as far as its
signature names them: `in_channels: int`, `num_classes: int`, `image_size: int` (square pictures).

- `forward`: float (B, C, H, W), in any memory format, → logits (B, K). In training it may return (logits, *auxiliary logits).
- The parameters and persistent buffers are the whole function: the same class with the same config and facts, loaded with the same
  state dict, computes the same. (So a loader may set `pretrained: false`: a checkpoint needs no download.)
- An image size that cannot work is a `ConfigError` when the net is built, if its layers' shapes depend on the size; it names the
  layer and the smallest size that works. Nets that fit any size are left to the run's dry pass.
- `penalty()`, if there: a scalar of the weights that training adds to the mean loss (once a step, whatever the microbatch).
- `self.choices: dict[str, str]`, if there, says what an "auto" (or a rule like it) chose.
- `self.made_for: str`, if there, is the loss that its outputs are meant for, as one types it: `loss=mse loss.targets=plus_minus`.
- It builds under `torch.device("meta")` too, without memory and without a download, as far as torch's own layers do.

Models import `layer` (and `errors`, `units`), never another family, and know nothing of data, loss or training.
"""
