"""The bundle: a folder that holds everything a prediction needs, checked before it is used."""

from importlib import resources
from pathlib import Path

from dermdistill.errors import InputError, IntegrityError, did_you_mean
from dermdistill.files import sha256_file
from dermdistill.predict.graphs import MAX_GRAPH, check_graph
from dermdistill.predict.header import GATE, GRAPH, PIXELS_GRAPH, AnyHeader, read_header
from dermdistill.specs import Strict

WEIGHTS = Path(str(resources.files("dermdistill"))) / "weights"
"""A folder for each bundle that ships, and the name of the default one in the file `DEFAULT`."""


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

    @property
    def gate(self) -> Path | None:
        """The graph that refuses images; None in a bundle without one."""
        return self.folder / GATE if GATE in self.spec.files else None


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
    for name in (*spec.graphs, *({GATE} & spec.files.keys())):
        check_graph(folder / name)
    return Bundle(folder=folder, spec=spec)


def shipped_bundles() -> dict[str, Path]:
    """The folders of the bundles that ship with the package by their names, the default one first."""
    found = {path.parent.name: path.parent for path in sorted(WEIGHTS.glob("*/bundle.json"))}
    named = WEIGHTS / "DEFAULT"
    first = named.read_text(encoding="utf-8").strip() if named.is_file() else ""
    return dict(sorted(found.items(), key=lambda entry: entry[0] != first))


def default_bundle() -> Path:
    """The folder of the bundle that is used where none is named.

    Raises:
        InputError: this installation ships none.
    """
    shipped = shipped_bundles()
    if not shipped:
        raise InputError("this installation ships no model: give one with --model BUNDLE")
    return next(iter(shipped.values()))


def find_bundle(model: str | Path) -> Path:
    """The folder of a bundle: what is named itself, or a bundle that ships under that name.

    Raises:
        InputError: neither is there; close names are suggested.
    """
    folder, shipped = Path(model), shipped_bundles()
    if not (folder / "bundle.json").is_file() and str(model) in shipped:
        return shipped[str(model)]
    if folder.exists():
        return folder
    close = did_you_mean(model, shipped)
    these = f"{close} These" if close else "; these"
    raise InputError(
        f"there is no bundle at {model}, and none of this name ships with the package{these} do: "
        f"{', '.join(shipped) or 'none'}. `dermdistill export` makes one of a finished run"
    )


def open_bundle(model: Bundle | str | Path | None = None) -> Bundle:
    """The bundle that is meant, checked.

    Args:
        model: a bundle, its folder, the name of one that ships with the package, or None for the default one.

    Raises:
        InputError: no such bundle.
        IntegrityError: it is damaged; see `read_bundle`.
    """
    if isinstance(model, Bundle):
        return model
    return read_bundle(default_bundle() if model is None else find_bundle(model))
