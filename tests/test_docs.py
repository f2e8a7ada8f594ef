"""README and docs: links lead somewhere, commands and imports exist, every recipe key is explained."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from dermdistill.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHELL = {"sh", "bash", "shell", "console"}
UsageError: Any = typer.BadParameter.__mro__[1]
"""click's, or that of the click that newer releases of typer carry inside."""

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in some languages."""
    text = path.read_text(encoding="utf-8")
    return [body for language, body in _FENCE.findall(text) if language in languages]


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def anchor(heading: str) -> str:
    """The anchor that hosting platforms give to a heading."""
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return words.replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)}


def broken_links(path: Path) -> list[str]:
    broken = []
    for pair in _LINK.findall(prose(path)):
        target = pair[0] or pair[1]
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        inside = there.is_relative_to(ROOT)
        if not inside or not there.exists() or (fragment and fragment not in anchors(there)):
            broken.append(target)
    return broken


def shown_commands(path: Path) -> list[str]:
    """Every `dermdistill …` line of the shell blocks, continuation lines joined."""
    found = []
    for block in blocks(path, *SHELL):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            for part in re.split(r"\s(?:\||&&|;)\s", line):
                if part.startswith("dermdistill "):
                    found.append(part)
    return found


def mentioned_commands(path: Path) -> list[str]:
    """Every `dermdistill …` in backticks in running text; these need not be complete."""
    spans = re.findall(r"`(dermdistill [^`]+)`", prose(path))
    return [span.removesuffix("…").strip() for span in spans]


def parse(line: str, *, complete: bool) -> None:
    """Parse a command line as the `dermdistill` command does, without running it.

    Raises:
        UsageError: an unknown command or option; for `complete` lines also a missing value or one that does
            not fit.
            That a file does not exist is no error here.
    """
    words = shlex.split(re.sub(r"\s[<>].*$", "", line), comments=True)[1:]
    command: Any = typer.main.get_command(app)
    names = ["dermdistill"]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        names.append(words.pop(0))
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        raise UsageError(f"'{' '.join(names)}' has no command '{words[0]}'")
    try:
        # --help is looked at before what is missing, but after what is unknown
        command.make_context(" ".join(names), words if complete else [*words, "--help"])
    except typer.Exit:
        pass
    except UsageError as error:
        if "does not exist" not in error.format_message():
            raise


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path):
    assert broken_links(path) == []


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_shown_commands_exist(path: Path):
    wrong = []
    for complete, lines in ((True, shown_commands(path)), (False, mentioned_commands(path))):
        for line in lines:
            try:
                parse(line, complete=complete)
            except UsageError as error:
                wrong.append(f"{line}: {error.format_message()}")
    assert not wrong, "\n".join(wrong)


def test_an_option_that_does_not_exist_is_found():
    for complete in (True, False):
        with pytest.raises(UsageError, match="--no-such-option"):
            parse("dermdistill run recipe.toml --no-such-option", complete=complete)
    with pytest.raises(UsageError, match="no command 'divine'"):
        parse("dermdistill divine photo.jpg", complete=True)
    with pytest.raises(UsageError, match=r"(?i)missing.*recipe"):
        parse("dermdistill run", complete=True)
    parse("dermdistill run", complete=False)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_python_examples_import_what_exists(path: Path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dermdistill"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    below = f"{node.module}.{alias.name}"
                    known = hasattr(module, alias.name) or importlib.util.find_spec(below) is not None
                    assert known, f"{node.module} has no {alias.name}"


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_pages_of_docs_can_be_reached(path: Path):
    """Each page of docs/ is linked from docs/README.md."""
    index = ROOT / "docs" / "README.md"
    if path.parent == ROOT or path == index:
        return
    targets = [one.partition("#")[0] for one, _ in _LINK.findall(prose(index))]
    assert path in {(index.parent / target).resolve() for target in targets}


def test_every_recipe_key_is_in_the_reference():
    from pydantic import BaseModel

    from dermdistill.recipe.spec import Recipe

    text = (ROOT / "docs" / "reference" / "recipe.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE))
    specs: set[type[BaseModel]] = set()

    def collect(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in specs:
            specs.add(annotation)
            for field in annotation.model_fields.values():
                collect(field.annotation)
        for inner in get_args(annotation):
            collect(inner)

    collect(Recipe)
    keys = {key for one in specs for key in one.model_fields}
    assert keys - rows == set(), "recipe keys that docs/reference/recipe.md does not explain"
    assert rows - keys == set(), "docs/reference/recipe.md explains keys that do not exist"


def test_toml_examples_fit_the_schema(tmp_path: Path):
    """A TOML block with teachers and students is a whole recipe and loads."""
    from dermdistill.recipe.spec import load_recipe

    for path in PAGES:
        for number, block in enumerate(blocks(path, "toml")):
            if "[[teachers]]" in block and "[[students]]" in block:
                file = tmp_path / f"{path.stem}-{number}.toml"
                file.write_text(block, encoding="utf-8")
                load_recipe(file)


def test_every_command_is_in_the_reference():
    def walk(command: Any, name: str) -> list[str]:
        below = getattr(command, "commands", None)
        if below is None:
            return [name]
        return [leaf for word, one in below.items() for leaf in walk(one, f"{name} {word}")]

    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    missing = [name for name in walk(typer.main.get_command(app), "dermdistill") if f"`{name}" not in text]
    assert not missing, "commands that docs/reference/cli.md does not list"
