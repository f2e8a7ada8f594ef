"""README and docs: links lead somewhere, commands and imports exist, every recipe key is explained."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHELL = {"sh", "bash", "shell", "console"}

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


def find_command(words: list[str]) -> tuple[click.Command, list[str], str]:
    """Walk from the root command down to the one that the words name."""
    command: click.Command = typer.main.get_command(__import__("dermdistill.cli", fromlist=["app"]).app)
    name, rest = "dermdistill", words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        below = command.commands.get(rest[0])
        if below is None:
            raise click.UsageError(f"'{name}' has no command '{rest[0]}'")
        command, name, rest = below, f"{name} {rest[0]}", rest[1:]
    return command, rest, name


def parse_shown(line: str, *, complete: bool) -> None:
    """Parse a command line as click does, without running it.

    Raises:
        click.UsageError: an unknown command or option, a missing value, a choice that does not exist, or, for
            `complete` lines, a missing argument.
    """
    words = shlex.split(re.sub(r"\s[<>].*$", "", line), comments=True)
    command, rest, name = find_command(words)
    context = click.Context(command, info_name=name)
    values, _, _ = command.make_parser(context).parse_args(rest)
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if complete and parameter.required and value is None:
            raise click.UsageError(f"'{name}' needs {parameter.human_readable_name}")
        if isinstance(parameter.type, click.Choice) and isinstance(value, str):
            parameter.type.convert(value, parameter, context)
    if complete and isinstance(command, click.Group) and not rest:
        raise click.UsageError(f"'{name}' is not a whole command")


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path):
    assert broken_links(path) == []


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_shown_commands_exist(path: Path):
    wrong = []
    for complete, lines in ((True, shown_commands(path)), (False, mentioned_commands(path))):
        for line in lines:
            try:
                parse_shown(line, complete=complete)
            except click.UsageError as error:
                wrong.append(f"{line}: {error.format_message()}")
    assert not wrong, "\n".join(wrong)


def test_an_option_that_does_not_exist_is_found():
    with pytest.raises(click.NoSuchOption, match="--no-such-option"):
        parse_shown("dermdistill predict photo.jpg --no-such-option", complete=True)
    with pytest.raises(click.UsageError, match="no command 'divine'"):
        parse_shown("dermdistill divine photo.jpg", complete=True)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_python_examples_import_what_exists(path: Path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dermdistill"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_pages_of_docs_can_be_reached(path: Path):
    """Each page of docs/ is linked from docs/README.md."""
    index = ROOT / "docs" / "README.md"
    if path.parent == ROOT or path == index:
        return
    linked = {(index.parent / one.partition("#")[0]).resolve() for one, _ in _LINK.findall(prose(index)) if one}
    assert path in linked


def test_every_recipe_key_is_in_the_reference():
    from pydantic import BaseModel

    from dermdistill import config
    from dermdistill.data.augment import ViewSpec
    from dermdistill.student.losses import LossSpec

    text = (ROOT / "docs" / "reference" / "recipe.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE))
    specs = [one for one in vars(config).values() if isinstance(one, type) and issubclass(one, BaseModel)]
    keys = {key for one in (*specs, ViewSpec, LossSpec) for key in one.model_fields}
    assert keys - rows == set(), "recipe keys that docs/reference/recipe.md does not explain"
    assert rows - keys == set(), "docs/reference/recipe.md explains keys that do not exist"


def test_toml_examples_fit_the_schema(tmp_path: Path):
    """A TOML block that names a recipe is a whole one and loads."""
    from dermdistill.config import load_recipe

    for path in PAGES:
        for number, block in enumerate(blocks(path, "toml")):
            if re.search(r"^name = ", block, re.MULTILINE) and "[[students]]" in block and "[[teachers]]" in block:
                file = tmp_path / f"{path.stem}-{number}.toml"
                file.write_text(block, encoding="utf-8")
                load_recipe(file)
