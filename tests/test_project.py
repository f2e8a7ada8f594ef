"""What holds for the project as a whole: dependencies, imports, start-up, size of files."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "dermdistill"
CORE = {"numpy", "onnxruntime", "pillow", "protobuf", "pydantic", "rich", "simplejpeg", "typer"}
HEAVY = ("torch", "torchvision", "timm", "lightning_fabric", "pandas", "pyarrow", "sklearn", "scipy")

LARGEST_FILE = 2 * 2**20
LARGER = {"src/dermdistill/serve/page/engine.wasm.gz": 4 * 2**20}
"""The runtime of the page, packed."""


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normal(requirement: str) -> str:
    """The name in a requirement, in the form that package indexes compare."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    if name is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def imports(path: Path) -> set[str]:
    """The modules that a file imports anywhere but for type checkers alone, `from a import b` as both 'a' and 'a.b'."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for_types = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    unseen = {inner for block in for_types for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if node in unseen:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path} uses a relative import in line {node.lineno}")
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_the_core_needs_neither_torch_nor_pandas():
    assert {normal(requirement) for requirement in project()["project"]["dependencies"]} == CORE


def test_the_lock_file_holds_what_pyproject_asks_for():
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (own,) = [package for package in lock["package"] if package["name"] == "dermdistill"]
    asked = project()["project"]

    def own_extras(requirements: list[str]) -> set[str]:
        """The requirements, those of extras of dermdistill itself included."""
        names: set[str] = set()
        for requirement in requirements:
            if normal(requirement) == "dermdistill":
                extras = requirement[requirement.index("[") + 1 : requirement.index("]")].split(",")
                for extra in extras:
                    names |= own_extras(asked["optional-dependencies"][extra.strip()])
            else:
                names.add(normal(requirement))
        return names

    assert {item["name"] for item in own["dependencies"]} == CORE
    for extra, requirements in asked["optional-dependencies"].items():
        locked = {item["name"] for item in own["optional-dependencies"][extra]}
        assert locked == own_extras(requirements), extra
    assert {"pytest", "ruff", "mypy", "pre-commit"} <= own_extras(asked["optional-dependencies"]["dev"])
    specifiers = {(item["name"], item.get("specifier", "")) for item in own["metadata"]["requires-dist"]}
    for requirement in asked["dependencies"]:
        name = normal(requirement)
        bound = requirement[len(re.match(r"[A-Za-z0-9._-]+", requirement)[0]) :].strip()  # type: ignore[index]
        assert (name, bound) in specifiers, f"uv.lock was made from another bound than {requirement}"


def test_what_people_expect_of_a_repository_is_there():
    def text(name: str) -> str:
        return (ROOT / name).read_text(encoding="utf-8")

    assert "Apache License" in text("LICENSE")
    assert project()["project"]["license"] == "Apache-2.0"
    assert project()["project"]["requires-python"] == ">=3.11"
    assert "doi: 10.1016/j.compbiomed.2022.105581" in text("CITATION.cff")
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "uv.lock"):
        assert text(name).strip(), name
    lock = tomllib.loads(text("uv.lock"))
    (ruff,) = [package["version"] for package in lock["package"] if package["name"] == "ruff"]
    assert f"ruff-pre-commit\n    rev: v{ruff}\n" in text(".pre-commit-config.yaml"), "pre-commit has another ruff"


def test_ci_runs_every_check():
    """Lint, types, tests, docs, the wheel, and a bare install of it that predicts."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    steps = ("make lint", "make types", "make test", "make docs", "build_wheel", "install_wheel", ".ci/smoke.py")
    for step in steps:
        assert re.search(rf'^(run|beside) "[^"]+" .*{re.escape(step)}$', script, re.MULTILINE), step
    assert script.count("\nbeside ") == script.count("\nbeside_done\n") == 1
    assert "set -euo pipefail" in script


def test_ci_installs_each_extra_and_runs_what_it_is_for():
    script = (ROOT / ".ci" / "extras.py").read_text(encoding="utf-8")
    tables = {node.targets[0].id if isinstance(node, ast.Assign) else node.target.id: node.value  # type: ignore[attr-defined, union-attr]
              for node in ast.parse(script).body if isinstance(node, ast.Assign | ast.AnnAssign)}  # fmt: skip
    checked, elsewhere = ({key.value for key in tables[name].keys} for name in ("CHECKS", "ELSEWHERE"))  # type: ignore[union-attr]
    assert checked | elsewhere == set(project()["project"]["optional-dependencies"])
    assert ".ci/extras.py" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"extra: \[(.*)\]", (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert set(matrix.split(", ")) == checked


def test_a_release_is_published_without_a_password_and_only_from_a_tag():
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    publish = workflow.split("\n  publish:\n")[1]
    assert "if: github.event_name == 'push' && github.ref_type == 'tag'" in publish
    assert "id-token: write" in publish
    assert "id-token" not in workflow.split("\n  publish:\n")[0]
    assert "secrets." not in workflow
    build = workflow.split("\n  build:\n")[1].split("\n  publish:\n")[0]
    audit = build.split("      - name: No known vulnerability in the locked versions\n")[1].split("\n      - name:")[0]
    assert "continue-on-error: ${{ github.ref_type != 'tag' }}\n" in audit, "a tag must not pass with one"
    assert "uv tool run pip-audit --requirement locked.txt" in audit
    assert "needs: build" in publish


def test_the_versions_agree():
    version = project()["project"]["version"]
    assert f'__version__ = "{version}"' in (SOURCE / "version.py").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"{version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_missing_package_is_told_with_the_extra_that_brings_it():
    """Whatever is imported anywhere is in the core, or the command names the extra to install."""
    from dermdistill.cli import EXTRA_OF

    core = {"PIL", "google", "numpy", "onnxruntime", "pydantic", "rich", "simplejpeg", "typer", "dermdistill"}
    used = {name.split(".")[0] for path in sorted(SOURCE.rglob("*.py")) for name in imports(path)}
    assert used - set(sys.stdlib_module_names) - core - set(EXTRA_OF) == set()
    assert set(EXTRA_OF.values()) <= set(project()["project"]["optional-dependencies"])


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["data", "show", "m.csv"], "data"),
        (["data", "fetch", "ham10000"], "fetch"),
        (["serve"], "serve"),
        (["students"], "train"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_command_without_its_extra_says_what_to_install(tmp_path: Path, arguments: list[str], extra: str):
    code = (
        "import sys\n"
        "from dermdistill.cli import EXTRA_OF, main\n"
        "sys.modules.update(dict.fromkeys(EXTRA_OF))\n"  # None there: as if it were not installed
        f"sys.argv = ['dermdistill', *{arguments!r}]\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"pip install 'dermdistill[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def loaded_modules(arguments: list[str]) -> set[str]:
    """The modules that a fresh process has imported when a `dermdistill` command has ended well."""
    code = (
        "import json, sys\n"
        "from dermdistill.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["data", "--help"], ["predict", "--help"]], ids=" ".join)
def test_help_loads_no_heavy_module(arguments: list[str]):
    assert not loaded_modules(arguments) & {*HEAVY, "onnxruntime", "numpy", "PIL"}


def test_predict_loads_no_heavy_module(tmp_path: Path):
    from PIL import Image

    Image.new("RGB", (64, 48), (200, 160, 140)).save(tmp_path / "skin.png")
    assert not loaded_modules(["predict", str(tmp_path / "skin.png"), "--gate", "judge"]) & set(HEAVY)


def repository_files() -> list[Path]:
    """What is, or would be, in the repository."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_is_large():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in repository_files()}
    assert {name: size for name, size in sizes.items() if size > LARGER.get(name, LARGEST_FILE)} == {}


def test_the_results_are_small_and_tensors_lie_only_with_what_ships():
    results = [path for path in repository_files() if path.is_relative_to(ROOT / "results")]
    assert sum(path.stat().st_size for path in results) < 10e6
    tensors = [path for path in repository_files() if path.suffix in {".safetensors", ".onnx", ".pt", ".pth", ".npy"}]
    assert [str(path) for path in tensors if not path.is_relative_to(SOURCE / "weights")] == []


def test_nothing_unpickles():
    """Tensors come from safetensors, arrays from files without objects."""
    calls = re.compile(r"\bpickle\.loads?\(|allow_pickle\s*=\s*True|weights_only\s*=\s*False|joblib\.load\(")
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not calls.search(text), path.relative_to(SOURCE)
        for call in re.findall(r"torch\.load\([^\n]*", text):
            assert "weights_only=True" in call, f"{path.relative_to(SOURCE)}: {call}"


def test_the_two_commands_of_the_readme_are_what_ci_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "- run: make coverage\n" in workflow
    of = {target: re.search(rf"^{target}: .*\n\t(.*)", makefile, re.MULTILINE)[1] for target in ("test", "coverage")}  # type: ignore[index]
    assert of["coverage"].startswith(of["test"]), "coverage is measured by other tests than those of `make test`"
    assert ".ci/run" in workflow
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_names_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    command = ["make", "-C", str(ROOT), "--no-print-directory"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for target in phony.split():
        assert f"make {target} " in shown


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell script")
def test_setup_tells_when_there_is_no_python(tmp_path: Path):
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.sh", tmp_path / "scripts")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dirname").symlink_to(shutil.which("dirname"))  # type: ignore[arg-type]
    shell = shutil.which("sh")
    done = subprocess.run(
        [str(shell), "scripts/setup.sh"],
        cwd=tmp_path,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()
