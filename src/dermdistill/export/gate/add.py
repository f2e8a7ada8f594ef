"""Put a gate into a bundle, without a change to the model."""

import shutil
import tempfile
from pathlib import Path

from dermdistill.errors import InputError, IntegrityError
from dermdistill.export.card import CARD, gate_text, put_section
from dermdistill.export.place import check_place, swap
from dermdistill.files import read_json, sha256_file, write_json
from dermdistill.licences import KINDS, binding, kind_of
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.gate import Gate
from dermdistill.predict.graphs import check_graph
from dermdistill.predict.header import GATE

HEADING = "## Gate"
"""Of the model card."""


def add_gate(bundle: str | Path, graph: str | Path, out: str | Path, *, force: bool = False) -> Path:
    """Write a copy of a bundle that has a gate; one that it has already is replaced.

    The model's graphs, its thresholds and all other files stay as they are, byte by byte, but for the model card, which
    gets a section on the gate.

    Args:
        bundle: its folder; it may be `out` itself, with `force`.
        graph: a gate that `dermdistill gate fit` wrote.
        out: the new bundle's folder.
        force: replace a bundle that is there.

    Returns:
        The folder.

    Raises:
        InputError: no such file, `out` is taken, or the gate was fitted on images under a licence that binds more than
            that of the bundle's weights.
        IntegrityError: the file is no gate, or is for images of another size.
    """
    out, graph, read = Path(out), Path(graph), read_bundle(bundle)
    check_place(out, force)
    if not graph.is_file():
        raise InputError(f"there is no gate at {graph}; make one with `dermdistill gate fit`")
    check_graph(graph)
    gate = Gate(graph, read.spec.input.size)
    bound, weights = binding(gate.facts.licences), read.spec.licence.weights
    if KINDS.index(kind_of(bound)) > KINDS.index(kind_of(weights)):
        raise InputError(
            f"{graph} was fitted on images under {bound}, and the weights of {bundle} are under {weights}, which is "
            "freer; fit a gate on freer images with --licences"
        )
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gate-", dir=out.absolute().parent) as name:
        folder = Path(name) / "bundle"
        shutil.copytree(read.folder, folder)
        shutil.copyfile(graph, folder / GATE)
        header = read_json(folder / "bundle.json")
        if not isinstance(header, dict):
            raise IntegrityError(f"{read.folder / 'bundle.json'} is no JSON object")
        header["files"] = dict(sorted({**header["files"], GATE: sha256_file(folder / GATE)}.items()))
        write_json(folder / "bundle.json", header)
        if CARD in header["files"]:
            put_section(folder, HEADING, gate_text(gate.facts))
        read_bundle(folder)
        swap(folder, out)
    return out
