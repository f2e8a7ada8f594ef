"""README, docs and results pages: links lead somewhere, commands exist, examples run, figures are those of the JSON."""

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from dermdistill.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("results/**/README.md")])
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
    if "--install-completion" in words:
        raise UsageError("--install-completion acts as soon as it is parsed: it changes the start-up file of the shell")
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
def test_pages_of_docs_can_be_reached(path: Path):
    """Each page is linked from docs/README.md, those of results from docs/results/README.md, and stands in the site."""
    if path.parent == ROOT:
        return
    index = ROOT / "docs" / ("results" if path.is_relative_to(ROOT / "results") else "") / "README.md"
    targets = [one.partition("#")[0] for one, _ in _LINK.findall(prose(index))]
    assert path == index or path in {(index.parent / target).resolve() for target in targets}
    place = path.relative_to(ROOT / "docs" if path.is_relative_to(ROOT / "docs") else ROOT).as_posix()
    assert f"{place}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_schemas_and_recipe_keys_are_those_of_the_models():
    from dermdistill.publish.schemas import outputs

    made = outputs(ROOT)
    old = [str(path) for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    assert not old, "run `make schemas`"
    assert set((ROOT / "docs" / "schemas").iterdir()) == {path for path in made if path.suffix == ".json"}


def test_every_recipe_key_is_explained():
    from dermdistill.publish.schemas import all_models, field_docs
    from dermdistill.recipe.spec import Recipe

    without = [
        f"{model.__name__}.{key}"
        for model in all_models(Recipe)
        for key in set(model.model_fields) - set(field_docs(model))
    ]
    assert not without, "recipe keys without a docstring below the field"


BASE: dict[str, Any] = {
    "name": "base", "data": {"sources": [{"path": "ham10000"}]},
    "teachers": [{"name": "teacher"}], "students": [{"name": "student"}],
}  # fmt: skip
"""What completes a block that shows a few tables of a recipe."""


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path, "toml")], ids=page_id)
def test_toml_examples_fit_the_schema(path: Path):
    from dermdistill.recipe.spec import Recipe

    for block in blocks(path, "toml"):
        Recipe.model_validate({**BASE, **tomllib.loads(block)})


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path, "python")], ids=page_id)
def test_python_examples_run(path: Path, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each page's blocks in order, in a folder with pictures and bundles at the places that they name."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DERMDISTILL_CACHE", str(tmp_path / "cache"))
    for name in ("photo.jpg", "a.jpg", "b.png"):
        Image.new("RGB", (600, 450), (222, 184, 160)).save(name)
    for place in ("bundle", "work/ham10000/bundles/lite0-cut-kd"):
        shutil.copytree(trained.bundle, place)
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks(path, "python")):
        exec(compile(block, f"{page_id(path)}, Python block {number + 1}", "exec"), names)  # noqa: S102


def test_every_command_is_in_the_reference():
    def walk(command: Any, name: str) -> list[str]:
        below = getattr(command, "commands", None)
        if below is None:
            return [name]
        return [leaf for word, one in below.items() for leaf in walk(one, f"{name} {word}")]

    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    missing = [name for name in walk(typer.main.get_command(app), "dermdistill") if f"`{name}" not in text]
    assert not missing, "commands that docs/reference/cli.md does not list"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_shows_the_figures_of_the_results():
    """`python -m dermdistill.publish.front` writes table and chart; neither may be edited alone."""
    from dermdistill.evaluate.document import load_report
    from dermdistill.publish import front

    readme, rows = (ROOT / "README.md").read_text(encoding="utf-8"), front.rows(ROOT)
    assert front.table(rows) in readme
    comparison = load_report(ROOT / "results" / "comparison" / "report.json")
    chart = (ROOT / front.CHART).read_text(encoding="utf-8")
    assert front.figures(rows, comparison) in chart, "the chart shows other figures; write it again"
    header = json.loads((front.shipped_bundle(ROOT) / "bundle.json").read_text(encoding="utf-8"))
    figures = json.loads((front.shipped_bundle(ROOT) / "figures.json").read_text(encoding="utf-8"))
    release = json.loads((ROOT / "results" / figures["recipe"] / "report.json").read_text(encoding="utf-8"))
    name, model = header["name"], header["model"]
    words = " ".join(readme.split())
    assert f"each of {model['parameters']:,} parameters: `{name}`, the default" in words
    assert f"which takes {model['macs'] / 1e6:.0f} million multiply-accumulates" in words
    assert f"rest on manifest `{release['data']['manifest_sha256'][:16]}`" in words


@pytest.mark.parametrize("folder", sorted(path.parent for path in ROOT.glob("results/*/table.md")), ids=page_id)
def test_results_pages_are_those_of_the_results(folder: Path):
    """`python -m dermdistill.publish.results --pages` writes them."""
    from dermdistill.publish.page import page

    assert (folder / "README.md").read_text(encoding="utf-8") == page(folder)


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = pytest.importorskip("mkdocs.config")
    from mkdocs.commands.build import build

    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    build(config.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True))
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert tmp_path / "site" / "results" / "release" / "index.html" in pages
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?https?://[^\"' >]*")
    for page in pages:
        if page.name != "report.html":
            assert loads.findall(page.read_text(encoding="utf-8")) == [], page
