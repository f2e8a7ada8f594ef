"""A Core ML package for Apple's systems, zipped. It is made on any system, and runs on Apple's alone."""

import tempfile
import zipfile
from pathlib import Path

from dermdistill.export.formats.form import FLOAT16, Format, Source

_EARLY = (1980, 1, 1, 0, 0, 0)
"""The date of the files inside, so that the archive depends on their bytes alone."""


def make(source: Source, folder: Path) -> dict[str, str]:
    """An ML program of 16 bits that takes an image of the model's size, as Vision hands it over."""
    import coremltools
    import torch

    from dermdistill.export.formats.rebuild import Rebuilt

    with torch.inference_mode():
        traced = torch.jit.trace(Rebuilt(source.graph), torch.zeros(1, 3, source.size, source.size))
    shape = (1, 3, source.size, source.size)
    model = coremltools.convert(
        traced, convert_to="mlprogram", minimum_deployment_target=coremltools.target.iOS16,
        inputs=[coremltools.ImageType("image", shape, scale=1 / 255, color_layout=coremltools.colorlayout.RGB)],
        outputs=[coremltools.TensorType("logits"), coremltools.TensorType("probabilities")],
    )  # fmt: skip
    model.short_description = "Melanoma probability of a dermoscopic image. A research tool, not a medical device."
    model.user_defined_metadata["classes"] = ",".join(source.names)
    with tempfile.TemporaryDirectory(prefix="dermdistill-coreml-") as made:
        package = Path(made) / "model.mlpackage"
        model.save(str(package))
        with zipfile.ZipFile(folder / FORMAT.files[0], "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in package.rglob("*") if path.is_file()):
                name = path.relative_to(package.parent).as_posix()
                archive.writestr(zipfile.ZipInfo(name, _EARLY), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return {"target": "iOS 16, macOS 13", "input": f"RGB image of {source.size}x{source.size} pixels"}


FORMAT = Format(
    name="coreml", extra="coreml", packages=("torch", "onnx", "coremltools"), tolerance=FLOAT16, make=make,
    not_run="Core ML runs on Apple's systems alone; it was converted, and its answers were not compared",
)  # fmt: skip
