"""What is measured: the forms of bundles that run here, and networks of the literature, exported alike."""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dermdistill.errors import InputError
from dermdistill.files import atomic_path, write_json
from dermdistill.images.cache import cache_root
from dermdistill.predict.bundle import Bundle, read_bundle
from dermdistill.predict.runtime import OpenVino, Runtime, load
from dermdistill.predict.variants import FORMS, Agreement, find_graph, read_certificate
from dermdistill.publish.models import out_of_fold
from dermdistill.version import __version__

RIVALS = {
    "dsnet": ("dsnet", 224),
    "mobilenetv3-small-0.5": ("timm:mobilenetv3_small_050", 224),
    "mobilenetv1": ("timm:mobilenetv1_100", 224),
    "efficientnet-b0": ("timm:efficientnet_b0", 224),
    "resnet50": ("timm:resnet50", 224),
}
"""Name, student of the registry, and side of the input in pixels."""
_CLASSES = 7
PACKAGE = {"openvino": "openvino", "executorch": "executorch", "litert": "ai_edge_litert"}
"""What a runtime is imported as; ONNX Runtime is always there."""


@dataclass(frozen=True)
class Loadable:
    """A graph for a runtime, and what is known of it."""

    name: str
    ours: bool
    graph: Path
    runtime: str
    precision: str
    size: int
    bytes: int
    parameters: int
    macs: int
    auroc: float | None = None
    agreement: Agreement | None = None

    @property
    def key(self) -> str:
        return f"{self.name}/{self.runtime}/{self.precision}"

    def load(self, threads: int) -> Runtime:
        """The graph with as many threads, all at work on one call."""
        if self.runtime == "openvino":
            return OpenVino(self.graph, threads, streams=1)
        return load(self.graph, threads, self.runtime)


def runs(runtime: str) -> bool:
    """Whether a runtime is installed."""
    return runtime not in PACKAGE or importlib.util.find_spec(PACKAGE[runtime]) is not None


def of_bundle(folder: Path, skipped: dict[str, str]) -> list[Loadable]:
    """All forms of a bundle that run here, first that of ONNX Runtime in float32.

    Args:
        folder: the bundle's.
        skipped: gets what does not run here, and why.
    """
    bundle = read_bundle(folder)
    certificate = read_certificate(bundle)
    known = certificate.variants if certificate is not None else {}
    wanted = [("onnxruntime", "fp32"), ("openvino", "fp32")]
    wanted += [(form.runtime, form.precision) for name, form in FORMS.items() if name in known and form.runtime]
    found = []
    for runtime, precision in dict.fromkeys(wanted):
        if not runs(runtime):
            skipped[f"{bundle.spec.name} {runtime} {precision}"] = f"needs: pip install 'dermdistill[{runtime}]'"
            continue
        found.append(_form(bundle, runtime, precision))
    return found


def _form(bundle: Bundle, runtime: str, precision: str) -> Loadable:
    graph, certificate = find_graph(bundle, runtime, precision), read_certificate(bundle)
    figures, bytes_ = out_of_fold(bundle.folder), graph.stat().st_size
    auroc, agreement = figures.auroc.value if figures is not None else None, None
    # of generated lesions it says nothing
    photographs = certificate is not None and certificate.images.origin == "photographs"
    for name, variant in (certificate.variants if certificate is not None else {}).items():
        if FORMS[name].files[0] == graph.name:
            bytes_, agreement = variant.bytes, variant.agreement
            difference = agreement.auroc_difference if agreement is not None and photographs else None
            auroc = None if auroc is None or difference is None else auroc + difference
    model = bundle.spec.model
    return Loadable(
        bundle.spec.name, True, graph, runtime, precision, bundle.spec.input.size, bytes_, model.parameters, model.macs,
        auroc, agreement,
    )  # fmt: skip


def rivals(names: list[str], runtimes: list[str]) -> Iterator[Loadable]:
    """Networks of the literature with random weights, BatchNorm folded, written by the same exporter.

    They are kept in the cache: the next run takes them from there, without torch.

    Raises:
        InputError: a name is none of `RIVALS`.
    """
    for name in names:
        if name not in RIVALS:
            raise InputError(f"rivals are {', '.join(RIVALS)}, got '{name}'")
        student, size = RIVALS[name]
        graph = cache_root() / "bench" / f"{name}-{size}-{__version__}.onnx"
        facts = graph.with_suffix(".json")
        if not (graph.is_file() and facts.is_file()):
            _export(student, size, graph, facts)
        cost = json.loads(facts.read_text(encoding="utf-8"))
        for runtime in runtimes:
            yield Loadable(
                name, False, graph, runtime, "fp32", size, graph.stat().st_size, cost["parameters"], cost["macs"]
            )


def _export(student: str, size: int, graph: Path, facts: Path) -> None:
    from dermdistill.export.formats.onnx import Deployed, write_onnx
    from dermdistill.networks.cost import count, fuse
    from dermdistill.networks.registry import build

    model = build(student, _CLASSES, image_size=size, weights="none")
    cost = count(model, size)
    deployed = Deployed(fuse(model, size), (0.5,) * 3, (0.5,) * 3, 1.0)
    with atomic_path(graph) as temporary:
        write_onnx(deployed, size, temporary, {"dermdistill.weights": "random"})
    write_json(facts, {"parameters": cost.parameters, "macs": cost.macs})
