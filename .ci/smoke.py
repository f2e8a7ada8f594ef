"""Check an installed core: no heavy package, small, quick to start, and `predict` works.

Run it with the interpreter of an environment that holds nothing but the wheel and its core
requirements: `python -I .ci/smoke.py`. Prints what it measured; exits with 1 at the first failure.
"""

import importlib.util
import json
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ABSENT = ("torch", "torchvision", "pandas", "pyarrow", "sklearn", "scipy", "timm", "matplotlib", "onnx")
LARGEST_MB = 260
SLOWEST_START = 4.5  # times the CPU time of `import onnxruntime` in the same minute; 3 on an idle machine
ASKED = ("--format", "json", "--gate", "off")
"""The pictures here are drawn: a gate may refuse them, which `check_gate` looks at."""
CLASSES = {"akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"}


def expect(holds: bool, message: str) -> None:
    if not holds:
        sys.exit(f"smoke test failed: {message}")


def dermdistill(*arguments: str, code: int = 0, stdin: str = "") -> str:
    """Run the command in the environment's interpreter and give what it printed."""
    command = [sys.executable, "-I", "-m", "dermdistill", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    expect(
        done.returncode == code,
        f"`dermdistill {' '.join(arguments)}` gave exit code {done.returncode}, expected {code}\n"
        f"{done.stdout}{done.stderr}",
    )
    return done.stdout


def check_packages() -> None:
    found = [name for name in ABSENT if importlib.util.find_spec(name)]
    expect(not found, f"the core install brought {', '.join(found)}")
    folder = Path(sysconfig.get_paths()["purelib"])
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"core install: {size:.0f} MB in {folder}")
    expect(size < LARGEST_MB, f"the core install has {size:.0f} MB, at most {LARGEST_MB} MB are allowed")


def cpu_seconds(*command: str) -> float:
    """CPU time of a whole process, which must end well."""
    before = os.times()
    done = subprocess.run([sys.executable, "-I", *command], stdout=subprocess.DEVNULL, timeout=120, check=False)
    after = os.times()
    expect(done.returncode == 0, f"`python {' '.join(command)}` gave exit code {done.returncode}")
    return after.children_user - before.children_user + after.children_system - before.children_system


def check_start(*arguments: str) -> None:
    """CPU time of a whole command against that of its runtime alone, each the best of five, in turn.

    A ratio, since seconds depend on the machine and on what else it does. Not measured where the system does not tell.
    """
    if sys.platform == "win32":
        return
    pairs = [(cpu_seconds("-m", "dermdistill", *arguments), cpu_seconds("-c", "import onnxruntime")) for _ in range(5)]
    ours, runtime = (min(seconds) for seconds in zip(*pairs, strict=True))
    told = f"{ours:.2f} s of CPU time, {ours / runtime:.1f} times that of `import onnxruntime`"
    print(f"dermdistill {' '.join(arguments)}: {told}")
    expect(ours < SLOWEST_START * runtime, f"`dermdistill {' '.join(arguments)}` starts slowly: {told}")


def make_images(folder: Path) -> tuple[Path, Path]:
    """A picture of a dark spot on skin, which is drawn, and a file that only claims to be one."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (600, 450), (222, 184, 160))
    ImageDraw.Draw(picture).ellipse((200, 130, 400, 330), fill=(92, 58, 44))
    good, bad = folder / "spot.jpg", folder / "broken.jpg"
    picture.save(good, quality=92)
    bad.write_bytes(b"this is no JPEG")
    return good, bad


def check_row(row: dict[str, object]) -> None:
    probabilities = [value for name, value in row.items() if name.removeprefix("p_") in CLASSES]
    expect(row["status"] == "ok", f"the good image has the status {row['status']}")
    p_melanoma = row["p_melanoma"]
    expect(isinstance(p_melanoma, float) and 0 <= p_melanoma <= 1, f"p_melanoma is {p_melanoma}")
    expect(len(probabilities) == len(CLASSES), f"expected seven class probabilities in {sorted(row)}")
    total = sum(value for value in probabilities if isinstance(value, float))
    expect(abs(total - 1) < 1e-3, f"the class probabilities sum to {total}")


def check_predict(folder: Path) -> None:
    good, bad = make_images(folder)
    (row,) = json.loads(dermdistill("predict", str(good), *ASKED))["results"]
    check_row(row)
    print(f"dermdistill predict: p_melanoma {row['p_melanoma']:.3f}, decision {row['decision']}")

    rows = json.loads(dermdistill("predict", str(bad), str(good), *ASKED, code=1))["results"]
    names = [Path(row["file"]).name for row in rows]
    expect(names == [bad.name, good.name], f"the order of the files was not kept: {names}")
    expect(rows[0]["status"] != "ok" and bool(rows[0]["message"]), "the broken image's row names no failure")
    check_row(rows[1])
    dermdistill("predict", str(good), "--format", "no-such-format", code=2)


def check_models() -> None:
    """What ships is listed with its figures, and each model can be named."""
    models = json.loads(dermdistill("models", "--json"))
    expect(bool(models) and models[0]["default"], "no model ships, or none is the default")
    for model in models:
        expect(model["out_of_fold"] is not None, f"{model['name']} has no figures of its graph")
        check_row(json.loads(dermdistill("predict", "spot.jpg", "--model", model["name"], *ASKED))["results"][0])
    print(f"dermdistill models: {', '.join(model['name'] for model in models)}")


def check_nothing_is_kept(folder: Path) -> None:
    """With an empty home folder: no package that we use leaves anything there."""
    home = folder / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        os.environ[name] = str(home)
    dermdistill("predict", "spot.jpg", "--gate", "judge")
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*"))
    expect(not left, f"predict left {', '.join(left)} in the user's folder")


def check_damage(folder: Path) -> None:
    """A JPEG whose end is lost is told, not judged."""
    content = (folder / "spot.jpg").read_bytes()
    (folder / "damaged.jpg").write_bytes(content[:-2] + bytes(2))
    (row,) = json.loads(dermdistill("predict", "damaged.jpg", *ASKED, code=1))["results"]
    expect(row["status"] == "damaged", f"a damaged image has the status {row['status']}")


def check_gate() -> None:
    """The default model refuses what is no photograph, and says why."""
    from PIL import Image

    Image.new("RGB", (600, 450), (255, 255, 255)).save("page.png")
    Image.frombytes("RGB", (200, 150), random.Random(0).randbytes(200 * 150 * 3)).save("noise.png")
    rows = json.loads(dermdistill("predict", "page.png", "noise.png", "--format", "json", code=1))["results"]
    for row in rows:
        expect(row["status"] == "refused", f"{row['file']} has the status {row['status']}, expected 'refused'")
        expect(row["p_melanoma"] is None and "refused: " in row["message"], f"{row['file']} is not refused: {row}")
    print(f"the gate: {rows[0]['message']}")


def main() -> None:
    check_packages()
    print(dermdistill("--version").strip())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_start("--help")
        check_predict(Path(folder))
        check_damage(Path(folder))
        check_models()
        check_gate()
        check_start("predict", "spot.jpg", "--gate", "judge")
        check_nothing_is_kept(Path(folder))


if __name__ == "__main__":
    main()
