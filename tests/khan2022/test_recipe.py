from pathlib import Path

import pytest

from dermdistill.errors import InputError
from dermdistill.khan2022.protocol import AS_PUBLISHED, CORRECTED, Faults
from dermdistill.khan2022.recipe import (
    FULL,
    SMOKE,
    TABLES,
    changed,
    identity,
    named_rows,
    rows_of,
    settings_of,
    slug,
    train_spec,
)

RECIPES = Path(__file__).parents[2] / "recipes" / "khan2022"


def _row(name, protocol="corrected", settings=FULL):
    (row,) = named_rows([name], list(TABLES), settings, protocol)
    return row


@pytest.mark.parametrize(("name", "settings"), [("full", FULL), ("smoke", SMOKE)])
def test_the_committed_recipes_are_the_budgets(name, settings):
    assert settings_of(name, RECIPES / f"{name}.toml") == settings_of(name) == settings


def test_every_committed_recipe_loads():
    for path in RECIPES.glob("*.toml"):
        assert settings_of("full", path).name == path.stem


def test_the_settings_are_the_papers():
    assert FULL.temperatures == (3, 5, 7, 10, 20, 70, 90, 100)
    assert FULL.batch_sizes == (18, 32, 64, 96)
    student, teacher = _row("dsnet-distilled"), _row("teacher")
    assert (student.training.optimizer, student.training.epochs, student.training.batch_size) == ("adadelta", 20, 64)
    assert (teacher.system, teacher.training.optimizer, teacher.training.epochs) == ("resnet50", "adam", 10)
    spec = train_spec(teacher, FULL)
    assert (spec.learning_rate, spec.schedule, spec.ema, spec.clip, spec.weight_decay) == (1e-4, "constant", 0, 0, 0)
    assert (FULL.alpha, student.temperature, FULL.image_size, FULL.weights) == (0.1, 10, 224, "hub")


def test_every_row_can_be_had_by_name():
    assert [row.name for row in rows_of("temperature", FULL, "corrected")] == [
        f"temperature-{value}" for value in (3, 5, 7, 10, 20, 70, 90, 100)
    ]
    assert [row.training.batch_size for row in rows_of("batch", FULL, "corrected")] == [18, 32, 64, 96]
    names = [row.name for row in rows_of("2", FULL, "corrected")]
    assert len(names) == 15
    assert {"teacher", "vgg16-distilled", "vgg16-alone", "dsnet-distilled", "dsnet-alone"} <= set(names)
    ablation = [row.name for row in rows_of("ablation", FULL, "corrected")]
    assert len(ablation) == len(set(ablation)) == 14
    with pytest.raises(InputError, match=r"no row is called 'dsnet-destilled'; did you mean 'dsnet-distilled'\?"):
        named_rows(["dsnet-destilled"], list(TABLES), FULL, "corrected")


def test_a_protocol_is_one_switch():
    assert _row("dsnet-distilled").faults == CORRECTED
    assert _row("dsnet-distilled", "as-published").faults == AS_PUBLISHED
    assert _row("teacher", "as-published").faults == Faults(random_split=True, no_normalisation=True, last_epoch=True)
    assert train_spec(_row("dsnet-distilled", "as-published"), FULL).learning_rate == 0.001
    assert train_spec(_row("dsnet-distilled"), FULL).learning_rate == 1.0


def test_each_row_of_the_ablation_has_one_fault():
    rows = {row.name: row.faults for row in rows_of("ablation", FULL, "corrected")}
    singles = {name: faults for name, faults in rows.items() if sum(faults.model_dump().values()) == 1}
    assert {name.replace("-", "_") for name in singles} == set(Faults.model_fields)
    assert rows["no-normalisation-and-small-step"] == Faults(no_normalisation=True, small_step=True)
    assert rows["as-published"] == AS_PUBLISHED
    assert rows["as-published-larger-step"].model_dump() == {**AS_PUBLISHED.model_dump(), "small_step": False}


def test_rows_that_are_the_same_training_share_a_run():
    def run(name, protocol="corrected", settings=FULL, seed=0):
        row = _row(name, protocol, settings)
        return slug(row, identity(row, settings, seed, "data"))

    assert run("temperature-10") == run("batch-64") == run("dsnet-distilled") == run("corrected")
    assert run("as-published") == run("dsnet-distilled", "as-published")
    assert run("dsnet-alone") == run("no-distillation")
    assert run("last-epoch") != run("corrected"), "its teacher's last epoch teaches"
    several = [run("corrected"), run("corrected", seed=1), run("temperature-3"), run("batch-18"), run("no-t2")]
    several += [run("corrected", settings=changed(FULL, weights="none")), run("dsnet-alone"), run("dsnet-distilled")]
    assert len(set(several)) == len(several) - 1  # the last is the first again


def test_both_choices_of_a_checkpoint_are_one_training_without_a_teacher():
    corrected, last = _row("dsnet-alone"), _row("dsnet-alone")
    last = last.model_copy(update={"faults": Faults(last_epoch=True)})
    assert identity(corrected, FULL, 0, "data") == identity(last, FULL, 0, "data")


def test_settings_can_be_changed_and_are_checked_again():
    small = changed(FULL, epochs=3, images=1000, seeds=2, timing_images=10, image_size=64, teacher="lite0")
    assert (small.teaching.epochs, small.student.epochs, small.image_size, small.teacher) == (3, 3, 64, "lite0")
    assert sum(small.pool.model_dump(exclude={"seed"}).values()) <= 1000
    assert (small.seeds.table_2, small.seeds.ablation, small.timing.images) == (2, 2, 10)
    assert changed(FULL) == FULL
    with pytest.raises(InputError, match="no system is called 'resnet51'; did you mean"):
        changed(FULL, teacher="resnet51")


def test_a_recipe_with_unknown_keys_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\ntemprature = 3\nalpha = 2.0\n')
    with pytest.raises(InputError) as error:
        settings_of("full", path)
    assert "temprature: unknown key" in str(error.value)
    assert "alpha" in str(error.value)
    with pytest.raises(InputError, match="no such recipe"):
        settings_of("full", tmp_path / "none.toml")
