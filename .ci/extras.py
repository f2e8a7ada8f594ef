"""Install each extra alone into an environment of its own, and run what it is for.

    python .ci/extras.py dist/dermdistill-*.whl [EXTRA …]

Needs uv (`.venv/bin/uv`, else that of the PATH) and the standard library. Versions are those of uv.lock, so that uv
takes most of them from its cache. Two extras are checked at a time. Exits with 1 at the first failure.
tests/test_project.py makes sure that every extra of pyproject.toml has a check here.
"""

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIDE_BY_SIDE = 2
"""Extras that are checked at the same time: one installs and writes while another computes."""
ASKED = ("--format", "json", "--gate", "off")
"""Of a model that ships; the pictures here are drawn, which its gate may refuse."""
RECIPE = """
name = "tiny"
[data]
synthetic = { images = 60, size = 48 }
[split]
folds = 3
[[teachers]]
name = "teacher"
model = "repds"
weights = "none"
image_size = 32
drop_path_rate = 0
train = { epochs = 1, batch_size = 16 }
[soften]
views = 1
[[students]]
name = "student"
model = "repds"
weights = "none"
image_size = 32
train = { epochs = 1, batch_size = 16 }
[evaluate]
replicates = 100
"""


class Environment:
    """A fresh environment with one extra, and a folder to work in."""

    def __init__(self, folder: Path, wheel: Path, extra: str):
        self.folder, self.wheel = folder, wheel
        self._bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        local = ROOT / ".venv" / "bin" / "uv"
        uv = str(local) if local.exists() else shutil.which("uv") or sys.exit("no uv: run `make setup` first")
        locked = folder / "locked.txt"
        with locked.open("w") as stream:
            export = [uv, "export", "--frozen", "--all-extras", "--no-hashes", "--no-emit-project", "--quiet"]
            subprocess.run(export, cwd=ROOT, stdout=stream, check=True)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", self._bin / "python", "--constraint", locked]
        subprocess.run([*install, f"dermdistill[{extra}] @ {wheel.resolve().as_uri()}"], check=True)
        self._install = install

    def add(self, *packages: str) -> None:
        """Install further packages, in the versions of uv.lock."""
        subprocess.run([*self._install, *packages], check=True)

    def run(self, program: str, *arguments: object, code: int = 0, cwd: Path | None = None) -> str:
        """Run a program of the environment and give what it printed."""
        words = [str(self._bin / program), *map(str, arguments)]
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DERMDISTILL_DATA")}
        environment = {**clean, "DERMDISTILL_CACHE": str(self.folder / "cache"), "NO_MKDOCS_2_WARNING": "1"}
        done = subprocess.run(
            words, cwd=cwd or self.folder, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        expect(done.returncode == code, f"{' '.join(words)} gave {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def lacks(self, *packages: str) -> None:
        """Fail if a package is there that the extra should do without."""
        code = "import importlib.util, sys; print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
        present = self.run("python", "-I", "-c", code, *packages).split()
        expect(not present, f"the extra brought {', '.join(present)}")


def expect(holds: object, message: str) -> None:
    if not holds:
        sys.exit(f"extras: {message}")


def check_data(at: Environment) -> None:
    """Import class folders, then check, group, split and audit synthetic images."""
    at.lacks("torch", "matplotlib", "timm")
    _draw_folders(at)
    at.run("dermdistill", "data", "import", "classes", "--layout", "folders", "--out", "mine.parquet")
    expect("melanoma" in at.run("dermdistill", "data", "show", "mine.parquet"), "`data show` names no melanoma")
    at.run("dermdistill", "data", "synth", "made", "--images", 60, "--size", 48)
    manifest = "made/manifest.parquet"
    at.run("dermdistill", "data", "duplicates", manifest)
    at.run("dermdistill", "data", "split", manifest, "--folds", 3)


def _draw_folders(at: Environment) -> None:
    code = """
import pathlib, random
from PIL import Image
for name in ("melanoma", "nevus"):
    folder = pathlib.Path("classes", name)
    folder.mkdir(parents=True)
    for number in range(6):
        image = Image.frombytes("RGB", (64, 64), random.Random(f"{name}{number}").randbytes(64 * 64 * 3))
        image.save(folder / f"{name}{number}.png")
"""
    at.run("python", "-I", "-c", code)


def check_fetch(at: Environment) -> None:
    """Without a network: the names that can be fetched, and the packages that fetch them."""
    at.run("python", "-I", "-c", "import isic_cli, medmnist")
    expect("ham10000" in at.run("dermdistill", "data", "fetch", "--list"), "`data fetch --list` names no ham10000")


def check_eval(at: Environment) -> None:
    """Judge a table of predictions, without torch."""
    at.lacks("torch", "timm")
    at.run("dermdistill", "data", "synth", "made", "--images", 120, "--size", 48)
    code = (
        "import pandas\n"
        "pandas.read_parquet('made/manifest.parquet')[['image_id', 'melanoma']].to_csv('truth.csv', index=False)\n"
    )
    at.run("python", "-I", "-c", code)
    source = random.Random(0)
    with (at.folder / "truth.csv").open(newline="") as truth, (at.folder / "own.csv").open("w", newline="") as own:
        out = csv.writer(own)
        out.writerow(["image_id", "role", "logit_other", "logit_mel"])
        for row in csv.DictReader(truth):
            logit = float(row["melanoma"]) + source.gauss(0, 1)
            out.writerow([row["image_id"], source.choice(["validation", "test"]), 0, logit])
    at.run(
        "dermdistill", "evaluate", "made/manifest.parquet", "--model", "own=own.csv", "--out", "report",
        "--replicates", 100,
    )  # fmt: skip
    report = json.loads((at.folder / "report" / "report.json").read_text(encoding="utf-8"))
    expect(0.5 < report["models"]["own"]["metrics"]["auroc"]["value"] <= 1, "the report has no sensible AUROC")
    expect((at.folder / "report" / "report.html").exists(), "there is no report.html")


def check_report(at: Environment) -> None:
    """Judge a table, and fill a checklist as a Word file."""
    check_eval(at)
    told = at.run("dermdistill", "checklist", "report/report.json", "--form", "claim", "--out", "claim.docx")
    expect((at.folder / "claim.docx").read_bytes()[:2] == b"PK", f"there is no claim.docx: {told}")


def check_train(at: Environment) -> None:
    """Train a teacher, write its soft labels and train a student, each for an epoch; publish a model that ships."""
    at.lacks("onnx", "matplotlib")
    (at.folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    at.run("dermdistill", "students")
    for stage in ("teach", "soften", "distill"):
        at.run("dermdistill", stage, "tiny.toml", "--accelerator", "cpu")
    expect((at.folder / "work" / "tiny" / "students" / "student" / "model.safetensors").exists(), "no student")
    at.run("dermdistill", "publish", "--to", "repository")
    expect((at.folder / "repository" / "config.json").exists(), "no model repository")


def check_export(at: Environment) -> None:
    """Carry out a recipe to its bundle, and predict with it."""
    (at.folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    at.run("dermdistill", "run", "tiny.toml", "--accelerator", "cpu")
    image = next((at.folder / "work" / "tiny" / "synthetic").rglob("*.png"), None) or next(
        (at.folder / "work" / "tiny" / "synthetic").rglob("*.jpg")
    )
    bundle = at.folder / "work" / "tiny" / "bundles" / "student"
    (row,) = json.loads(at.run("dermdistill", "predict", image, "--model", bundle, "--format", "json"))["results"]
    expect(row["status"] == "ok", f"the bundle's answer has the status {row['status']}")


def check_tensorboard(at: Environment) -> None:
    """Its event files need an extra that trains; alone it brings the program that shows them."""
    at.lacks("torch")
    expect(at.run("tensorboard", "--version").strip(), "tensorboard says no version")


def check_heic(at: Environment) -> None:
    """Predict a HEIC photograph."""
    code = (
        "import pillow_heif\nfrom PIL import Image\n"
        "pillow_heif.register_heif_opener()\n"
        "Image.new('RGB', (600, 450), (222, 184, 160)).save('photo.heic')\n"
    )
    at.lacks("torch", "pandas")
    at.run("python", "-I", "-c", code)
    (row,) = json.loads(at.run("dermdistill", "predict", "photo.heic", *ASKED))["results"]
    expect(row["status"] == "ok", f"the HEIC photograph's answer has the status {row['status']}: {row['message']}")


def check_fast(at: Environment) -> None:
    """Have `--fast` resize by the extra's package, which answers about as ever."""
    at.lacks("torch", "pandas")
    at.run("python", "-I", "-c", "from PIL import Image; Image.effect_noise((600, 450), 80).save('photo.jpg')")
    answers = [json.loads(at.run("dermdistill", "predict", "photo.jpg", *ASKED, *way)) for way in ((), ("--fast",))]
    exact, fast = (answer["results"][0]["p_melanoma"] for answer in answers)
    expect(abs(exact - fast) < 0.05, f"--fast moves the probability from {exact} to {fast}")
    code = (
        "import sys\nfrom dermdistill import Predictor\n"
        "print(*Predictor(fast=True).predict('photo.jpg'))\nassert 'cykooz_resizer' in sys.modules\n"
    )
    at.run("python", "-I", "-c", code)


def check_dicom(at: Environment) -> None:
    """Predict a DICOM photograph, write the report and the capture of it, and have the client of an archive."""
    code = """
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLPhotographicImageStorage, generate_uid
photo = Dataset()
photo.file_meta = FileMetaDataset()
photo.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
photo.SOPClassUID, photo.Modality, photo.PhotometricInterpretation = VLPhotographicImageStorage, "XC", "RGB"
photo.SOPInstanceUID, photo.StudyInstanceUID, photo.SeriesInstanceUID = [generate_uid() for _ in range(3)]
photo.Rows, photo.Columns, photo.SamplesPerPixel, photo.PlanarConfiguration = 450, 600, 3, 0
photo.BitsAllocated, photo.BitsStored, photo.HighBit, photo.PixelRepresentation = 8, 8, 7, 0
photo.PixelData = bytes([222, 184, 160]) * 450 * 600
photo.save_as("photo.dcm", enforce_file_format=True)
"""
    at.lacks("torch", "pandas")
    at.run("python", "-I", "-c", code)
    objects = ("--dicom-sr", "reports", "--dicom-sc", "captures")
    told = at.run("dermdistill", "predict", "photo.dcm", *ASKED, *objects)
    (row,) = json.loads(told)["results"]
    expect(row["status"] == "ok", f"the DICOM photograph's answer has the status {row['status']}: {row['message']}")
    for made in ("reports", "captures"):
        expect(len(list((at.folder / made).glob("*.dcm"))) == 1, f"there is nothing in {made} on the DICOM photograph")
    at.run("python", "-I", "-c", "from dermdistill.predict.dicomweb import Archive\nArchive('https://archive.example')")


def check_serve(at: Environment) -> None:
    """Start the service, ask it for a prediction of a picture that is drawn, and stop it."""
    at.lacks("torch", "pandas")
    at.run(
        "python", "-I", "-c", "from PIL import Image\nImage.new('RGB', (600, 450), (222, 184, 160)).save('photo.jpg')"
    )
    key = at.run("dermdistill", "serve-key", "check", "--keys", "keys.txt").strip()
    code = f"""
import base64, json, pathlib, re, signal, subprocess, sys, urllib.request
command = [sys.executable, "-m", "dermdistill", "serve", "--port", "0", "--keys", "keys.txt", "--gate", "off"]
service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
try:
    address = next(found[0] for line in service.stderr if (found := re.findall(r"on (http://\S+)", line)))
    images = [{{"data": base64.b64encode(pathlib.Path("photo.jpg").read_bytes()).decode()}}]
    headers = {{"Content-Type": "application/json", "Authorization": "Bearer {key}"}}
    asked = urllib.request.Request(address + "/v1/predict", json.dumps({{"images": images}}).encode(), headers)
    print("ANSWER", urllib.request.urlopen(asked, timeout=60).read().decode())
finally:
    service.terminate()
    service.wait(60)
"""
    (told,) = re.findall(r"^ANSWER (.*)$", at.run("python", "-I", "-c", code), re.MULTILINE)
    (result,) = json.loads(told)["results"]
    expect(result["status"] == "ok", f"the service's answer has the status {result['status']}")


def check_openvino(at: Environment) -> None:
    """Predict with OpenVINO, and with ONNX Runtime: the answers are the same."""
    at.lacks("torch", "pandas")
    code = "from PIL import Image\nImage.radial_gradient('L').convert('RGB').save('photo.png')\n"
    at.run("python", "-I", "-c", code)
    found = [
        json.loads(at.run("dermdistill", "predict", "photo.png", *ASKED, "--runtime", runtime))["results"]
        for runtime in ("openvino", "onnxruntime")
    ]
    expect(abs(found[0][0]["p_melanoma"] - found[1][0]["p_melanoma"]) < 1e-4, f"the answers differ: {found}")


def check_quantize(at: Environment) -> None:
    """Make OpenVINO's form in float32 and those of fewer bits, each compared with model.onnx, and predict with some."""
    at.lacks("torch", "timm")
    formats = ("onnx-fp16", "onnx-int8", "openvino", "openvino-int8")
    _make_forms(at, ",".join(formats))
    certificate = json.loads((at.folder / "bundle" / "parity.json").read_text(encoding="utf-8"))
    expect(set(certificate["variants"]) == set(formats), f"the certificate holds {list(certificate['variants'])}")
    _predict_with(at, "onnxruntime", "int8")
    _predict_with(at, "openvino", "fp32")
    _predict_with(at, "openvino", "int8")


def check_executorch(at: Environment) -> None:
    """Make ExecuTorch's forms and predict with both."""
    at.lacks("timm", "matplotlib")
    _make_forms(at, "executorch,executorch-int8")
    _predict_with(at, "executorch", "fp32")
    _predict_with(at, "executorch", "int8")


def check_coreml(at: Environment) -> None:
    """Convert to Core ML, which runs on Apple's systems alone."""
    at.lacks("timm", "matplotlib")
    _make_forms(at, "coreml")
    expect((at.folder / "bundle" / "model.mlpackage.zip").exists(), "there is no Core ML package")


def check_litert(at: Environment) -> None:
    """The runtime is there; the converter, in an environment of its own, is asked for with the line that makes it."""
    at.lacks("torch", "timm")
    at.run("python", "-I", "-c", "from ai_edge_litert.interpreter import Interpreter")
    told = at.run("dermdistill", "export", "--from", "lite0-cut-64", "--formats", "litert", "--out", "bundle", code=2)
    expect("uv venv" in told and "litert-torch" in told, f"it does not say how to get the converter: {told}")


def _make_forms(at: Environment, formats: str) -> None:
    call = ("export", "--from", "lite0-cut-64", "--formats", formats, "--out", "bundle", "--count", 120)
    at.run("dermdistill", *call)


def _predict_with(at: Environment, runtime: str, precision: str) -> None:
    code = "from PIL import Image\nImage.radial_gradient('L').convert('RGB').save('photo.png')\n"
    at.run("python", "-I", "-c", code)
    call = ("predict", "photo.png", "--model", "bundle", *ASKED)
    found = [
        json.loads(at.run("dermdistill", *call, *options))["results"][0]["p_melanoma"]
        for options in ((), ("--runtime", runtime, "--precision", precision))
    ]
    expect(abs(found[0] - found[1]) < 0.3, f"{runtime} in {precision} answers {found[1]}, not {found[0]}")


def check_remote(at: Environment) -> None:
    """Predict photographs of a web server into shards, and the same again, which finds them done."""
    at.lacks("torch", "pandas", "ray")
    _draw_folders(at)
    code = """
import functools, http.server, subprocess, sys, threading
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="classes")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/melanoma/"
command = [sys.executable, "-m", "dermdistill", "predict", url, "--shards", "2", "--out", "answers", "--gate", "off"]
for _ in range(2):
    print("SAID", subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr)
"""
    told = at.run("python", "-I", "-c", code)
    expect("2 of them before: 6 images" in " ".join(told.split()), f"the shards were not passed over: {told}")
    at.run("python", "-I", "-c", "import adlfs, gcsfs, s3fs")


def check_ray(at: Environment) -> None:
    """Kill workers of a local cluster in the middle: the shards are those of the local engine, byte for byte."""
    at.lacks("torch", "timm")
    at.add("pytest", "pytest-timeout", "psutil")
    for name in ("conftest.py", "predict/conftest.py", "predict/test_ray.py"):
        (at.folder / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / name, at.folder / "tests" / name)
    shutil.copy(ROOT / "pyproject.toml", at.folder)
    told = at.run("python", "-m", "pytest", "-q", "tests/predict/test_ray.py")
    expect("1 passed" in told, f"the test of the engine did not run: {told}")
    _soften_on_ray(at)


def _soften_on_ray(at: Environment) -> None:
    """Have a bank computed by workers, of which one is killed: its logits are those of this process, byte for byte."""
    at.add(f"dermdistill[ray,train] @ {at.wheel.resolve().as_uri()}")
    recipe = RECIPE.replace("[soften]", "[soften]\nbatch_size = 8")
    (at.folder / "tiny.toml").write_text(recipe, encoding="utf-8")
    at.run("dermdistill", "teach", "tiny.toml", "--accelerator", "cpu")
    shutil.copytree(at.folder / "work" / "tiny", at.folder / "alone")
    at.run("dermdistill", "soften", "tiny.toml", "--accelerator", "cpu", "--out", "alone")
    killer = """
import subprocess, sys, time, psutil
process = subprocess.Popen([sys.executable, "-m", "dermdistill", "soften", "tiny.toml", "--accelerator", "cpu",
                            "--engine", "ray", "--parts", "2"])
while process.poll() is None:
    workers = [child for child in psutil.Process(process.pid).children(recursive=True)
               if " ".join(child.cmdline()).startswith("ray::soften_part")]
    if workers:
        workers[0].kill()
        break
    time.sleep(0.05)
else:
    sys.exit("no worker was seen")
sys.exit(process.wait())
"""
    at.run("python", "-c", killer)
    logits = [sorted((at.folder / name / "bank").rglob("views-*")) for name in ("work/tiny", "alone")]
    expect(logits[0] and len(logits[0]) == len(logits[1]), f"the banks have {logits} as files")
    same = all(one.read_bytes() == other.read_bytes() for one, other in zip(*logits, strict=True))
    expect(same, "the bank of Ray's workers is another than that of one process")


def check_sweep(at: Environment) -> None:
    """Try two values, each for an epoch, and have the table and the plots."""
    text = RECIPE.replace('name = "student"', 'name = "student"\nlabels = "none"\nloss = { kind = "ce" }')
    (at.folder / "tiny.toml").write_text(text, encoding="utf-8")
    call = ("sweep", "tiny.toml", "--set", "train.learning_rate=1e-4..1e-2(log)", "--trials", 2)
    at.run("dermdistill", *call, "--accelerator", "cpu")
    for name in ("trials.csv", "sweep.json", "history.png"):
        expect((at.folder / "work" / "tiny" / "sweep" / name).exists(), f"the sweep wrote no {name}")


def check_docs(at: Environment) -> None:
    """Build this documentation, strictly."""
    at.lacks("torch", "pandas")
    at.run("mkdocs", "build", "--strict", "--quiet", "--site-dir", at.folder / "site", cwd=ROOT)
    expect((at.folder / "site" / "reference" / "api.html").exists(), "the site has no page on the API")


CHECKS: dict[str, Callable[[Environment], None]] = {
    "data": check_data,
    "fetch": check_fetch,
    "eval": check_eval,
    "report": check_report,
    "train": check_train,
    "export": check_export,
    "tensorboard": check_tensorboard,
    "heic": check_heic,
    "fast": check_fast,
    "dicom": check_dicom,
    "serve": check_serve,
    "openvino": check_openvino,
    "quantize": check_quantize,
    "executorch": check_executorch,
    "litert": check_litert,
    "coreml": check_coreml,
    "remote": check_remote,
    "ray": check_ray,
    "sweep": check_sweep,
    "docs": check_docs,
}
ELSEWHERE = {"all": "make demo and make test run in it", "dev": "make lint, make types and make test run in it"}
"""Extras that other steps of .ci/run install and use."""


def check(extra: str, wheel: Path) -> float:
    """Install an extra and use it; the seconds that it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        CHECKS[extra](Environment(Path(folder), wheel, extra))
    return time.monotonic() - began


def main() -> None:
    wheel, *extras = sys.argv[1:] or sys.exit(__doc__)
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    try:
        running = {pool.submit(check, extra, Path(wheel)): extra for extra in extras or CHECKS}
        for done in as_completed(running):
            print(f"extra {running[done]}: {done.result():.0f} s", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    main()
