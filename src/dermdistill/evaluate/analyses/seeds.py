"""Models that differ in their seed alone: the mean over the seeds, and how far one training lies from the next."""

import json

import numpy as np
from pydantic import Field

from dermdistill.distillation.spec import complete
from dermdistill.evaluate.comparison import Comparison
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.specs import Strict


class OverSeeds(Strict):
    """One metric over the seeds of one recipe."""

    mean: Figure
    """With the interval that other lesions would give."""
    sd: float | None
    """Over the seeds (n - 1)."""
    difference: Difference | None
    """Of the means; none for the baseline itself."""


class Gap(Strict):
    """The mean over the seeds of one recipe minus that of another, with lesions and seeds drawn anew."""

    auroc: Difference
    within: Difference | None
    """Within collections; None if there is one collection."""


class Seeds(Strict):
    """Models that differ in their seed alone."""

    members: list[str]
    seeds: list[int | None]
    against: list[str]
    """The baseline, and what differs from it in the seed alone."""
    metrics: dict[str, OverSeeds]
    gaps: dict[str, Gap] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """Against each recipe of several seeds before it, by its first model; the baseline's recipe comes first."""


def recipe_of(model: ModelPredictions) -> str | None:
    """What a model was trained by, without its name and seed; None for a bare table."""
    if not model.recipe:
        return None
    stage = model.provenance.stage or ""
    recipe = {key: value for key, value in complete(stage, model.recipe).items() if key != "name"}
    return json.dumps([stage, recipe], sort_keys=True)


def of_one_recipe(models: dict[str, ModelPredictions]) -> list[list[str]]:
    """The names of models that were trained alike but for the name and the seed, two or more each, in their order."""
    found: dict[str, list[str]] = {}
    for name, model in models.items():
        recipe = recipe_of(model)
        if recipe is not None:
            found.setdefault(recipe, []).append(name)
    seeds = {name: model.provenance.seed for name, model in models.items()}
    return [names for names in found.values() if len({seeds[name] for name in names}) == len(names) > 1]


def over_seeds(comparison: Comparison, inside: dict[str, np.ndarray]) -> dict[str, Seeds]:
    """Mean, standard deviation and paired difference of every metric over the seeds, by the first model of each recipe.

    Args:
        comparison: the models; if the baseline has several seeds itself, others are compared with their mean.
        inside: each model's AUROC within collections in the same replicates, [R]; empty if there is one collection.
    """
    models, figures = comparison.models, comparison.figures
    groups = of_one_recipe(models)
    against = next((names for names in groups if comparison.baseline in names), [comparison.baseline])
    gaps = _gaps(comparison, inside, sorted(groups, key=lambda names: names != against))
    sections = {}
    for names in groups:
        metrics = {}
        for key in figures[names[0]]:
            values = np.stack([figures[name][key] for name in names])
            other = np.mean([figures[name][key] for name in against], axis=0)
            metrics[key] = OverSeeds(
                mean=figure(values.mean(0), "undefined for one of the seeds"),
                sd=float(values[:, 0].std(ddof=1)) if np.isfinite(values[:, 0]).all() else None,
                difference=None if names == against else difference(values.mean(0), other),
            )
        seeds = [models[name].provenance.seed for name in names]
        sections[names[0]] = Seeds(members=names, seeds=seeds, against=against, metrics=metrics, gaps=gaps[names[0]])
    return sections


def _gaps(
    comparison: Comparison, inside: dict[str, np.ndarray], groups: list[list[str]]
) -> dict[str, dict[str, Gap]]:  # fmt: skip
    """Each recipe against those before it.

    A replicate draws lesions, the same ones for all, and from the seeds of each recipe as many as there are, with
    replacement.
    """
    areas = {name: figures["auroc"] for name, figures in comparison.figures.items()}
    drawn: dict[str, list[np.ndarray]] = {}
    found: dict[str, dict[str, Gap]] = {}
    for number, names in enumerate(groups):
        count, replicates = len(names), len(areas[names[0]])
        picked = np.random.default_rng([comparison.spec.seed, 1, number]).integers(count, size=(count, replicates))
        picked[:, 0] = np.arange(count)  # the first replicate is that of the data as they are
        of = [np.stack([values[name] for name in names]) for values in (areas, inside) if values]
        drawn[names[0]] = [np.take_along_axis(values, picked, axis=0).mean(0) for values in of]
        found[names[0]] = {}
        for other in (earlier[0] for earlier in groups[:number]):
            both = [difference(ours, theirs) for ours, theirs in zip(drawn[names[0]], drawn[other], strict=True)]
            found[names[0]][other] = Gap(auroc=both[0], within=both[1] if inside else None)
    return found
