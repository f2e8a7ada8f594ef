"""Metrics with intervals, calibration, operating points and the report."""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """Makes `dermdistill.evaluate(…)` the public function, although the name is this package's too."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Judge models side by side: `dermdistill.evaluate.paths.evaluate`."""
        from dermdistill.evaluate.paths import evaluate

        return evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
