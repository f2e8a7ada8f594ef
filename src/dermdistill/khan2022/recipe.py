"""What is run: settings of a budget, and the rows of each table by name."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dermdistill.errors import InputError, no_such
from dermdistill.files import sha256_json
from dermdistill.khan2022.protocol import (
    AS_PUBLISHED,
    CORRECTED,
    Faults,
    Protocol,
    of_protocol,
    relevant,
    single_faults,
)
from dermdistill.khan2022.published import COUNTS
from dermdistill.khan2022.systems import SYSTEMS
from dermdistill.specs import parse
from dermdistill.training.spec import TrainSpec

TableName = Literal["2", "temperature", "batch", "ablation"]
TABLES: tuple[TableName, ...] = ("2", "temperature", "batch", "ablation")
Budget = Literal["smoke", "full"]
SystemWeights = Literal["hub", "package", "none"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingSpec(_Strict):
    """How one kind of row is trained."""

    optimizer: Literal["adam", "adadelta"]
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    batch_size: int = Field(64, ge=2)


class PoolSpec(_Strict):
    """How many images are wanted; where there are fewer, all four numbers shrink alike."""

    train_benign: int = Field(COUNTS["train_benign"], ge=2)
    train_malignant: int = Field(COUNTS["train_malignant"], ge=2)
    test_benign: int = Field(COUNTS["test_benign"], ge=1)
    test_malignant: int = Field(COUNTS["test_malignant"], ge=1)
    seed: int = Field(0, ge=0)
    """Decides which images are drawn; a row's own seed decides how they are divided."""


class TimingSpec(_Strict):
    """The prediction clock."""

    images: int = Field(3000, ge=1)
    batch_size: int = Field(64, ge=1)
    repeats: int = Field(3, ge=1)


class SeedsSpec(_Strict):
    """How many seeds the rows of each table are trained with."""

    table_2: int = Field(1, ge=1)
    temperature: int = Field(1, ge=1)
    batch: int = Field(1, ge=1)
    ablation: int = Field(3, ge=1)
    systems: dict[str, int] = Field({}, exclude_if=lambda value: not value)
    """Of the rows of Table 2 of some systems, such as `{ dsnet = 2 }`, in place of `table_2`."""

    def of(self, row: "Row") -> int:
        """How many seeds a row is trained with; those of another image size have as many as the table."""
        if row.table == "2" and row.image_size is None:
            return self.systems.get(row.system, self.table_2)
        return self.table_2 if row.table == "2" else getattr(self, row.table)


class Settings(_Strict):
    """Everything that a budget fixes; the defaults are the paper's."""

    name: str
    image_size: int = Field(224, ge=18)
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", exclude_if=lambda value: value == "32-true")
    """Arithmetic of training; images are judged in 32 bits."""
    weights: SystemWeights = "hub"
    teacher: str = "resnet50"
    students: tuple[str, ...] = tuple(name for name in SYSTEMS if name != "lite0")
    also_at: dict[str, tuple[Annotated[int, Field(ge=18)], ...]] = Field({}, exclude_if=lambda value: not value)
    """Further image sizes of some systems' rows of Table 2, such as `{ dsnet = [224] }`; the teacher sees these too."""
    alpha: float = Field(0.1, ge=0, le=1)
    """Share of the hard cross-entropy."""
    temperature: float = Field(10.0, gt=0)
    temperatures: tuple[float, ...] = (3, 5, 7, 10, 20, 70, 90, 100)
    batch_sizes: tuple[int, ...] = (18, 32, 64, 96)
    small_step: float = Field(0.001, gt=0)
    """Adadelta's learning rate under the fault of that name."""
    teaching: TrainingSpec = TrainingSpec(optimizer="adam", learning_rate=1e-4, epochs=10)
    """Of the teacher."""
    backbone_alone: TrainingSpec = TrainingSpec(optimizer="adam", learning_rate=1e-4, epochs=20)
    """Of the six backbones on the diagnoses alone."""
    student: TrainingSpec = TrainingSpec(optimizer="adadelta", learning_rate=1.0, epochs=20)
    """Of every distilled student, and of DSNet alone."""
    seeds: SeedsSpec = SeedsSpec()
    pool: PoolSpec = PoolSpec()
    timing: TimingSpec = TimingSpec()
    synthetic: bool = False
    """Draw images where no data are given."""

    @model_validator(mode="after")
    def _systems_exist(self) -> Self:
        unknown = [
            name for name in (self.teacher, *self.students, *self.seeds.systems, *self.also_at) if name not in SYSTEMS
        ]
        if unknown:
            raise ValueError(str(no_such("system", unknown[0], SYSTEMS)))
        return self


class Row(_Strict):
    """One line of a table: a training that can be repeated with several seeds."""

    table: TableName
    name: str
    system: str
    distilled: bool
    faults: Faults
    training: TrainingSpec
    temperature: float
    image_size: int | None = None
    """Side of its images in pixels; None: the study's."""


FULL = Settings(name="full")
SMOKE = Settings(
    name="smoke", image_size=80, weights="none", synthetic=True,
    teaching=TrainingSpec(optimizer="adam", learning_rate=1e-4, epochs=1),
    backbone_alone=TrainingSpec(optimizer="adam", learning_rate=1e-4, epochs=1),
    student=TrainingSpec(optimizer="adadelta", learning_rate=1.0, epochs=1),
    seeds=SeedsSpec(ablation=1),
    pool=PoolSpec(train_benign=62, train_malignant=62, test_benign=20, test_malignant=20),
    timing=TimingSpec(images=24, batch_size=8, repeats=1),
)  # fmt: skip
"""One epoch on 124 generated images: every row's path, and no result."""


def settings_of(budget: Budget, path: Path | None = None) -> Settings:
    """The settings of a budget, or those of a TOML file.

    Raises:
        InputError: no such file, not TOML, or keys that do not fit.
    """
    if path is None:
        return SMOKE if budget == "smoke" else FULL
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such recipe: {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    return parse(Settings, content, str(path))


def rows_of(table: TableName, settings: Settings, protocol: Protocol) -> list[Row]:
    """The rows of a table; the ablation has its own faults in each row, whatever the protocol."""
    if table == "ablation":
        return _ablation(settings)
    faults = of_protocol(protocol)
    if table == "2":
        return _table_2(settings, faults)
    rows = []
    for value in settings.temperatures if table == "temperature" else settings.batch_sizes:
        training = settings.student if table == "temperature" else _with_batch(settings.student, int(value))
        temperature = float(value) if table == "temperature" else settings.temperature
        name = f"{table}-{value:g}"
        rows.append(_row(table, name, "dsnet", True, faults, training, temperature))
    return rows


def _table_2(settings: Settings, faults: Faults) -> list[Row]:
    rows = [_row("2", "teacher", settings.teacher, False, faults, settings.teaching, settings.temperature)]
    for name in settings.students:
        alone = settings.student if name == "dsnet" else settings.backbone_alone
        rows.append(_row("2", f"{name}-distilled", name, True, faults, settings.student, settings.temperature))
        rows.append(_row("2", f"{name}-alone", name, False, faults, alone, settings.temperature))
    return rows + [
        row.model_copy(update={"name": f"{row.name}-{size}", "image_size": size})
        for size in dict.fromkeys(size for sizes in settings.also_at.values() for size in sizes)
        for row in rows
        if row.name == "teacher" or size in settings.also_at.get(row.system, ())
    ]


def _ablation(settings: Settings) -> list[Row]:
    cases = [("corrected", True, CORRECTED), ("no-distillation", False, CORRECTED)]
    cases += [(name, True, faults) for name, faults in single_faults()]
    # On raw pixels the larger step kills DSNet's rectifiers, on normalised ones the small step hardly moves it: each of
    # the two must be seen with the other as well.
    cases.append(("no-normalisation-and-small-step", True, Faults(no_normalisation=True, small_step=True)))
    larger = AS_PUBLISHED.model_copy(update={"small_step": False})
    cases += [("as-published-larger-step", True, larger), ("as-published", True, AS_PUBLISHED)]
    return [
        _row("ablation", name, "dsnet", distilled, faults, settings.student, settings.temperature)
        for name, distilled, faults in cases
    ]


def _row(
    table: TableName,
    name: str,
    system: str,
    distilled: bool,
    faults: Faults,
    training: TrainingSpec,
    temperature: float,
) -> Row:
    acting = relevant(faults, distilled=distilled, optimizer=training.optimizer)
    return Row(
        table=table, name=name, system=system, distilled=distilled, faults=acting, training=training,
        temperature=temperature,
    )  # fmt: skip


def _with_batch(training: TrainingSpec, size: int) -> TrainingSpec:
    return training.model_copy(update={"batch_size": size})


def named_rows(names: list[str], tables: list[TableName], settings: Settings, protocol: Protocol) -> list[Row]:
    """The rows of some tables, or of these those with the given names.

    Raises:
        InputError: a name that none of the tables has.
    """
    rows = [row for table in tables for row in rows_of(table, settings, protocol)]
    known = {row.name for row in rows}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise no_such("row", unknown[0], sorted(known))
    return [row for row in rows if not names or row.name in names]


def timed_name(system: str, image_size: int, usual: int) -> str:
    """What the clock calls a system at some image size: by its name alone at the study's."""
    return system if image_size == usual else f"{system}-{image_size}"


def timed_systems(settings: Settings) -> dict[str, tuple[str, int]]:
    """What the prediction clock times, system and image size by name: the students, the teacher if it is none of them,
    and those that have rows at further sizes."""
    usual = settings.image_size
    found = {name: (name, usual) for name in [*settings.students, settings.teacher]}
    for system, sizes in settings.also_at.items():
        found |= {timed_name(system, size, usual): (system, size) for size in sizes}
    return found


def train_spec(row: Row, settings: Settings) -> TrainSpec:
    """The row's training for `dermdistill.training.loop.fit`: constant rate, no averaging, no decay, no clipping."""
    training = row.training
    rate = settings.small_step if row.faults.small_step else training.learning_rate
    return TrainSpec(
        epochs=training.epochs, batch_size=training.batch_size, optimizer=training.optimizer, learning_rate=rate,
        weight_decay=0.0, schedule="constant", warmup_epochs=0.0, ema=0.0, clip=0.0, precision=settings.precision,
    )  # fmt: skip


def identity(row: Row, settings: Settings, seed: int, data_sha256: str) -> dict[str, Any]:
    """All that decides a training's result; two rows of different tables that agree in it share one run.

    Whether the last or the best epoch is kept is no part of it for a row without a teacher: both are stored.
    """
    faults = row.faults if row.distilled else row.faults.model_copy(update={"last_epoch": False})
    content = {
        "stage": "paper", "system": row.system, "distilled": row.distilled, "seed": seed,
        "image_size": row.image_size or settings.image_size, "weights": settings.weights, "faults": faults.model_dump(),
        "training": train_spec(row, settings).model_dump(mode="json"), "inputs": {"pool": data_sha256},
    }  # fmt: skip
    if row.distilled:
        content |= {
            "alpha": settings.alpha, "temperature": row.temperature, "teacher": settings.teacher,
            "teaching": settings.teaching.model_dump(mode="json"),
        }  # fmt: skip
    return content


def slug(row: Row, content: dict[str, Any]) -> str:
    """The run folder's name: readable, and unique by the identity's hash."""
    kind = "distilled" if row.distilled else "alone"
    return f"{row.system}-{kind}-s{content['seed']}-{sha256_json(content)[:10]}"


def changed(
    settings: Settings, *, weights: SystemWeights | None = None, teacher: str | None = None, seeds: int | None = None,
    image_size: int | None = None, epochs: int | None = None, images: int | None = None,
    timing_images: int | None = None,
) -> Settings:  # fmt: skip
    """Settings with a few changes, checked again; None changes nothing.

    Args:
        settings: those to start from.
        weights: 'hub', 'package' or 'none'.
        teacher: another system as the teacher.
        seeds: of every table.
        image_size: side in pixels.
        epochs: no training is longer than that.
        images: no more images than that; the pool's four numbers shrink alike.
        timing_images: of the prediction clock.

    Raises:
        InputError: a change that does not fit.
    """
    content: dict[str, Any] = settings.model_dump()
    for name, value in (("weights", weights), ("teacher", teacher), ("image_size", image_size)):
        if value is not None:
            content[name] = value
    if seeds is not None:
        content["seeds"] = dict.fromkeys(("table_2", "temperature", "batch", "ablation"), seeds)
    if timing_images is not None:
        content["timing"]["images"] = timing_images
    if epochs is not None:
        for kind in ("teaching", "backbone_alone", "student"):
            content[kind]["epochs"] = min(epochs, content[kind]["epochs"])
    if images is not None:
        names = [name for name in PoolSpec.model_fields if name != "seed"]
        share = min(1.0, images / sum(content["pool"][name] for name in names))
        content["pool"] |= {name: int(content["pool"][name] * share) for name in names}
    return parse(Settings, content, "the changed settings")
