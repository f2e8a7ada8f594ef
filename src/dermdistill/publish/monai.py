"""What MONAI's tools read of a model: configs/metadata.json, after its schema of 2024-07-25."""

from typing import Any, Final

import numpy
import torch

from dermdistill.classes import CLASS_NAMES
from dermdistill.data.sources import SOURCES, source_name
from dermdistill.predict.header import AnyHeader
from dermdistill.version import __version__

SCHEMA: Final = "https://project-monai.github.io/schema/meta_schema_20240725.json"
MONAI_VERSION: Final = "1.4.0"
"""The first version with this schema; nothing here was made with MONAI, and nothing needs it."""


def metadata(header: AnyHeader) -> dict[str, Any]:
    """The contents of metadata.json for a bundle.

    Args:
        header: the contents of bundle.json.

    Returns:
        The keys that MONAI requires, and those optional ones of which something is known.
    """
    size, classes = header.input.size, list(header.classes)
    meanings = {str(index): CLASS_NAMES.get(name, "not melanoma") for index, name in enumerate(classes)}
    image = {
        "type": "image", "format": "magnitude", "modality": "dermoscopy", "num_channels": 3,
        "spatial_shape": [size, size], "dtype": "float32", "value_range": [0, 1], "is_patch_data": False,
        "channel_def": {"0": "red", "1": "green", "2": "blue"},
    }  # fmt: skip
    answer = {
        "type": "probabilities", "format": "classes", "num_channels": len(classes), "spatial_shape": [],
        "dtype": "float32", "is_patch_data": False, "channel_def": meanings,
    }  # fmt: skip
    sources = [
        f"{source_name(name)}: {SOURCES[name].citation}" if name in SOURCES else source_name(name)
        for name in header.data.sources
    ]
    return {
        "schema": SCHEMA,
        "version": header.version,
        "changelog": {header.version: "exported"},
        "monai_version": MONAI_VERSION,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": numpy.__version__,
        "required_packages_version": {"dermdistill": __version__},
        "task": "Classify dermoscopic images of skin lesions: melanoma and other diagnoses",
        "description": (
            f"{header.model.name}, a network of {header.model.parameters:,} parameters, distilled or trained with "
            f"dermdistill. It takes one RGB image that is squashed to {size}x{size} pixels."
        ),
        "authors": "The dermdistill developers",
        "copyright": f"Code: {header.licence.code}. Weights: {header.licence.weights}, see LICENSE-WEIGHTS.txt.",
        "data_source": "; ".join(sources),
        "data_type": "RGB image files",
        "image_classes": "RGB in [0, 1]; the network normalises by itself",
        "pred_classes": ", ".join(f"{index} is {name} ({meanings[str(index)]})" for index, name in enumerate(classes)),
        "intended_use": header.intended_use,
        "name": header.name,
        "network_data_format": {
            "inputs": {"image": image},
            "outputs": {"logits": {**answer, "value_range": []}},
            "post_processed_outputs": {"probabilities": {**answer, "value_range": [0, 1]}},
        },
    }
