"""A stage of a recipe: what decides its result, how it stands, and how it is run. No torch, no pandas."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dermdistill.errors import InputError
from dermdistill.files import sha256_json
from dermdistill.run import UNKNOWN, Change

if TYPE_CHECKING:
    from dermdistill.recipe.session import Session

Kind = Literal["data", "split", "teach", "soften", "distill", "evaluate", "export"]
Standing = Literal["done", "to do", "differs"]


@dataclass(frozen=True)
class State:
    """How a stage stands."""

    standing: Standing
    changes: tuple[Change, ...] = ()
    """The keys that changed since its result was made."""


DONE, TO_DO = State("done"), State("to do")


@dataclass(frozen=True)
class Stage:
    """One step from images to bundle."""

    kind: Kind
    name: str
    """Of the stage: 'teach NAME', with the part of the recipe where there are several: 'teach NAME (fold-0)'."""
    model: str
    """The name of the teacher or student; empty where it is of none."""
    asks: Callable[[], dict[str, Any]]
    """All that decides its result, as far as earlier stages have made it."""
    outputs: tuple[Path, ...]
    """The files and folders that it makes."""
    needs: tuple[str, ...]
    """The names of the stages whose results it uses."""
    look: Callable[[], State]
    """How it stands now."""
    run: "Callable[[Session], str]"
    """Carry it out, or go on with it; returns a line that says what came out."""
    everywhere: bool = False
    """Whether every process takes part, or the first alone."""
    grows: bool = False
    """Whether its result takes up what is new, and need not be made anew when an earlier stage is."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides its result, as far as earlier stages have made it."""
        return self.asks()

    @property
    def sha256(self) -> str | None:
        """The identity's hash; None until the earlier stages have made what it rests on."""
        identity = self.identity
        return None if _is_open(identity) else sha256_json(identity)


def _is_open(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_open, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_is_open, value))
    return value is UNKNOWN


def refuse(stages: list[tuple[Stage, State]]) -> None:
    """Refuse to go on where a finished result is another one than the recipe asks for.

    Raises:
        InputError: with each such stage, the keys that changed, and what to do.
    """
    different = [(stage, state) for stage, state in stages if state.standing == "differs"]
    if different:
        lines = [f"  {stage.name}: {'; '.join(map(str, state.changes))}" for stage, state in different]
        raise InputError(
            "what was made before is never taken for what the recipe asks for now, nor replaced in silence:\n"
            + "\n".join(lines)
            + "\n"
            + mend(different[0][0])
        )


def mend(stage: Stage) -> str:
    """What to do about a stage that differs."""
    return (
        f"choose another --out, or make it anew with `dermdistill run RECIPE --redo '{stage.name}'`, "
        "which moves the old result aside and does again what depends on it"
    )


def set_aside(path: Path) -> Path | None:
    """Move a result to `NAME.before-1`, or the next number that is free.

    Returns:
        Where it lies now; None if there was nothing.
    """
    if not path.exists():
        return None
    number = 1
    while (target := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    return path.rename(target)
