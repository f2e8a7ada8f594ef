"""Imports point from the upper rooms to the lower ones, whether at the top of a module or inside a function."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "dermdistill"
ROOMS = (
    (
        "classes",
        "errors",
        "files",
        "licences",
        "privacy",
        "remote",
        "talk",
        "threads",
        "version",
        "specs",
        "run",
        "probabilities",
    ),
    ("images",),
    ("networks",),
    ("data",),
    ("training",),
    ("distillation",),
    ("evaluate",),
    ("predict",),
    ("export",),
    ("recipe",),
    ("serve",),
    ("khan2022",),
    ("publish",),
    ("bench",),
    ("__init__", "api", "doctor"),
    ("cli",),
    ("__main__",),
)
"""From bottom to top; a module may import those of its own room and of the rooms before it. `__init__` and `api` are
the public API, above the rooms whose names they offer; a test knows no exception."""

HEAVY = {"torch", "torchvision", "timm", "lightning_fabric", "pandas", "pyarrow", "sklearn", "scipy"}
MODULES = {
    ".".join(("dermdistill", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


@cache
def imported(module: str, *, nested: bool, types: bool = False) -> frozenset[str]:
    """The modules that a module imports: ours by their full names, others by their package's.

    Args:
        module: one of ours.
        nested: those inside functions too, which are imported when the function is called.
        types: those that are imported for type checkers alone, too.
    """
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in _statements(tree, nested, types):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            if node.level:
                raise ValueError(f"{module} uses a relative import in line {node.lineno}")
            names = {f"{node.module}.{alias.name}" for alias in node.names}
        found |= {_known(name) for name in names}
    return frozenset(found - {module})


def _statements(node: ast.AST, nested: bool, types: bool):
    for child in ast.iter_child_nodes(node):
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        checked = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (later and not nested) and not (checked and not types):
            yield from _statements(child, nested, types)


def _known(name: str) -> str:
    if name.split(".")[0] != "dermdistill":
        return name.split(".")[0]
    while name not in MODULES:  # a class or function of a module
        name = name.rpartition(".")[0]
    return name


def reached(module: str) -> dict[str, tuple[str, ...]]:
    """What is imported together with a module, each with the way there; packages of ours import their `__init__`."""
    ways: dict[str, tuple[str, ...]] = {module: (module,)}
    waiting = [module]
    while waiting:
        here = waiting.pop()
        if here not in MODULES:
            continue
        parents = {here.rsplit(".", depth)[0] for depth in range(1, here.count(".") + 1)} & set(MODULES)
        for name in imported(here, nested=False) | parents:
            if name not in ways:
                ways[name] = (*ways[here], name)
                waiting.append(name)
    return ways


def room(module: str) -> int:
    """The place of a module's room in the order."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else "__init__"
    (place,) = [number for number, names in enumerate(ROOMS) if name in names] or [None]
    assert place is not None, f"{module} belongs to no room; give it one in ROOMS"
    return place


def heavy(module: str, packages: set[str] = HEAVY) -> str:
    """The ways from a module to packages that its users need not have."""
    return "\n".join(" -> ".join(way) for name, way in reached(module).items() if name in packages)


def of(*names: str) -> list[str]:
    """The modules of some rooms."""
    return [module for module in MODULES if module.split(".")[1:2] and module.split(".")[1] in names]


def test_no_import_points_to_a_room_further_up():
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imported(module, nested=True, types=True)
        if name in MODULES and room(name) > room(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_there_is_no_cycle():
    """Not even through imports inside functions, nor through those for type checkers."""
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module in done or module not in MODULES:
            return
        for name in sorted(imported(module, nested=True, types=True)):
            visit(name, (*way, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", [*of("predict", "serve"), "dermdistill.publish.models"])
def test_predicting_reaches_only_what_the_core_install_has(module: str):
    allowed = set(sys.stdlib_module_names) | {
        "google",
        "numpy",
        "onnxruntime",
        "PIL",
        "pydantic",
        "rich",
        "simplejpeg",
        "typer",
    }
    if module.startswith("dermdistill.serve"):
        allowed |= {"fastapi", "starlette", "uvicorn", "anyio", "prometheus_client"}
    foreign = {name for name in reached(module) if name not in MODULES} - allowed
    assert not foreign, heavy(module, foreign)


@pytest.mark.parametrize("module", of("images"))
def test_images_reach_torch_only_where_views_are_rendered(module: str):
    rendering = module.rsplit(".", 1)[-1] in ("render", "effects")
    assert not heavy(module, HEAVY - {"torch"} if rendering else HEAVY)


@pytest.mark.parametrize("module", of("evaluate"))
def test_evaluating_reaches_no_torch(module: str):
    assert not heavy(module, {"torch", "torchvision", "timm", "lightning_fabric"})


@pytest.mark.parametrize(
    "module",
    [
        *(name for name in MODULES if name.endswith(".spec")),
        *(f"dermdistill.recipe.{name}" for name in ("actions", "checks", "plan", "run", "stage", "state", "work")),
        "dermdistill.networks.registry",
    ],
)
def test_specs_and_plans_need_neither_torch_nor_pandas(module: str):
    assert not heavy(module)


@pytest.mark.parametrize("module", of("cli"))
def test_the_command_line_imports_nothing_heavy_at_the_top(module: str):
    allowed = set(sys.stdlib_module_names) | {"typer", "click", "rich", "dermdistill"}
    foreign = {name for name in imported(module, nested=False) if name not in MODULES} - allowed
    assert not foreign


@pytest.mark.parametrize("module", ["dermdistill.networks.trunk", "dermdistill.distillation.teach"])
def test_a_teacher_does_not_reach_the_students_by_a_back_door(module: str):
    ways = reached(module)
    assert "dermdistill.distillation.distill" not in ways
    assert "dermdistill.distillation.bank" not in ways
    assert module == "dermdistill.distillation.teach" or "dermdistill.networks.registry" not in ways
