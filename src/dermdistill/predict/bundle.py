"""The bundle: a folder that holds everything a prediction needs, checked before it is used."""

from importlib import resources
from pathlib import Path

from dermdistill.errors import InputError, IntegrityError
from dermdistill.files import sha256_file
from dermdistill.predict.graphs import MAX_GRAPH, check_graph
from dermdistill.predict.header import GRAPH, PIXELS_GRAPH, AnyHeader, read_header
from dermdistill.specs import Strict


class Bundle(Strict):
    """A checked bundle on disk."""

    folder: Path
    spec: AnyHeader

    @property
    def graph(self) -> Path:
        """The graph for batches of images that have the model's size."""
        return self.folder / GRAPH

    @property
    def pixels_graph(self) -> Path:
        """The graph for one image of any size; bundles of format 1 have none."""
        return self.folder / PIXELS_GRAPH


def read_bundle(folder: str | Path) -> Bundle:
    """Open a bundle and check every file's hash, and that its graphs are nothing but arithmetic.

    Raises:
        InputError: no bundle there.
        IntegrityError: a file is missing, changed or too large, does not fit the format, or a graph holds what is not
            allowed.
    """
    folder = Path(folder)
    spec = read_header(folder)
    for name, expected in {**dict.fromkeys(spec.graphs), **spec.files}.items():
        file = folder / name
        if expected is None or not file.is_file():
            raise IntegrityError(f"{folder} lacks {name}, or bundle.json does not list it")
        if (size := file.stat().st_size) > MAX_GRAPH:
            raise IntegrityError(f"{file} has {size} bytes, at most {MAX_GRAPH} are read")
        if (found := sha256_file(file)) != expected:
            raise IntegrityError(f"{file} was changed: its SHA-256 is {found[:12]}…, bundle.json says {expected[:12]}…")
    for name in spec.graphs:
        check_graph(folder / name)
    return Bundle(folder=folder, spec=spec)


def default_bundle() -> Path:
    """The folder of the bundle that ships with the package.

    Raises:
        InputError: this installation ships none.
    """
    weights = Path(str(resources.files("dermdistill"))) / "weights"
    named = weights / "DEFAULT"
    if not named.is_file():
        raise InputError("this installation ships no model: give one with --model BUNDLE")
    return weights / named.read_text(encoding="utf-8").strip()
