"""Which networks become bundles."""

from dermdistill.probabilities import Method
from dermdistill.specs import Strict


class ExportSpec(Strict):
    """Which networks become bundles; by default the first student."""

    students: tuple[str, ...] = ()
    """The students' names."""
    teachers: tuple[str, ...] = ()
    """The names of teachers that become bundles besides, such as one that is small enough to ship itself."""
    calibration: Method = "temperature"
    """How the probabilities are calibrated, on the images that choose the thresholds: a temperature, a scale and an
    intercept a class (`vector`), a linear map of all log-probabilities (`dirichlet`), or a rising function of the
    melanoma probability, free (`isotonic`) or with three parameters (`beta`)."""
