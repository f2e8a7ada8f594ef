"""dermdistill: small, distilled melanoma classifiers for dermoscopic images.

A research tool. It is not a medical device and must not be used to diagnose or treat anybody.

The public names are those of `__all__`. Each is imported when it is first used, so that `import dermdistill` takes no
time.

>>> import io
>>> from PIL import Image
>>> import dermdistill
>>> photo = io.BytesIO()
>>> Image.new("RGB", (600, 450), (222, 184, 160)).save(photo, "PNG")
>>> predictor = dermdistill.Predictor(gate="off")  # its gate refuses what is no dermoscopic photograph, as this
>>> (result,) = predictor.predict([photo.getvalue()])
>>> result.status, 0 <= result.p_melanoma <= 1
('ok', True)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dermdistill.privacy import opt_out
from dermdistill.threads import wait_asleep
from dermdistill.version import __version__

opt_out()
wait_asleep()

if TYPE_CHECKING:
    from dermdistill.api import build_student, evaluate, label_views, load_module, render_views, run_recipe
    from dermdistill.distillation.bank import Bank
    from dermdistill.distillation.estimator import StudentClassifier
    from dermdistill.predict.predictor import Predictor
    from dermdistill.recipe.spec import load_recipe

_HOME = {
    "Bank": "dermdistill.distillation.bank",
    "Predictor": "dermdistill.predict.predictor",
    "StudentClassifier": "dermdistill.distillation.estimator",
    "build_student": "dermdistill.api",
    "evaluate": "dermdistill.evaluate",
    "label_views": "dermdistill.api",
    "load_module": "dermdistill.api",
    "load_recipe": "dermdistill.recipe.spec",
    "render_views": "dermdistill.api",
    "run_recipe": "dermdistill.api",
}
"""The module of each public name. `evaluate` is the package itself, which can be called."""

__all__ = [
    "Bank", "Predictor", "StudentClassifier", "__version__", "build_student", "evaluate", "label_views", "load_module",
    "load_recipe", "render_views", "run_recipe",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dermdistill' has no attribute '{name}'; it offers {', '.join(__all__)}")
    module = import_module(_HOME[name])
    return module if name == "evaluate" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
