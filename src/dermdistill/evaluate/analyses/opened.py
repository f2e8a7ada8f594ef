"""How often the judged images were looked at before."""

import hashlib
from collections import Counter

from dermdistill.data.manifest import manifest_hash
from dermdistill.evaluate.comparison import Comparison
from dermdistill.evaluate.ledger import DeclaredTest, record
from dermdistill.specs import Strict

SHOWN = 10
"""Openings that the report lists, the last ones."""


class Visit(Strict):
    """One opening."""

    time: str
    who: str
    models: tuple[str, ...]
    command: str


class Opened(Strict):
    """The ledger of the test, as it stood when this report was made."""

    ledger: str
    """The file's name."""
    data_sha256: str
    times: int
    """Openings of the same images with the same labels, this one among them."""
    models: dict[str, int]
    """How often each of the report's models was judged on them, this time among them."""
    last: list[Visit]
    """At most ten, this one last."""


def opened(comparison: Comparison, test: DeclaredTest) -> Opened:
    """Write into the ledger that the judged images are opened, and count.

    Raises:
        OutputError: the ledger cannot be written.
        IntegrityError: it is damaged.
    """
    hashes = {name: model_hash(comparison, name) for name in comparison.models}
    data = manifest_hash(comparison.table)
    visits = record(test, data, hashes)
    seen = Counter(value for visit in visits for value in set(visit.models.values()))
    return Opened(
        ledger=test.ledger.name, data_sha256=data, times=len(visits),
        models={name: seen[value] for name, value in hashes.items()},
        last=[Visit(time=one.time, who=one.who, models=tuple(one.models), command=one.command)
              for one in visits[-SHOWN:]],
    )  # fmt: skip


def model_hash(comparison: Comparison, name: str) -> str:
    """The SHA-256 of a model's weights, or of its predictions of the judged images where these are not known."""
    model = comparison.models[name]
    if model.provenance.model_sha256 is not None:
        return model.provenance.model_sha256
    return hashlib.sha256(model.logits(comparison.table["image_id"]).astype("<f8").tobytes()).hexdigest()
