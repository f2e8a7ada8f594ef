"""What `dermdistill bench` writes."""

from typing import Annotated, Literal

from pydantic import Field

from dermdistill.predict.header import Count
from dermdistill.predict.variants import Agreement
from dermdistill.specs import Strict

Positive = Annotated[float, Field(gt=0)]


class Timing(Strict):
    """Milliseconds of one call, over the rounds of a run."""

    threads: Annotated[int, Field(ge=1)]
    """Of the runtime, each on a core of its own."""
    batch: Annotated[int, Field(ge=1)]
    """Images in a call; ExecuTorch and LiteRT take them one after the other."""
    median_ms: Positive
    low_ms: Positive
    """The first quartile."""
    high_ms: Positive
    """The third quartile."""
    best_ms: Positive
    rounds: Annotated[int, Field(ge=1)]
    ratio: Positive
    """Median, in medians of the default student in ONNX Runtime in the same run."""


class Start(Strict):
    """A fresh process that loads the graph and judges one image; the median of some."""

    wall_ms: Positive
    """From the start of Python to its end."""
    peak_mib: Positive
    """Largest resident memory."""


class Subject(Strict):
    """A network in a runtime."""

    name: str
    ours: bool
    """Whether it is a bundle; others are networks of the literature with random weights, exported alike."""
    runtime: str
    precision: str
    size: Annotated[int, Field(ge=1)]
    """Side of the input in pixels."""
    bytes: Count
    """Of what the runtime loads."""
    parameters: Count
    macs: Count
    """Multiply-accumulates for one image."""
    auroc: float | None
    """Melanoma AUROC of the bundle's recipe on images that its judges never saw, with the difference that the form
    made on photographs; None where it is not known, as of a form that was compared on generated lesions alone. Random
    weights have none."""
    agreement: Agreement | None
    """With model.onnx, as the bundle's certificate tells; None for model.onnx itself and for other networks."""
    timings: tuple[Timing, ...]
    start: Start | None
    share_of_peak: Positive | None
    """Multiply-accumulates a second at batch 1 on one thread, in those of numpy's product of large matrices there."""

    @property
    def label(self) -> str:
        return f"{self.name}@{self.size} {self.runtime} {self.precision}"

    def timing(self, threads: int, batch: int) -> Timing | None:
        """The timing of a setting, if it was measured."""
        return next((one for one in self.timings if (one.threads, one.batch) == (threads, batch)), None)


class GateCost(Strict):
    """Time of a bundle's gate in times of its model.onnx, both in ONNX Runtime on one thread at batch 1, by turns."""

    bundle: str
    median_ms: Positive
    """Of the gate."""
    ratio: Positive
    """The median over the rounds; each has one ratio."""
    low: Positive
    """The first quartile."""
    high: Positive
    """The third quartile."""
    rounds: Annotated[int, Field(ge=1)]


class Advice(Strict):
    """Which form of a bundle is fastest here, on one thread at batch 1."""

    bundle: str
    same_answers: str
    """The fastest of float32, as options of `predict`."""
    fastest: str
    """The fastest of all, whose answers may differ: see parity.json."""
    gain: Positive
    """How many times faster the fastest is than ONNX Runtime with float32."""


class Bench(Strict):
    """The contents of bench.json."""

    format: Literal["dermdistill-bench/1"] = "dermdistill-bench/1"
    command: str
    hardware: str
    versions: dict[str, str]
    load: float | None
    """Processes that wanted a core in the minute before; above the number of measured threads, figures are doubtful."""
    pinned: bool
    """Whether threads were held on cores of their own, which some systems do not offer."""
    reference: str
    """The subject that ratios refer to."""
    matmul_gmacs: Positive
    """Billion multiply-accumulates a second of numpy's product of large float32 matrices on one thread."""
    subjects: tuple[Subject, ...]
    advice: tuple[Advice, ...]
    gates: tuple[GateCost, ...] = ()
    """Of the bundles that have a gate; it is in no other time."""
    skipped: dict[str, str]
    """What was not measured, and why."""
