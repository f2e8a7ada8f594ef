"""What docs/ derives from the pydantic models: JSON schemas, and the reference of the recipe's keys.

    python -m dermdistill.publish.schemas

writes docs/schemas/*.schema.json and what stands between the marks in docs/reference/recipe.md. A description is the
docstring below a field.
"""

import argparse
import ast
import inspect
import itertools
import json
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from dermdistill.errors import DermdistillError, InputError
from dermdistill.files import write_text
from dermdistill.publish.repository import add_root, find_root

REGISTRY = {
    "artifacts": "dermdistill.publish.artifacts:ArtifactIndex",
    "bank": "dermdistill.distillation.bank_format:BankHeader",
    "bank-teacher": "dermdistill.distillation.bank_format:BankTeacher",
    "bundle": "dermdistill.predict.header:BundleHeader",
    "external-tests": "dermdistill.evaluate.analyses.external:External",
    "parity": "dermdistill.predict.variants:Certificate",
    "recipe": "dermdistill.recipe.spec:Recipe",
    "report": "dermdistill.evaluate.document:Report",
    "run": "dermdistill.run:TrainedHeader",
    "splits": "dermdistill.data.spec:SplitsFile",
}
"""Each schema's name and the model that it describes."""
KEYS = Path("docs") / "reference" / "recipe.md"
_START, _END = "<!-- recipe keys: `make schemas` writes them -->", "<!-- /recipe keys -->"


def load_model(path: str) -> type[BaseModel]:
    """The model behind `module:name`."""
    module, _, name = path.partition(":")
    model: type[BaseModel] = getattr(import_module(module), name)
    return model


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstring below each field, its own and inherited ones, on one line."""
    docs: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if not issubclass(one, BaseModel) or one is BaseModel:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, below in itertools.pairwise(statements):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(below):
                docs[field.target.id] = " ".join(below.value.value.split())  # type: ignore[attr-defined]
    return docs


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type is made of, without those inside them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def all_models(model: type[BaseModel], place: str = "") -> dict[type[BaseModel], list[str]]:
    """A model and all inside it, each with the places where it stands, such as `students.train`."""
    places: dict[type[BaseModel], list[str]] = {model: [place]}
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            for one, where in all_models(inner, f"{place}.{name}".strip(".")).items():
                places.setdefault(one, []).extend(item for item in where if item not in places[one])
    return places


def json_schema(name: str, model: type[BaseModel]) -> str:
    """A model's JSON schema with the docstrings of its fields as descriptions."""
    schema = model.model_json_schema()
    definitions = {model.__name__: schema, **schema.get("$defs", {})}
    for one in all_models(model):
        docs = field_docs(one)
        for key, entry in definitions.get(one.__name__, {}).get("properties", {}).items():
            if key in docs:
                entry.setdefault("description", docs[key])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{name}.schema.json"}
    return json.dumps({**head, **schema}, indent=2, ensure_ascii=False) + "\n"


def recipe_keys(model: type[BaseModel]) -> str:
    """The reference of a recipe's keys as Markdown: a section for each table of the TOML file."""
    parts = []
    for one, places in all_models(model).items():
        title = " and ".join(f"`{place}`" for place in places) if places != [""] else "Top level"
        about = " ".join(inspect.cleandoc(one.__doc__ or "").split())
        parts += [f"## {title}", about, "\n".join(_rows(one))]
    return "\n\n".join(parts)


def _rows(model: type[BaseModel]) -> list[str]:
    docs = field_docs(model)
    properties = model.model_json_schema()["properties"]
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _value(field.get_default(call_default_factory=True))
        lines.append(f"| `{name}` | {_type(properties[name])} | {default} | {docs.get(name, '')} |")
    return lines


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, tuple):
        return f"`{json.dumps(list(value))}`"
    return f"`{json.dumps(value)}`"


def _type(entry: dict[str, Any]) -> str:
    """A property of a JSON schema in words."""
    if "anyOf" in entry:
        return " or ".join(_type(one) for one in entry["anyOf"] if one.get("type") != "null")
    if "enum" in entry:
        return ", ".join(f"`{json.dumps(one)}`" for one in entry["enum"])
    if "const" in entry:
        return f"`{json.dumps(entry['const'])}`"
    if entry.get("type") == "array":
        items = entry.get("items") or {}
        return f"list of {_type(items)}" if items else f"{len(entry['prefixItems'])} numbers"
    if "$ref" in entry or entry.get("type") == "object":
        return "table"
    return " ".join([{"string": "text", "boolean": "true or false"}.get(entry["type"], entry["type"]), *_bounds(entry)])


def _bounds(entry: dict[str, Any]) -> list[str]:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    shown = [f"{sign} {entry[key]:g}" for key, sign in words.items() if key in entry and entry[key] != 2**31]
    return [", ".join(shown)] if shown else []


def outputs(root: Path) -> dict[Path, str]:
    """Every file that this module derives, with its content.

    Raises:
        InputError: the page of the recipe's keys has lost its marks.
    """
    folder = root / "docs" / "schemas"
    made = {folder / f"{name}.schema.json": json_schema(name, load_model(path)) for name, path in REGISTRY.items()}
    text = (root / KEYS).read_text(encoding="utf-8")
    if _START not in text or _END not in text:
        raise InputError(f"{KEYS} needs the marks {_START} and {_END} around the recipe's keys")
    before, after = text.split(_START)[0], text.split(_END)[1]
    made[root / KEYS] = f"{before}{_START}\n\n{recipe_keys(load_model(REGISTRY['recipe']))}\n\n{_END}{after}"
    return made


def main(arguments: list[str] | None = None) -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_root(parser)
    root = find_root(parser.parse_args(arguments).root)
    for path, content in outputs(root).items():
        write_text(path, content)
        print(path.relative_to(root))


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
