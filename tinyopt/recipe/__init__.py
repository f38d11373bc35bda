"""Recipes: one file that says what is done to a model, in which order, with which data, and what must come out."""

from tinyopt.recipe.kinds import Context, Outcome, StageKind, stage_kinds
from tinyopt.recipe.measure import Metrics, measure_model
from tinyopt.recipe.recipe import Budgets, DataSets, Recipe, Source, Stage, load_recipe, make_recipe
from tinyopt.recipe.report import Budget, RecipeReport, Row, markdown, render
from tinyopt.recipe.runner import RecipeResult, check_recipe, run_recipe

__all__ = [
    "Budget",
    "Budgets",
    "Context",
    "DataSets",
    "Metrics",
    "Outcome",
    "Recipe",
    "RecipeReport",
    "RecipeResult",
    "Row",
    "Source",
    "Stage",
    "StageKind",
    "check_recipe",
    "load_recipe",
    "make_recipe",
    "markdown",
    "measure_model",
    "render",
    "run_recipe",
    "stage_kinds",
]
