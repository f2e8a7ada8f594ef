"""Converts a bundle's model.onnx to .tflite, inside the environment of LiteRT's converter, without dermdistill.

    python -P litert_script.py model.onnx model.tflite --size 112 [--calibration images.npy]

With calibration images, float32 [N, S, S, 3], weights and activations have 8 bits. Prints the converter's version.
"""

import argparse
import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np


def rebuilt(graph: Path) -> Any:
    """The graph as a torch module, by the module beside this file."""
    spec = importlib.util.spec_from_file_location("rebuild", Path(__file__).with_name("rebuild.py"))
    if spec is None or spec.loader is None:
        raise FileNotFoundError(Path(__file__).with_name("rebuild.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Rebuilt(graph)


def quantised(path: Path, images: np.ndarray) -> bytes:
    """The model with weights and activations of 8 bits."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    ((signature, ends),) = Interpreter(model_path=str(path)).get_signature_list().items()
    (name,) = ends["inputs"]
    work = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    return bytes(work.quantize(widest(work, signature, name, images)).quantized_model)


def widest(work: Any, signature: str, name: str, images: np.ndarray) -> dict[str, dict[str, Any]]:
    """The widest range of each tensor over all images; the quantiser's own is a moving average, which cuts off."""
    ranges: dict[str, dict[str, Any]] = {}
    for place in range(len(images)):
        found = work.calibrate({signature: [{name: images[place : place + 1]}]}, num_threads=1)
        for tensor, values in found.items():
            known = ranges.setdefault(tensor, dict(values))
            for key, choose in (("min", np.minimum), ("max", np.maximum)):
                if key in values:
                    known[key] = choose(known[key], values[key]) if key in known else values[key]
    return ranges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--calibration", type=Path)
    asked = parser.parse_args()
    import litert_torch
    import torch

    module = litert_torch.to_channel_last_io(rebuilt(asked.graph), args=[0])
    made = litert_torch.convert(module.eval(), (torch.zeros(1, asked.size, asked.size, 3),))
    made.export(str(asked.out))
    if asked.calibration:
        images = np.load(asked.calibration, allow_pickle=False)
        asked.out.write_bytes(quantised(asked.out, images))
    print(f"litert-torch {metadata.version('litert-torch')}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
