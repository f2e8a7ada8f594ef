"""What every format has: what it needs, how it is made, and how far it may be from the graph that it was made of."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from dermdistill.predict.runtime import Runtime, as_batch, load
from dermdistill.predict.variants import FORMS, Form, Tolerance

BATCH = 16
"""Images a forward pass where formats are compared."""
COMPARING = ("pandas", "pyarrow", "sklearn")
"""What is imported to make any format, which is compared on the images of a manifest, by their AUROC."""


@dataclass(frozen=True)
class Source:
    """What a format is made of."""

    graph: Path
    """model.onnx."""
    size: int
    """Side of its input in pixels, S."""
    melanoma: int
    """Index of melanoma among the classes."""
    calibration: np.ndarray
    """RGB, uint8 [N, S, S, 3]: what quantised formats learn their ranges from."""
    names: tuple[str, ...]
    """Of the classes."""


@dataclass(frozen=True)
class Format:
    """A format: `make` writes its files, and what loads them is told by its form."""

    name: str
    """One of `FORMS`."""
    extra: str
    """The extra of dermdistill that brings the packages, and those of `COMPARING`."""
    packages: tuple[str, ...]
    """What is imported to make and to run it, besides `COMPARING`. Its module imports them inside functions."""
    tolerance: Tolerance
    make: Callable[[Source, Path], dict[str, str]]
    """Writes `files` into a folder, and tells what it chose and what else it tried."""
    hindrance: Callable[[], str | None] = lambda: None
    """Why it cannot be made here although the packages are there, with the way to mend it."""
    not_run: str | None = None
    """Why it is not run here."""

    @property
    def form(self) -> Form:
        return FORMS[self.name]

    @property
    def files(self) -> tuple[str, ...]:
        return self.form.files

    def needs(self) -> str | None:
        """What is missing here to make and run it, with the line that installs it; None if nothing is."""
        missing = [name for name in (*self.packages, *COMPARING) if importlib.util.find_spec(name) is None]
        if missing:
            said = ", ".join(f"'{name}'" for name in missing)
            return f"needs {said}; install it with: pip install 'dermdistill[{self.extra}]'"
        return self.hindrance()

    def run(self, folder: Path, images: np.ndarray) -> np.ndarray:
        """Probabilities [N, C] of RGB images, uint8 [N, S, S, 3], by the files in a folder.

        Raises:
            IntegrityError: the runtime cannot load or run them.
        """
        if self.form.runtime is None:
            raise ValueError(f"{self.name} is not run here: {self.not_run}")
        return probabilities(load(folder / self.files[0], 1, self.form.runtime), images)


def probabilities(runtime: Runtime, images: np.ndarray) -> np.ndarray:
    """Probabilities [N, C] of RGB images, uint8 [N, S, S, 3]."""
    parts = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    return np.concatenate([runtime.run(["probabilities"], as_batch(part))[0] for part in parts])


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The versions of distributions, as far as they are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


FLOAT32 = Tolerance(probability=1e-3, mean=1e-4, auroc=1e-3, flips=0.002)
FLOAT16 = Tolerance(probability=0.02, mean=2e-3, auroc=2e-3, flips=0.005)
INT8 = Tolerance(probability=0.5, mean=0.02, auroc=0.01, flips=0.05)
"""Eight bits move single answers far, where the network is in doubt; what counts is how the images are ordered."""
