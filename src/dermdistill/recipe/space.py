"""What a sweep tries: keys of a student, and the values of each. No torch, no Optuna."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from dermdistill.distillation.spec import StudentSpec
from dermdistill.errors import InputError, did_you_mean
from dermdistill.specs import parse

_LOG = "(log)"
_FIXED = frozenset({"name"})
"""Keys that no sweep changes."""
FORM = "KEY=LOW..HIGH, KEY=LOW..HIGH(log) or KEY=ONE,OTHER,…"


@dataclass(frozen=True)
class Axis:
    """A key, and a range of numbers or a choice of values."""

    key: str
    """Dotted, such as 'train.learning_rate'."""
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    """Whether the logarithm is what is drawn evenly."""
    choices: tuple[Any, ...] = ()
    """In place of a range."""

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must fit if the others shall."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: Any) -> Any:
        """The value that an Optuna trial tries."""
        if self.choices:
            return trial.suggest_categorical(self.key, list(self.choices))
        kind = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return kind(self.key, self.low, self.high, log=self.log)


def read_axes(texts: Sequence[str]) -> list[Axis]:
    """The axes that `--set` names.

    Args:
        texts: such as 'train.learning_rate=1e-4..1e-2(log)', 'train.batch_size=16..64' or 'loss.kind=kd,dkd'.

    Raises:
        InputError: another form, a key that a student does not have, or one that comes twice.
    """
    axes = [_axis(text) for text in texts]
    twice = {axis.key for axis in axes if sum(axis.key == other.key for other in axes) > 1}
    if twice:
        raise InputError(f"--set names {', '.join(sorted(twice))} twice; give each key once")
    if not axes:
        raise InputError(f"a sweep needs at least one --set: {FORM}")
    return axes


def _axis(text: str) -> Axis:
    key, equals, values = text.partition("=")
    key, values = key.strip(), values.strip()
    known = sorted(set(_keys(StudentSpec)) - _FIXED)
    if not equals or not values:
        raise InputError(f"--set {text}: expected {FORM}")
    if key not in known:
        raise InputError(
            f"--set {text}: a student has no key '{key}'{did_you_mean(key, known)}; it has {', '.join(known)}"
        )
    first, dots, second = values.removesuffix(_LOG).partition("..")
    if dots:
        low, high, log = _number(first, text), _number(second, text), values.endswith(_LOG)
        if isinstance(low, float) or isinstance(high, float):
            low, high = float(low), float(high)
        if low >= high or (log and low <= 0):
            above = "both ends must be above 0, and the first" if log else "the first end"
            raise InputError(f"--set {text}: of a range, {above} must be below the second")
        return Axis(key, low, high, log)
    choices = tuple(_plain(value.strip()) for value in values.split(","))
    if len(set(choices)) < 2 or "" in choices:
        raise InputError(f"--set {text}: expected {FORM}, with two different values at least")
    return Axis(key, choices=choices)


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a spec."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def _number(text: str, where: str) -> float | int:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise InputError(f"--set {where}: '{text.strip()}' is no number; expected {FORM}")


def _plain(text: str) -> Any:
    """A value as TOML would have it: a number, true, false, or a string."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return _number(text, text)
    except InputError:
        return text.strip("\"'")


def with_values(spec: StudentSpec, values: dict[str, Any]) -> StudentSpec:
    """A student with other values.

    Args:
        spec: the recipe's.
        values: by dotted key.

    Raises:
        InputError: some do not fit.
    """
    content = {**spec.model_dump(mode="json", exclude_unset=True), "name": spec.name}
    for key, value in values.items():
        *path, last = key.split(".")
        place = content
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    told = ", ".join(f"{key} = {value}" for key, value in values.items())
    return parse(StudentSpec, content, f"the student '{spec.name}' with {told}")


def check_axes(spec: StudentSpec, axes: Sequence[Axis]) -> None:
    """Refuse values that do not fit the student by themselves, before anything is trained.

    Raises:
        InputError: the first that does not fit.
    """
    for axis in axes:
        for value in axis.ends:
            with_values(spec, {axis.key: value})
