"""Which networks become bundles."""

from dermdistill.specs import Strict


class ExportSpec(Strict):
    """Which networks become bundles; by default the first student."""

    students: tuple[str, ...] = ()
    """The students' names."""
    teachers: tuple[str, ...] = ()
    """The names of teachers that become bundles besides, such as one that is small enough to ship itself."""
