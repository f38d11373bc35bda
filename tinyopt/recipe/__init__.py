"""Recipes: one file that says what is done to a model, in which order, with which data, and what must come out."""

from tinyopt.recipe.data_sets import DataSets, Source
from tinyopt.recipe.kinds import Context, Outcome, StageKind
from tinyopt.recipe.measure import Metrics, measure_model
from tinyopt.recipe.recipe import Budgets, Recipe, Stage, load_recipe, make_recipe
from tinyopt.recipe.report import Budget, RecipeReport, Row, markdown, render
from tinyopt.recipe.runner import RecipeResult, check_recipe, run_recipe
from tinyopt.recipe.stages import stage_kinds

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
