"""Models that differ in their seed alone: the mean over the seeds, and how far one training lies from the next."""

import json

import numpy as np

from dermdistill.distillation.spec import complete
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.specs import Strict

Figures = dict[str, dict[str, np.ndarray]]
"""By model and metric: its replicates [R], the first of the images as they are."""


class OverSeeds(Strict):
    """One metric over the seeds of one recipe."""

    mean: Figure
    """With the interval that other lesions would give."""
    sd: float | None
    """Over the seeds (n - 1)."""
    difference: Difference | None
    """Of the means; none for the baseline itself."""


class Seeds(Strict):
    """Models that differ in their seed alone."""

    members: list[str]
    seeds: list[int | None]
    against: list[str]
    """The baseline, and what differs from it in the seed alone."""
    metrics: dict[str, OverSeeds]


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


def over_seeds(models: dict[str, ModelPredictions], figures: Figures, baseline: str) -> dict[str, Seeds]:
    """Mean, standard deviation and paired difference of every metric over the seeds, by the first model of each recipe.

    Args:
        models: by name.
        figures: replicates of the same draws for every model.
        baseline: the model that the means are compared with; if it has several seeds itself, their mean.
    """
    groups = of_one_recipe(models)
    against = next((names for names in groups if baseline in names), [baseline])
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
        sections[names[0]] = Seeds(members=names, seeds=seeds, against=against, metrics=metrics)
    return sections
