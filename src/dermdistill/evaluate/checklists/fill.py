"""Fill a reporting checklist from report.json; what only people know stays open. Nothing is summed into a score."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from dermdistill.errors import no_such
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.render.text import interval, subject
from dermdistill.specs import Strict, load_toml

_PLACE = re.compile(r"\{([a-z0-9_.]+)\}")
_FOLDER = Path(__file__).parent
_ACT_FROM = 0.05
"""The probability of melanoma from which a decision curve is quoted."""


class Item(Strict):
    """One item of a form."""

    number: str
    section: str
    title: str
    asks: str
    """In our words."""
    facts: tuple[str, ...] = ()
    """Names of sentences in facts.toml; none if software cannot answer it."""
    prompt: str = ""
    """What people have to write."""


class Form(Strict):
    """A checklist."""

    title: str
    source: str
    note: str
    items: tuple[Item, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Answer:
    """One item as far as the report fills it."""

    item: Item
    text: str
    """Sentences from the report; empty if it tells nothing."""
    quotes: tuple[str, ...]
    """Where in report.json the values of the text stand, keys joined by dots."""


@dataclass(frozen=True)
class Filled:
    """A form and its answers."""

    form: Form
    subject: str
    """The model that it is about."""
    report: str
    """What was judged, in a line."""
    answers: tuple[Answer, ...]


def forms() -> list[str]:
    """The names of the forms."""
    return sorted(path.stem for path in (_FOLDER / "forms").glob("*.toml"))


def read_form(name: str) -> Form:
    """One of the forms that the package holds.

    Raises:
        InputError: there is none of this name.
    """
    if name not in forms():
        raise no_such("checklist", name, forms())
    return load_toml(_FOLDER / "forms" / f"{name}.toml", Form)


def fill(form: Form, report: Report, model: str | None = None) -> Filled:
    """Answer every item as far as a report does.

    Args:
        form: the checklist.
        report: any report.
        model: one of its models, by default the one that its verdict is about.

    Raises:
        InputError: no such model in the report.
    """
    name = model or subject(report)
    if name not in report.models:
        raise no_such("model", name, report.models)
    values, places = _values(report, name)
    sentences = tomllib.loads((_FOLDER / "facts.toml").read_text(encoding="utf-8"))
    answers = []
    for item in form.items:
        told = [_tell(sentences[fact], values, places) for fact in item.facts]
        known = [one for one in told if one is not None]
        text = " ".join(sentence for sentence, _ in known)
        answers.append(Answer(item, text, tuple(dict.fromkeys(place for _, found in known for place in found))))
    about = f"{report.data.n:,} images with the role “{report.data.role}”, manifest {report.data.manifest_sha256[:16]}"
    return Filled(form, name, ("SYNTHETIC DATA. " if report.data.synthetic else "") + about, tuple(answers))


def _values(report: Report, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The report as plain values with shorter names for what is the model's own, and where these stand."""
    plain = report.model_dump(mode="json")
    own: dict[str, tuple[str, Any]] = {
        "model": (f"models.{name}", plain["models"][name]),
        "subject": (f"models.{name}", name),
        "difference": (f"differences.{name}", plain["differences"].get(name)),
        "overlap": (f"overlap.{name}", plain["overlap"].get(name)),
    }
    if plain["within"]:
        own["inside"] = (f"within.models.{name}", plain["within"]["models"].get(name))
    if plain["decision"] and _ACT_FROM in plain["decision"]["probabilities"]:
        at = plain["decision"]["probabilities"].index(_ACT_FROM)
        own["benefit"] = (f"decision.models.{name}.{at}", plain["decision"]["models"][name][at])
    bundle = plain["robustness"].get(name)
    if bundle:
        own["spread"] = (f"robustness.{name}.spread", bundle["spread"])
    known = ((plain["external"] or {}).get("models", {}).get(name) or {}).get("scored")
    if known:
        tests = {one["name"]: {key: one[of] for key, of in _AREA.items()} for one in known["tests"]}
        own["tests"] = (f"external.models.{name}.scored.tests", tests)
    drops = {source: of["drop"] for entry in plain["unseen"].values() for source, of in entry["sources"].items()}
    own["drops"] = ("unseen", drops)
    groups = plain["models"][name]["subgroups"]
    own["tones"] = (f"models.{name}.subgroups", {key: of for key, of in groups.items() if "tone" in key})
    return plain | {key: value for key, (_, value) in own.items()}, {key: place for key, (place, _) in own.items()}


_AREA = {"value": "auroc", "low": "low", "high": "high"}


def _tell(sentence: str, values: Mapping[str, Any], places: Mapping[str, str]) -> tuple[str, list[str]] | None:
    """A sentence with its values, and where these stand; None if one is not there."""
    found = {}
    for path in _PLACE.findall(sentence):
        value: Any = values
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        text = told(value)
        if not text:
            return None
        first, dot, rest = path.partition(".")
        found[path] = (text, places.get(first, first) + dot + rest)
    return _PLACE.sub(lambda match: found[match[1]][0], sentence), [place for _, place in found.values()]


def told(value: Any) -> str:
    """A value of a report in words; empty where there is none."""
    match value:
        case None | "":
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.3f}" if abs(value) >= 0.0005 or value == 0 else f"{value:.2g}"
        case str():
            return value
        case Mapping() if "value" in value:
            return "" if value["value"] is None else interval(value)
        case Mapping():
            parts = {key: told(part) for key, part in value.items()}
            return "; ".join(f"{key} {text}" for key, text in parts.items() if text)
        case _:
            return ", ".join(told(part) for part in value)
