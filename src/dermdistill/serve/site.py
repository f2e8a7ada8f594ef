"""The page that judges images in the browser: its files, put together with a bundle.

The page is built from `web/` in the repository; what is built lies in `page/` beside this module. A published page is a
folder of static files that any web server serves; nothing is computed there.
"""

import hashlib
import json
from importlib import resources
from pathlib import Path

from dermdistill.data.sources import NAMES
from dermdistill.errors import InputError
from dermdistill.files import write_bytes
from dermdistill.predict.bundle import Bundle
from dermdistill.predict.gate import Gate
from dermdistill.predict.header import GATE, GRAPH
from dermdistill.serve.page_data import read_page_data

FORMAT = "dermdistill-page/1"
INDEX = "page.json"
_WORKER = "sw.js"
_GAP = b'"__PAGE__"'
_WITH_BUNDLE = ("bundle.json", GRAPH, GATE, "MODEL_CARD.md", "LICENSE-WEIGHTS.txt")
_NOT_KEPT = ("build.json", "index.html")
"""Not kept by the browser under these names: the page is kept as './'."""


def content_security_policy() -> str:
    """The page's policy, for the header `Content-Security-Policy`; the page itself has it as a meta tag.

    The page narrows it further before it takes an image: then no connection at all is allowed.
    """
    page = (_shipped() / "index.html").read_text(encoding="utf-8")
    return page.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0] + "; frame-ancestors 'none'"


def page_files(bundle: Bundle, evidence: str | Path | None = None) -> dict[str, bytes]:
    """All files of a page with this model, by their path.

    Args:
        bundle: the model.
        evidence: its out-of-fold figures; by default those that ship, if they belong to these weights.

    Raises:
        IntegrityError: the figures belong to another model, or the bundle's gate is broken.
    """
    files = {path.name: path.read_bytes() for path in sorted(_shipped().iterdir())}
    files |= {f"bundle/{name}": (bundle.folder / name).read_bytes() for name in _WITH_BUNDLE
              if name == "bundle.json" or name in bundle.spec.files}  # fmt: skip
    figures = Path(evidence) if evidence is not None else _shipped_evidence(bundle)
    if figures is not None:
        read_page_data(figures, bundle)
        files[f"page-data/{figures.name}"] = figures.read_bytes()
    sources = {name: NAMES.get(name, {"en": name}) for name in bundle.spec.data.sources}
    parts = [*(name.encode() + files[name] for name in sorted(files)), json.dumps(sources).encode()]
    version = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    index = {
        "format": FORMAT, "version": version, "bundle": "bundle/", "graph": GRAPH, "gate": _gate(bundle),
        "evidence": f"page-data/{figures.name}" if figures is not None else None,
        "sources": sources,
    }  # fmt: skip
    files[INDEX] = json.dumps(index, indent=1).encode() + b"\n"
    kept = ["./", *(name for name in sorted(files) if name not in (*_NOT_KEPT, _WORKER))]
    filled = json.dumps({"version": version, "files": kept}).encode()
    files[_WORKER] = files[_WORKER].replace(_GAP, filled)
    return files


def write_page(folder: str | Path, bundle: Bundle, evidence: str | Path | None = None) -> Path:
    """Write a page into a new or empty folder, or over an earlier page.

    Args:
        folder: any static web server can serve it, under any path.
        bundle: the model.
        evidence: as in `page_files`.

    Raises:
        InputError: the folder holds something else.
        IntegrityError: the figures belong to another model, or the bundle's gate is broken.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / INDEX).is_file())):
        raise InputError(f"{folder} holds something other than a page; name a new or empty folder")
    for name, content in page_files(bundle, evidence).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / name, content)
    return folder


def _gate(bundle: Bundle) -> dict[str, object] | None:
    """What a page must know of a bundle's gate: a browser's runtime does not read the metadata of a graph."""
    if bundle.gate is None:
        return None
    return {"graph": GATE, "reasons": Gate(bundle.gate, bundle.spec.input.size).facts.reasons}


def _shipped() -> Path:
    return Path(str(resources.files("dermdistill"))) / "serve" / "page"


def _shipped_evidence(bundle: Bundle) -> Path | None:
    """The figures that ship for a bundle's weights, if there are any."""
    folder = Path(str(resources.files("dermdistill"))) / "serve" / "page_data"
    for path in sorted(folder.glob("*.json")):
        if json.loads(path.read_text(encoding="utf-8")).get("weights_sha256") == bundle.spec.model.weights_sha256:
            return path
    return None
