"""What this installation has, what it lacks, and how to get it. Needs nothing but the core install."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from dermdistill.errors import DermdistillError, InputError
from dermdistill.images.cache import cache_root
from dermdistill.predict.bundle import open_bundle, shipped_bundles
from dermdistill.predict.pipeline import usable_cores
from dermdistill.recipe.checks import find_data
from dermdistill.recipe.shipped import shipped_recipes
from dermdistill.version import __version__

CORE = "core"
"""What every installation has, in the place of an extra."""
_NOT_FOR_USERS = {"all", "dev", "docs"}
_SECONDS = 900
"""Within which all packages must have been imported."""
_MARK = "@dermdistill "
"""Before each line that the process tells, among what packages may print."""

PackageState = Literal["ready", "missing", "too old", "broken"]


@dataclass
class Package:
    """A package that dermdistill can use."""

    name: str
    least: str
    """The least version, or nothing."""
    version: str | None
    """The one that is installed."""
    state: PackageState
    problem: str = ""
    """What is wrong with one that is broken."""


@dataclass(frozen=True)
class Extra:
    """Packages that are installed together, for some commands."""

    name: str
    packages: tuple[Package, ...]

    @property
    def install(self) -> str:
        """The command that installs it."""
        return "pip install " + ("--upgrade dermdistill" if self.name == CORE else f"'dermdistill[{self.name}]'")

    @property
    def lacking(self) -> list[Package]:
        """Packages that are missing or too old."""
        return [one for one in self.packages if one.state in ("missing", "too old")]


@dataclass(frozen=True)
class Model:
    """A bundle that ships."""

    name: str
    default: bool
    problem: str | None
    """What is wrong with its files; None if every hash fits."""


@dataclass(frozen=True)
class Data:
    """The folder of real images."""

    folder: str | None
    """None if there is none."""
    advice: str | None
    """How to get one."""
    sources: dict[str, bool]
    """The folders that the shipped recipes take, and whether they are there."""


@dataclass(frozen=True)
class Disk:
    """A folder and the space that it has."""

    folder: str
    free_bytes: int
    used_bytes: int | None
    """By what is in it; None where that is not counted."""


@dataclass(frozen=True)
class Findings:
    """All that was found."""

    dermdistill: str
    python: str
    platform: str
    threads: int
    """Of the processor that this process may use."""
    devices: dict[str, Any]
    """What torch and ONNX Runtime say of accelerators; empty where they were not asked."""
    extras: tuple[Extra, ...]
    models: tuple[Model, ...]
    data: Data
    cache: Disk
    here: Disk

    @property
    def broken(self) -> list[str]:
        """What is installed and does not work, in words."""
        packages = {one.name: one for extra in self.extras for one in extra.packages if one.state == "broken"}
        lacking = [
            f"{one.name}: {one.state}, {one.least or 'any version'} is needed; {extra.install}"
            for extra in self.extras
            if extra.name == CORE
            for one in extra.lacking
        ]
        return [
            *(f"{one.name} {one.version} cannot be imported: {one.problem}" for one in packages.values()),
            *lacking,
            *(f"the model {one.name}: {one.problem}" for one in self.models if one.problem),
        ]


def examine(*, quick: bool = False) -> Findings:
    """Look at everything.

    Args:
        quick: import no packages, which takes seconds; what is broken and the accelerators are then not found.
    """
    extras = tuple(Extra(name, packages) for name, packages in read_extras().items())
    devices: dict[str, Any] = {}
    if not quick:
        wanted = {
            one.name: one for extra in extras if extra.name == CORE or not extra.lacking for one in extra.packages
        }
        modules = {module: one for one in wanted.values() if one.state == "ready" for module in _modules(one.name)}
        problems, devices = probe(modules)
        for module, problem in problems.items():
            modules[module].state, modules[module].problem = "broken", problem
    return Findings(
        dermdistill=__version__, python=platform.python_version(), platform=platform.platform(),
        threads=usable_cores(), devices=devices, extras=extras, models=tuple(_models()), data=_data(),
        cache=disk(cache_root(), counted=True), here=disk(Path.cwd()),
    )  # fmt: skip


def read_extras() -> dict[str, tuple[Package, ...]]:
    """The packages of the core and of each extra, as the installed package's own metadata name them.

    Extras for the developers of dermdistill are left out. Without metadata, as in an unpacked archive, there are none.
    """
    try:
        lines = metadata.requires("dermdistill") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, dict[str, Package]] = {CORE: {}}
    for line in lines:
        requirement, _, marker = line.partition(";")
        named = re.search(r"""extra\s*==\s*['"]([^'"]+)""", marker)
        extra = named[1] if named else CORE
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        if extra not in _NOT_FOR_USERS and name is not None and name[0] != "dermdistill":
            least = re.search(r">=\s*([\w.]+)", requirement)
            found.setdefault(extra, {})[name[0]] = _package(name[0], least[1] if least else "")
    return {extra: tuple(packages.values()) for extra, packages in found.items()}


def _package(name: str, least: str) -> Package:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Package(name, least, None, "missing")
    return Package(name, least, version, "too old" if _release(version) < _release(least) else "ready")


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at the end: 2.0 is 2."""
    numbers = re.match(r"[\d.]*", version)
    found = [int(part) for part in (numbers[0] if numbers else "").split(".") if part]
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def _modules(package: str) -> list[str]:
    """The modules that an installed package brings: the one of its name, else those nearest to the top."""
    files = metadata.distribution(package).files or []
    folders = [path.parts[:-1] for path in files if path.name == "__init__.py" and len(path.parts) > 1]
    single = [(path.stem,) for path in files if len(path.parts) == 1 and path.suffix == ".py"]
    known = [parts for parts in (*folders, *single) if all(part.isidentifier() for part in parts)]
    public = [parts for parts in known if not parts[0].startswith("_")]
    own = (re.sub(r"[-.]", "_", package).lower(),)
    if own in public:
        return list(own)
    depth = min(map(len, public), default=0)
    return sorted({".".join(parts) for parts in public if len(parts) == depth})


_PROBE = f"""
import importlib, json, sys
import dermdistill
def tell(**what): print({_MARK!r} + json.dumps(what), flush=True)
for name in sys.argv[1:]:
    tell(begin=name)
    try: importlib.import_module(name)
    except BaseException as error: tell(problem=f"{{type(error).__name__}}: {{error}}")
found = dict()
if torch := sys.modules.get("torch"):
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found.update(cuda=names, mps=torch.backends.mps.is_available(), torch_threads=torch.get_num_threads())
if runtime := sys.modules.get("onnxruntime"): found.update(onnxruntime=runtime.get_available_providers())
tell(devices=found)
"""


def probe(modules: Iterable[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Import modules in a process of its own, which one that is broken may end.

    Returns:
        What is wrong with each that cannot be imported; and what torch and ONNX Runtime say of devices.
    """
    left = list(modules)
    problems: dict[str, str] = {}
    while True:
        told, ending = _imported(left)
        begun = None
        for one in told:
            if "devices" in one:
                return problems, one["devices"]
            if "problem" in one and begun is not None:
                problems[begun] = " ".join(one["problem"].split())
            begun = one.get("begin", begun)
        if begun is None or begun in problems:  # it ended while no module was being imported
            return problems, {}
        problems[begun] = ending
        left = left[left.index(begun) + 1 :]


def _imported(modules: list[str]) -> tuple[list[dict[str, Any]], str]:
    """What the process told, and how it ended."""
    command = [sys.executable, "-c", _PROBE, *modules]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        output, ending = done.stdout, _ending(done.returncode)
    except subprocess.TimeoutExpired as error:
        output, ending = error.stdout or b"", f"importing it takes more than {_SECONDS} seconds"
    lines = output.decode(errors="replace").split("\n")
    return [json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)], ending


def _ending(code: int) -> str:
    how = f"the exit code {code}" if code >= 0 else f"the signal {signal.Signals(-code).name}"
    return f"importing it ends Python with {how}"


def _models() -> Iterator[Model]:
    for number, (name, folder) in enumerate(shipped_bundles().items()):
        try:
            open_bundle(folder)
            problem = None
        except DermdistillError as error:
            problem = str(error)
        yield Model(name, number == 0, problem)


def _data() -> Data:
    sources: dict[str, bool] = {}
    try:
        folder, advice = find_data(), None
    except InputError as error:
        folder, advice = None, str(error)
    for path in shipped_recipes().values():
        for source in tomllib.loads(path.read_text(encoding="utf-8")).get("data", {}).get("sources", ()):
            sources[source["path"]] = folder is not None and (folder / source["path"]).exists()
    return Data(str(folder.absolute()) if folder else None, advice, dict(sorted(sources.items())))


def disk(folder: Path, *, counted: bool = False) -> Disk:
    """The space of a folder, which need not be there yet.

    Args:
        folder: where.
        counted: add up the files in it.
    """
    place = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    used = None
    if counted:
        names = (Path(root) / name for root, _, files in os.walk(folder) for name in files)
        used = sum(path.lstat().st_size for path in names)
    return Disk(str(folder), shutil.disk_usage(place).free, used)
