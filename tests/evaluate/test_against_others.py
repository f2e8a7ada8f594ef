"""Agreement with other people's programs, in environments of their own.

They are not installed with dermdistill: the official scorer needs pandas before 3. The tests are skipped where neither
`uv` has them in its cache nor a variable names an interpreter that has them.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dermdistill.classes import CLASSES, MELANOMA
from dermdistill.evaluate.inference import auroc_covariance, contrast
from dermdistill.evaluate.metrics import METRICS, Scored, _rates
from dermdistill.evaluate.thresholds import realised

SCORER = ("DERMDISTILL_ISIC_SCORER", "isic_challenge_scoring", ["isic-challenge-scoring", "pandas<3"])
MLSTATKIT = ("DERMDISTILL_MLSTATKIT", "MLstatkit", ["MLstatkit"])


@functools.cache
def interpreter(variable: str, module: str, *packages: str) -> tuple[str, ...] | None:
    """The command of a Python that can import a module; None if there is none without a network."""
    given = os.environ.get(variable)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if given:
        command: tuple[str, ...] = (given,)
    elif uv:
        wanted = [word for name in packages for word in ("--with", name)]
        command = (uv, "run", "--offline", "--no-project", "--python", sys.executable, *wanted, "python")
    else:
        return None
    done = subprocess.run([*command, "-c", f"import {module}"], capture_output=True, cwd="/", timeout=120, check=False)
    return command if done.returncode == 0 else None


def run(other: tuple[str, str, list[str]], script: str, content: dict) -> dict:
    variable, module, packages = other
    command = interpreter(variable, module, *packages)
    if command is None:
        line = " ".join(f"--with '{name}'" for name in packages)
        pytest.skip(
            f"needs {module}: uv run --no-project --python {sys.executable} {line} python -c 'import {module}' fetches "
            f"it; or name an interpreter that has it in {variable}"
        )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*command, "-c", script], input=json.dumps(content), capture_output=True, text=True, cwd="/", env=environment,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


OFFICIAL = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore
given = json.load(sys.stdin)
found = []
for one in given["samples"]:
    truth = pd.DataFrame(one["truth"], columns=given["classes"], dtype=float)
    answers = pd.DataFrame(one["answers"], columns=given["classes"])
    weights = pd.DataFrame({"score_weight": 1.0, "validation_weight": 1.0}, index=truth.index)
    score = ClassificationScore(truth, answers, weights, ClassificationMetric.BALANCED_ACCURACY)
    found.append({"mel": score.per_category.loc[given["melanoma"]].to_dict(), "overall": float(score.overall)})
print(json.dumps({"found": found}))
"""


def samples(count: int) -> list[dict[str, np.ndarray]]:
    found = []
    for seed in range(count):
        generator = np.random.default_rng(seed)
        n = int(generator.integers(60, 400))
        diagnosis = generator.permutation(np.resize(np.arange(7), n))
        logits = generator.normal(size=(n, 7)) + generator.uniform(0, 3) * (diagnosis[:, None] == np.arange(7))
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        found.append({"diagnosis": diagnosis, "p": p})
    return found


def test_the_official_scorer_of_the_isic_challenges_agrees():
    made, melanoma = samples(12), CLASSES.index(MELANOMA)
    truths = [np.eye(7)[one["diagnosis"]].tolist() for one in made]
    given = {
        "classes": list(CLASSES), "melanoma": MELANOMA,
        "samples": [{"truth": truth, "answers": one["p"].tolist()} for truth, one in zip(truths, made, strict=True)],
    }  # fmt: skip
    for one, official in zip(made, run(SCORER, OFFICIAL, given)["found"], strict=True):
        p, y = one["p"][:, melanoma], (one["diagnosis"] == melanoma).astype(float)
        part = Scored(p, y, one["p"].argmax(1), one["diagnosis"])
        ours = {name: float(metric(part, np.ones((1, len(y))))[0]) for name, metric in METRICS.items()}
        theirs = official["mel"]
        assert ours["auroc"] == pytest.approx(theirs["auc"], abs=1e-9)
        assert ours["average_precision"] == pytest.approx(theirs["ap"], abs=1e-9)
        assert ours["balanced_accuracy"] == pytest.approx(official["overall"], abs=1e-9)
        # theirs is the whole area under the part of the curve above 80 %; of 2024 it is the area above that line
        sensitivity, fall_out = (values[0] for values in _rates(part, np.ones((1, len(y)))))
        after = int(np.argmax(sensitivity >= 0.8))
        at = np.interp(0.8, sensitivity[after - 1 : after + 1], fall_out[after - 1 : after + 1])
        assert ours["partial_auroc"] + 0.8 * (1 - at) == pytest.approx(theirs["auc_sens_80"], abs=1e-9)
        rates = realised(p, y, np.nextafter(0.5, 1))  # theirs counts what is above, ours what is at or above
        for name in ("sensitivity", "specificity", "npv", "ppv"):
            if rates[name] is not None:  # theirs calls an undefined one 1
                assert rates[name] == pytest.approx(theirs[name], abs=1e-9), name


DELONG = """
import json, sys, warnings, contextlib, io
warnings.filterwarnings("ignore")
import numpy as np
from MLstatkit import Delong_test
given = json.load(sys.stdin)
with contextlib.redirect_stdout(io.StringIO()):
    found = [[float(v) for v in Delong_test(np.array(y), np.array(a), np.array(b))[:2]] for y, a, b in given["samples"]]
print(json.dumps({"found": found}))
"""


def test_delong_agrees_with_mlstatkit():
    made = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        y = generator.permutation(np.resize([1, 0, 0], 150))
        scores = np.round(generator.normal(size=(2, 150)) + np.array([[1.2], [0.8]]) * y, 1 + seed % 3)
        made.append((y, scores))
    given = {"samples": [[y.tolist(), scores[0].tolist(), scores[1].tolist()] for y, scores in made]}
    for (y, scores), (z, p) in zip(made, run(MLSTATKIT, DELONG, given)["found"], strict=True):
        found = contrast(auroc_covariance(y, scores, np.arange(len(y))), 0, 1)
        assert abs(found.value / found.error) == pytest.approx(abs(z), abs=1e-9)
        assert found.p == pytest.approx(p, abs=1e-9)
