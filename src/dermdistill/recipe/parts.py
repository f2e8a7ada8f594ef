"""The parts of a recipe's work: which images train, validate and test in each.

A hold-out has one part. Cross-validation has one for each tested fold, leave-one-source-out one for each tested
source, leave-one-collection-out one for each tested clinic or camera, over all sources; in these nothing is chosen on
validation images, and each part predicts images that it never saw. `final` trains on all images, predicts none, and is
judged by the others.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dermdistill.data.spec import SplitSpec
from dermdistill.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from dermdistill.data.splits import Splits

WHOLE = ""
"""The name of a hold-out's only part, which lies in the work folder itself."""
FINAL = "final"
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
"""What a folder's name had better not hold."""


@dataclass(frozen=True)
class Part:
    """A part's name, which is its folder's, and the image ids of 'train', 'validation' and 'test'."""

    name: str
    roles: dict[str, list[str]]


def part_names(spec: SplitSpec) -> list[str]:
    """The names of a recipe's parts, in the order in which they are carried out.

    Raises:
        InputError: two names that differ only in what a folder's name does not hold.
    """
    if spec.scheme == "hold-out":
        return [WHOLE]
    prefix = "fold" if spec.scheme == "cross" else "without"
    tested = [f"{prefix}-{_UNFIT.sub('-', str(part))}" for part in _tested(spec)]
    if len(set(tested)) < len(tested):
        raise InputError(
            f"two of the {spec.scheme} would share a folder: {', '.join(sorted(tested))}; test one of them"
        )
    return [*tested, FINAL] if spec.final else tested


def _tested(spec: SplitSpec) -> tuple[int | str, ...]:
    return spec.tested or tuple(range(spec.folds))


def part_identity(spec: SplitSpec, name: str) -> dict[str, Any]:
    """Which folds or sources train, validate and test in a part; with the splits' hash it decides the images."""
    if spec.scheme == "hold-out":
        return {"scheme": spec.scheme, "held_out": spec.held_out, "validation": spec.validation}
    tested = dict(zip(part_names(spec), _tested(spec), strict=False))
    return {"scheme": spec.scheme, "tested": tested.get(name, "none")}


def parts(spec: SplitSpec, manifest: "pd.DataFrame", splits: "Splits") -> list[Part]:
    """The parts of a recipe.

    Raises:
        InputError: a fold, source or collection that is not there.
    """
    from dermdistill.data.splits import TEST, roles

    if spec.scheme == "hold-out":
        return [Part(WHOLE, roles(splits, spec.held_out, spec.validation))]
    if spec.scheme == "cross":
        tested = [roles(splits, fold, None) for fold in _tested(spec)]
    else:
        tested = [_without(str(part), spec.scheme, manifest) for part in _tested(spec)]
    if spec.final:
        every = sorted(name for name, fold in splits.folds.items() if fold != TEST)
        tested.append({"train": every, "validation": [], "test": []})
    return [Part(name, found) for name, found in zip(part_names(spec), tested, strict=True)]


def _without(name: str, scheme: str, manifest: "pd.DataFrame") -> dict[str, list[str]]:
    """Test on one source or collection and train on the others, without copies or lesions of what is tested."""
    import pandas as pd

    from dermdistill.data.splits import groups

    names = manifest["source"]
    if scheme == "collections":
        names = manifest["collection"].fillna(names)
    test = (names == name).to_numpy(bool)
    if not test.any() or test.all():
        known, what = sorted(names.unique()), scheme.removesuffix("s")
        raise InputError(
            f"cannot leave out the {what} '{name}' and train on the others; the {scheme} are {', '.join(known)}"
            + did_you_mean(name, known)
        )
    group = groups(manifest)
    train = ~test & ~pd.Series(group).isin(group[test]).to_numpy(bool)
    return {
        "train": sorted(manifest.loc[train, "image_id"]),
        "validation": [],
        "test": sorted(manifest.loc[test, "image_id"]),
    }
