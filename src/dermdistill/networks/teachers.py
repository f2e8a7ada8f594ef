"""The network of a teacher: any timm model, or one of our own students, which may teach another."""

from pathlib import Path

from torch import nn

from dermdistill.errors import InputError
from dermdistill.networks import registry
from dermdistill.networks.pretrained import Weights, build_teacher, normalisation

Values = tuple[float, ...]


def teacher_network(
    name: str, num_classes: int, *, image_size: int, weights: Weights, weights_file: str | Path | None = None,
    drop_rate: float = 0.0, drop_path_rate: float = 0.0,
) -> tuple[nn.Module, Values, Values]:  # fmt: skip
    """Build the network that a teacher's spec or header names.

    A small network among larger teachers errs in other places than they do, and costs little: what the ensemble knows
    goes into the next small network (born-again networks, Furlanello et al., ICML 2018).

    Args:
        name: a timm model, or a student of our own (`registry.names`).
        num_classes: outputs.
        image_size: side of the input in pixels.
        weights: as in `build_teacher`.
        weights_file: for weights='file'.
        drop_rate: dropout before the classifier, 0 to 1.
        drop_path_rate: stochastic depth, 0 to 1, which students of our own do not have.

    Returns:
        The network, and the mean and standard deviation that it expects, per RGB channel of images in [0, 1].

    Raises:
        InputError: an unknown model, weights that cannot be had, or stochastic depth of a student.
    """
    if name not in registry.names():
        model = build_teacher(
            name, num_classes, weights=weights, weights_file=weights_file, image_size=image_size,
            drop_rate=drop_rate, drop_path_rate=drop_path_rate,
        )  # fmt: skip
        return model, *normalisation(model)
    if drop_path_rate:
        raise InputError(f"'{name}' has no stochastic depth: set drop_path_rate = 0, got {drop_path_rate}")
    model = registry.build(name, num_classes, image_size=image_size, weights=weights, weights_file=weights_file)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = drop_rate
    known = registry.spec(name)
    return model, known.mean, known.std
