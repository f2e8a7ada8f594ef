"""Release artefacts: the weights and soft-label banks of published runs, which are too heavy for the repository.

    python -m dermdistill.publish.artifacts recipes/release.toml --work work/release --out dist/artifacts

packs them from a finished work folder and enters each in results/artifacts.json: its SHA-256, its size, the command
that makes it and what it holds. The archives are plain tar files with sorted members and fixed times and owners, so
that equal contents give equal bytes. `dermdistill fetch-artifacts` checks them and unpacks them where runs expect them.
"""

import argparse
import io
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from dermdistill import talk
from dermdistill.errors import DermdistillError, InputError, IntegrityError, no_such
from dermdistill.files import atomic_path, read_json, sha256_file, write_json
from dermdistill.specs import Name, Strict, parse

INDEX = "artifacts.json"
_CHUNK = 1 << 20
KEPT = frozenset({"run.json", "metrics.jsonl", "predictions.parquet", "model.safetensors"})
"""The files of a run that its archive holds; weights only of networks within the budget."""


class Artifact(Strict):
    """One archive: what it must be, and how it is made."""

    name: str = Name
    file: str = Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    recipe: str
    """Name of the recipe; the archive unpacks into work/<recipe>."""
    command: str
    """What makes it, after the recipe has run."""
    contents: str


class ArtifactIndex(Strict):
    """results/artifacts.json."""

    format: Literal["dermdistill-artifacts/1"] = "dermdistill-artifacts/1"
    artifacts: tuple[Artifact, ...] = ()

    def find(self, names: Iterable[str]) -> list[Artifact]:
        """The artefacts of some names; all of them if there are none.

        Raises:
            InputError: a name that the index does not have.
        """
        known = {artifact.name: artifact for artifact in self.artifacts}
        wanted = list(names) or list(known)
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise no_such("artefact", unknown[0], known)
        return [known[name] for name in wanted]


def index_path() -> Path:
    """The index inside the installed package, or that of the checkout which the package runs from."""
    package = Path(__file__).resolve().parents[1]
    installed = package / INDEX
    return installed if installed.exists() else package.parents[1] / "results" / INDEX


def read_index(path: Path | None = None) -> ArtifactIndex:
    """Read and check an index.

    Raises:
        InputError: there is none, or it does not fit.
    """
    path = path or index_path()
    return parse(ArtifactIndex, read_json(path), str(path))


def enter(path: Path, artifact: Artifact) -> None:
    """Put an artefact into an index in place of the one of its name."""
    before = read_index(path).artifacts if path.exists() else ()
    others = [one for one in before if one.name != artifact.name]
    ordered = sorted([*others, artifact], key=lambda one: one.name)
    write_json(path, ArtifactIndex(artifacts=tuple(ordered)).model_dump(mode="json"))


def pack(members: dict[str, Path], out: Path) -> None:
    """Write a tar file whose bytes depend on the names and contents of its members alone.

    Args:
        members: path inside the archive, with `/`, to the file.
        out: the archive.
    """
    with atomic_path(out) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(members):
            content = members[name].read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))


def run_members(work: Path, largest: int) -> dict[str, Path]:
    """The files of all finished runs beneath a work folder; weights of networks of at most `largest` parameters."""
    members = {}
    for header in sorted([*work.rglob("teachers/*/run.json"), *work.rglob("students/*/run.json")]):
        small = read_json(header)["parameters"] <= largest
        for path in sorted(header.parent.iterdir()):
            if path.name in KEPT and (small or path.name != "model.safetensors"):
                members[path.relative_to(work).as_posix()] = path
    return members


def bank_members(work: Path) -> dict[str, dict[str, Path]]:
    """The files of each soft-label bank beneath a work folder, by the name of its part (`''` for a hold-out)."""
    banks: dict[str, dict[str, Path]] = {}
    for header in sorted(work.rglob("bank/bank.json")):
        folder = header.parent
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        part = folder.parent.relative_to(work).as_posix().removeprefix(".")
        banks[part] = {path.relative_to(work).as_posix(): path for path in files}
    return banks


def build(recipe: str, work: Path, out: Path, index: Path, command: str) -> list[Artifact]:
    """Pack the runs and the banks of a work folder, and enter them in the index.

    Raises:
        InputError: the folder holds no finished run.
    """
    from dermdistill.networks.registry import BUDGET

    runs = run_members(work, BUDGET)
    if not runs:
        raise InputError(f"{work} holds no finished run; `dermdistill run` makes one")
    small = sum(name.endswith("model.safetensors") for name in runs)
    described = {f"{recipe}-runs": (runs, f"headers, metrics and predictions of all runs, weights of {small}")}
    for part, files in bank_members(work).items():
        label = "-".join(filter(None, (recipe, "bank", part)))
        described[label] = (files, f"soft labels of {part or 'the training images'}")
    made = []
    for name, (members, contents) in described.items():
        archive = out / f"{name}.tar"
        pack(members, archive)
        artifact = Artifact(
            name=name, file=archive.name, sha256=sha256_file(archive), bytes=archive.stat().st_size,
            recipe=recipe, command=command, contents=contents,
        )  # fmt: skip
        enter(index, artifact)
        made.append(artifact)
    return made


def fetch(
    artifacts: Iterable[Artifact], source: str, work: Path, tell: Callable[[str], None] = lambda line: None
) -> None:
    """Bring archives from a folder or a URL, check them, and unpack each into work/<recipe>.

    Args:
        artifacts: what to bring.
        source: a folder, or an https, http or file URL of one.
        work: the folder that holds the work folders.
        tell: called with a line about each archive that is unpacked.

    Raises:
        InputError: an archive is not there, or a file of another content is where one goes.
        IntegrityError: an archive is not what the index says.
    """
    for artifact in artifacts:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / artifact.file
            _bring(source, artifact, archive)
            _check(archive, artifact)
            count = unpack(archive, work / artifact.recipe)
        tell(f"{artifact.name}: {count} files in {work / artifact.recipe}")


def _bring(source: str, artifact: Artifact, out: Path) -> None:
    if not source.startswith(("https://", "http://", "file://")):
        path = Path(source) / artifact.file
        if not path.is_file():
            raise InputError(f"no such archive: {path}; give the folder that holds {artifact.file}, or its URL")
        shutil.copyfile(path, out)
        return
    url = f"{source.rstrip('/')}/{artifact.file}"
    try:
        with (
            urllib.request.urlopen(url, timeout=60) as answer, out.open("wb") as stream,
            talk.bars(of_bytes=True) as bars,
        ):  # fmt: skip
            bar = bars.add_task(artifact.file, total=artifact.bytes)
            while content := answer.read(_CHUNK):
                stream.write(content)
                bars.advance(bar, len(content))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise InputError(f"{url} cannot be fetched ({error}); check the address, or give a folder") from None


def _check(archive: Path, artifact: Artifact) -> None:
    size, digest = archive.stat().st_size, sha256_file(archive)
    if (size, digest) != (artifact.bytes, artifact.sha256):
        raise IntegrityError(
            f"{artifact.file} has {size} bytes and the SHA-256 {digest}; the index expects {artifact.bytes} bytes and "
            f"{artifact.sha256}. Fetch it again from the release that this version belongs to"
        )


def unpack(archive: Path, out: Path) -> int:
    """Unpack a tar file beneath a folder; files that are there already must be the same. Gives the number of files.

    Raises:
        InputError: a file of another content is there.
        IntegrityError: a member is no plain file, or would lie outside.
    """
    with tarfile.open(archive) as opened, tempfile.TemporaryDirectory() as folder:
        members = opened.getmembers()
        odd = [member.name for member in members if not member.isfile()]
        if odd:
            raise IntegrityError(f"{archive.name} holds {odd[0]}, which is no plain file; fetch it again")
        try:
            opened.extractall(folder, filter="data")
        except tarfile.FilterError as error:
            raise IntegrityError(f"{archive.name}: {error}") from None
        pairs = [(Path(folder) / member.name, out / member.name) for member in members]
        differing = [there for new, there in pairs if there.exists() and sha256_file(there) != sha256_file(new)]
        if differing:
            raise InputError(f"{differing[0]} is there with another content; choose another --out, or remove it")
        for new, there in pairs:
            if not there.exists():
                with atomic_path(there) as temporary:
                    shutil.copyfile(new, temporary)
    return len(members)


def main(arguments: list[str] | None = None) -> None:
    """Pack the artefacts of a recipe's work folder."""
    from dermdistill.publish.repository import add_root, find_root
    from dermdistill.recipe.spec import load_recipe

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--work", type=Path, help="the work folder, by default work/<recipe's name>")
    parser.add_argument("--out", type=Path, default=Path("dist") / "artifacts", help="where the archives go")
    add_root(parser)
    given = parser.parse_args(arguments)
    recipe = load_recipe(given.recipe)
    work = given.work or Path("work") / recipe.name
    command = f"make artifacts RECIPE={recipe.name}"
    index = find_root(given.root) / "results" / INDEX
    for artifact in build(recipe.name, work, given.out, index, command):
        print(f"{artifact.file}: {artifact.bytes:,} bytes, SHA-256 {artifact.sha256}")


if __name__ == "__main__":
    try:
        main()
    except DermdistillError as error:
        sys.exit(f"error: {error}")
