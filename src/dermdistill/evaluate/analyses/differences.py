"""What each model differs by from the baseline, on the same bootstrap draws."""

from dermdistill.evaluate.comparison import Comparison
from dermdistill.evaluate.intervals import Difference, difference
from dermdistill.evaluate.metrics import LABELS


def differences(comparison: Comparison) -> dict[str, dict[str, Difference]]:
    """Paired differences of every metric to the baseline's, by model and metric."""
    figures, baseline = comparison.figures, comparison.figures[comparison.baseline]
    return {
        name: {key: difference(figures[name][key], baseline[key]) for key in LABELS}
        for name in comparison.models
        if name != comparison.baseline
    }
