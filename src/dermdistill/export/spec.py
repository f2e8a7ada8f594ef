"""Which students become bundles."""

from dermdistill.specs import Strict


class ExportSpec(Strict):
    """Which students become bundles; by default the first."""

    students: tuple[str, ...] = ()
    """Their names."""
