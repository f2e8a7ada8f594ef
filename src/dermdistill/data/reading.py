"""Tables as people save them: commas, semicolons or tabs, UTF-8, UTF-16 or Latin-1, Excel, blank rows."""

import codecs
import io
import re
from pathlib import Path

import pandas as pd

from dermdistill.errors import InputError

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".xlsx", ".xlsm")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
MAX_COLUMNS = 1000
"""Tables of more are refused: they are no lists of images, and each column takes its time."""
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DECIMAL_COMMA = re.compile(r"^\s*(-?\d+),(\d+)\s*$")


def read_table(path: Path, *, header: bool = True, nrows: int | None = None) -> pd.DataFrame:
    """Read a table as text; its bytes decide the encoding and the separator.

    Blank rows and empty columns without a name, as Excel leaves them, are left out. Where columns are not separated
    by commas, a decimal comma becomes a point.

    Args:
        path: .csv, .tsv, .tab, .txt, .xlsx or .xlsm.
        header: whether the first row names the columns; otherwise they are numbered.
        nrows: at most so many rows.

    Returns:
        A table of strings.

    Raises:
        InputError: not a table; names the encoding and separator that were tried.
    """
    read = _excel if path.suffix.lower() in (".xlsx", ".xlsm") else _text
    table = read(path, header, nrows)
    table.columns = [str(name).strip().strip("\ufeff") for name in table.columns]
    table = table.astype("string").apply(lambda column: column.str.strip())
    table = table.mask(table == "").dropna(how="all")
    nameless = [name for name in table.columns if name.startswith("Unnamed: ") and table[name].isna().all()]
    return table.drop(columns=nameless).reset_index(drop=True)


def numbers(column: pd.Series, path: Path) -> pd.Series:
    """A column as floats.

    Raises:
        ValueError: names what is not a number.
    """
    values = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = values.isna() & column.notna()
    if wrong.any():
        got = ", ".join(repr(word) for word in column[wrong].unique()[:5])
        raise ValueError(f"{path}: column '{column.name}' must hold numbers, got {got}")
    return values


def _text(path: Path, header: bool, nrows: int | None) -> pd.DataFrame:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not {encoding} as its first bytes say ({error}); save it as UTF-8") from None
    first, _, rest = text.partition("\n")
    declared = re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE)  # Excel's own line
    if declared:
        text = rest
    separator = declared[1] if declared else _separator(text, path)
    _check_columns(_first_line(text).count(separator) + 1, path)
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=separator, dtype="string", header=0 if header else None, nrows=nrows,
            skip_blank_lines=True, skipinitialspace=True,
        )  # fmt: skip
    except (ValueError, pd.errors.ParserError) as error:
        how = f"read as {encoding.removesuffix('-sig')}, separated by {_SEPARATORS.get(separator, repr(separator))}"
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a readable table ({how}): {reason}; save it as UTF-8 with commas") from None
    if separator != ",":
        table = table.apply(lambda column: column.astype("string").str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True))
    return table


def _encoding(content: bytes) -> str:
    for mark, name in _BOMS:
        if content.startswith(mark):
            return name
    head = content[:1000]
    if head.count(0) > len(head) // 4:  # UTF-16 without its mark: every second byte of English is zero
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    try:
        content.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        return "cp1252" if not re.search(rb"[\x81\x8d\x8f\x90\x9d]", content) else "latin-1"


def _separator(text: str, path: Path) -> str:
    """The separator that the first line has most of, outside quotes; tabs in a file that is so named."""
    first = _first_line(text)
    if path.suffix.lower() in (".tab", ".tsv") and "\t" in first:
        return "\t"
    return max(_SEPARATORS, key=first.count) if any(one in first for one in _SEPARATORS) else ","


def _excel(path: Path, header: bool, nrows: int | None) -> pd.DataFrame:
    import openpyxl  # noqa: F401 so that a missing package is named

    try:
        table = pd.read_excel(path, dtype="string", header=0 if header else None, nrows=nrows, engine="openpyxl")
    except Exception as error:  # openpyxl raises nearly anything on damaged files
        raise InputError(f"{path} is not a readable Excel workbook: {' '.join(str(error).split())}") from None
    _check_columns(len(table.columns), path)
    return table


def _check_columns(count: int, path: Path) -> None:
    if count > MAX_COLUMNS:
        raise InputError(f"{path} has {count:,} columns, at most {MAX_COLUMNS:,} are read")


def _first_line(text: str) -> str:
    """The first line that is not blank, without what stands in quotes."""
    return re.sub(r'"[^"]*"', "", next((line for line in io.StringIO(text) if line.strip()), ""))
