"""LiteRT's .tflite, for Android and microcontrollers: one image [1, S, S, 3] at a time.

The converter pins an older torch. It therefore lives in an environment of its own, and a script is run there that gets
the ONNX graph and the calibration images as files. Running a .tflite needs a small package alone.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from dermdistill.errors import IntegrityError
from dermdistill.export.formats.form import FLOAT32, INT8, Format, Source
from dermdistill.images.cache import cache_root
from dermdistill.predict.runtime import as_batch

PYTHON = "DERMDISTILL_LITERT_PYTHON"
"""The variable that names the interpreter of the converter's environment."""
PINNED = "litert-torch==0.10.0"
_SCRIPT = Path(__file__).with_name("litert_script.py")
_SECONDS = 1800


def interpreter() -> Path:
    """The Python of the converter's environment: `DERMDISTILL_LITERT_PYTHON`, else that in the cache."""
    named = os.environ.get(PYTHON)
    folder = cache_root() / "litert"
    return Path(named) if named else folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def hindrance() -> str | None:
    """Why nothing can be converted here."""
    python = interpreter()
    if python.is_file():
        return None
    folder = python.parent.parent
    return (
        f"needs LiteRT's converter in an environment of its own, since it pins an older torch; there is no {python}; "
        f"make it with: uv venv {folder} --python 3.11 && uv pip install --python {python} --torch-backend cpu "
        f"{PINNED} onnx; or name another one's Python in {PYTHON}"
    )


def make_fp32(source: Source, folder: Path) -> dict[str, str]:
    return _convert(source, folder / FP32.files[0], quantise=False)


def make_int8(source: Source, folder: Path) -> dict[str, str]:
    return _convert(source, folder / INT8_FORMAT.files[0], quantise=True)


def _convert(source: Source, path: Path, *, quantise: bool) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="dermdistill-litert-") as name:
        images = Path(name) / "calibration.npy"
        np.save(images, as_batch(source.calibration).transpose(0, 2, 3, 1), allow_pickle=False)
        command = [interpreter(), "-P", _SCRIPT, source.graph, path, "--size", str(source.size)]
        command += ["--calibration", images] if quantise else []
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, env=clean, timeout=_SECONDS, check=False
        )
    if done.returncode or not path.is_file():
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise IntegrityError(f"LiteRT's converter failed with exit code {done.returncode}: {' '.join(last)}")
    versions = done.stdout.strip().splitlines()[-1]
    how = {"converter": versions, "input": f"float32 [1, {source.size}, {source.size}, 3], RGB in [0, 1]"}
    if not quantise:
        return how
    return how | {"activations": "widest range", "calibration images": str(len(source.calibration))}


FP32 = Format(
    name="litert", extra="litert", packages=("ai_edge_litert",), tolerance=FLOAT32, make=make_fp32, hindrance=hindrance
)
INT8_FORMAT = Format(
    name="litert-int8", extra="litert", packages=("ai_edge_litert",), tolerance=INT8, make=make_int8,
    hindrance=hindrance,
)  # fmt: skip
