"""How stages stand, read from what lies in the work folder. No torch, no pandas."""

from pathlib import Path
from typing import Any

from pydantic import Field

from dermdistill.data.spec import SplitsFile, SplitSpec
from dermdistill.distillation.identity import in_todays_form
from dermdistill.files import sha256_file, sha256_json, write_json
from dermdistill.recipe.stage import DONE, TO_DO, State
from dermdistill.run import ABSENT, Change, Run, changes
from dermdistill.specs import Header, load_header


class Marker(Header):
    """stages/NAME.json: what a finished stage was made from."""

    stage: str
    identity: str
    """SHA-256 of the identity's values."""
    content: dict[str, Any] | None = None
    """The identity; markers of earlier versions have only its hash."""
    outputs: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the files that must stay as they were."""


def marker_path(folder: Path, stage: str) -> Path:
    """Where the work folder notes that a stage is done."""
    return folder / "stages" / f"{stage}.json"


def mark(folder: Path, stage: str, identity: dict[str, Any], *fixed: Path) -> None:
    """Note that a stage is done.

    Args:
        folder: the work folder.
        stage: the stage's name, as a file's.
        identity: what decided its result.
        fixed: files that must stay as they are.
    """
    content = {
        "stage": stage,
        "identity": _hash(identity),
        "content": identity,
        "outputs": {path.name: sha256_file(path) for path in fixed},
    }
    write_json(marker_path(folder, stage), content)


def _hash(identity: dict[str, Any]) -> str:
    return sha256_json(list(identity.values()))  # as in the markers of earlier versions


def marked_state(folder: Path, stage: str, identity: dict[str, Any], output: Path, *, remade: bool) -> State:
    """How a stage with a marker stands.

    Args:
        folder: the work folder.
        stage: the stage's name, as a file's.
        identity: what decides its result now.
        output: the file that it makes last.
        remade: whether a result of another identity is replaced without a question, being cheap to make.
    """
    if not output.exists():
        return TO_DO
    path = marker_path(folder, stage)
    if not path.exists():
        return TO_DO if remade else State("differs", (Change(stage, ABSENT, "what the recipe asks for"),))
    marker = load_header(path, Marker)
    if marker.identity != _hash(identity):
        found = tuple(changes(marker.content, identity)) if marker.content else ()
        found = found or (Change(stage, f"another one ({marker.identity[:12]})", _hash(identity)[:12]),)
        return State("to do" if remade else "differs", found)
    edited = [
        Change(f"the file {name}", sha256[:12], sha256_file(output.parent / name)[:12])
        for name, sha256 in marker.outputs.items()
        if (output.parent / name).exists() and sha256_file(output.parent / name) != sha256
    ]
    return State("differs", tuple(edited)) if edited else DONE


def split_state(path: Path, spec: SplitSpec) -> State:
    """How the frozen splits stand."""
    if not path.exists():
        return TO_DO
    header, asked = load_header(path, SplitsFile), split_identity(spec)
    made = {"split": {key: header.sha256 if key == "file" else header.rule.get(key) for key in asked["split"]}}
    found = tuple(changes(made, asked))
    return State("differs", found) if found else DONE


def split_identity(spec: SplitSpec) -> dict[str, Any]:
    """What decides the splits, besides the manifest: the rule, or the hash of frozen ones."""
    if spec.file is None:
        return {"split": {"folds": spec.folds, "seed": spec.seed}}
    file = Path(spec.file)
    return {"split": {"file": load_header(file, SplitsFile).sha256 if file.is_file() else "missing"}}


def run_state(folder: Path, identity: dict[str, Any]) -> State:
    """How a training stands; a run of another identity that has learned something is never replaced."""
    run = Run(folder)
    if not run.header_path.exists():
        return TO_DO
    found = tuple(changes(in_todays_form(run.load()), identity))
    if found:
        return State("differs" if run.has_learned() else "to do", found)
    return DONE if run.is_complete() else TO_DO


def file_hash(path: Path) -> str | None:
    """The SHA-256 of a file, None if it is not there."""
    return sha256_file(path) if path.exists() else None
