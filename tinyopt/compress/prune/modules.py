"""Masks on a network that is being trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyopt.bridge import GraphModule
from tinyopt.compress.prune.config import GradualCubic, NMPruning, WeightPruning
from tinyopt.compress.prune.masks import Masks, choose_masks, masks_of, prunable_weights
from tinyopt.compress.prune.scores import Measured, weight_scores
from tinyopt.errors import GraphError, TinyoptError
from tinyopt.graph import Array
from tinyopt.train import Callback, Dataset, Loss, Position


class MaskedWeight(nn.Module):
    """A parametrization: the weight times its mask. What is masked gets no gradient and keeps its value behind the
    mask. ``keep``: bool, of the weight's shape.

    ``gradient`` holds, where ``watch`` is set, the last gradient with respect to the masked weight, also where the
    mask is zero: what regrowth chooses by.
    """

    keep: Tensor

    def __init__(self, keep: Array) -> None:
        super().__init__()
        self.register_buffer("keep", torch.from_numpy(np.array(keep, bool)))
        self.watch = False
        self.gradient: Tensor | None = None

    def forward(self, value: Tensor) -> Tensor:
        result = value * self.keep
        if self.watch and result.requires_grad:
            result.register_hook(self._note)  # type: ignore[no-untyped-call]
        return result

    def _note(self, gradient: Tensor) -> None:
        self.gradient = gradient.detach()


def mask_of(module: GraphModule, name: str) -> MaskedWeight | None:
    """The mask of a constant, or None."""
    attribute = module.attribute(name)
    if not parametrize.is_parametrized(module.weights, attribute):
        return None
    chain: Any = getattr(module.weights.parametrizations, attribute)
    return next((part for part in chain if isinstance(part, MaskedWeight)), None)


def apply_masks(module: GraphModule, masks: Mapping[str, Array]) -> None:
    """Hold weights at zero while they are trained: constant → bool of its shape, True stays. A mask that is there
    already is replaced. ``to_graph`` writes the zeros into the graph.

    Raises:
        GraphError: when a constant does not exist, or a mask has another shape.
    """
    for name, keep in masks.items():
        shape = tuple(module.constant(name).shape)
        if tuple(np.shape(keep)) != shape:
            raise GraphError(f"the mask of '{name}' is {list(np.shape(keep))}; the weights are {list(shape)}")
        present = mask_of(module, name)
        if present is None:
            module.parametrize(name, MaskedWeight(keep).to(module.constant(name).device))
        else:
            present.keep.copy_(torch.from_numpy(np.array(keep, bool)))


def remove_masks(module: GraphModule) -> None:
    """Make all masks permanent: the weights hold their zeros, and training may change them again."""
    for name in module.parameter_names:
        if mask_of(module, name) is not None:
            module.remove_parametrizations(name)


class KeepZeros(Callback):
    """Fine-tunes a pruned network: what is zero at the start stays zero. For ``tinyopt.train.fit``."""

    def on_start(self, module: nn.Module) -> None:
        graph_module(module)
        from tinyopt.bridge import to_graph

        assert isinstance(module, GraphModule)
        present = {n: m for n, m in masks_of(to_graph(module)).items() if mask_of(module, n) is None}
        apply_masks(module, present)


class WeightsAtStep(Callback):
    """Keeps a copy of all constants after ``step`` updates (0: before the first)."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.weights: dict[str, Tensor] = {}

    def on_start(self, module: nn.Module) -> None:
        if self.step == 0:
            self._copy(graph_module(module))

    def on_step_end(self, position: Position) -> None:
        if position.step == self.step:
            self._copy(graph_module(position.module))

    def _copy(self, module: GraphModule) -> None:
        self.weights = {name: module.constant(name).detach().clone().cpu() for name in module.constant_names}

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weights = dict(state["weights"])


class GradualPruning(Callback):
    """Prunes while ``tinyopt.train.fit`` trains (see ``GradualCubic``); the masks stay on the module.

    Use it with ``restore_best=False``: the best epoch may be one before the last weights went. ``data`` is for
    criteria that need it. The masks are part of the module's state, so an interrupted run goes on with them.
    """

    def __init__(
        self,
        config: WeightPruning,
        schedule: GradualCubic,
        data: Dataset | None = None,
        *,
        loss: Loss | None = None,
        seed: int = 0,
    ) -> None:
        if schedule.regrow is not None and isinstance(config, NMPruning):
            raise TinyoptError("regrowth is for unstructured and block pruning, not for n:m patterns")
        self.config, self.schedule, self.data, self.loss, self.seed = config, schedule, data, loss, seed
        self.names: tuple[str, ...] = ()

    def on_start(self, module: nn.Module) -> None:
        made = graph_module(module)
        self.names = prunable_weights(made.graph, self.config)
        shapes = {name: tuple(made.constant(name).shape) for name in self.names}
        apply_masks(made, {n: np.ones(s, bool) for n, s in shapes.items() if mask_of(made, n) is None})
        if self.schedule.regrow == "gradient":
            for name in self.names:
                mask = mask_of(made, name)
                assert mask is not None
                mask.watch = True

    def on_step_end(self, position: Position) -> None:
        due = share_due(self.schedule, position)
        if due is not None:
            share, way = due
            self._update(graph_module(position.module), self.config.amount * share, position.step, way)

    def _update(self, module: GraphModule, amount: float, step: int, way: float) -> None:
        config = self.config.at(amount)
        if config is None:
            return
        masks = self._masks(module)
        scores = weight_scores(Measured(module, config.criterion, self.data, self.loss), self.names)
        for name, mask in masks.items():
            scores[name] = np.where(mask.keep.cpu().numpy(), scores[name], -np.inf)
        if self.schedule.regrow is not None:
            scores = self._regrown(module, masks, scores, config, step, way)
        apply_masks(module, choose_masks(module.graph, config, scores))

    def _masks(self, module: GraphModule) -> dict[str, MaskedWeight]:
        found = {name: mask_of(module, name) for name in self.names}
        return {name: mask for name, mask in found.items() if mask is not None}

    def _regrown(
        self,
        module: GraphModule,
        masks: Mapping[str, MaskedWeight],
        scores: Masks,
        config: WeightPruning,
        step: int,
        way: float,
    ) -> Masks:
        """Scores in which the weakest survivors changed places with weights that are to grow."""
        share = self.schedule.regrow_share * 0.5 * (1 + math.cos(math.pi * min(way, 1.0)))
        assert not isinstance(config, NMPruning)
        kept_share = 1 - config.amount
        stays = choose_masks(module.graph, config.at(1 - kept_share * (1 - share)), scores)
        random = np.random.default_rng([self.seed, step])
        result: Masks = {}
        for name, mask in masks.items():
            free = ~stays[name]
            if self.schedule.regrow == "random":
                wish = random.random(free.shape)
            else:
                wish = np.zeros(free.shape) if mask.gradient is None else mask.gradient.abs().cpu().double().numpy()
            # Survivors before everything; among the rest, those that want to grow most.
            top = float(wish.max(initial=0.0)) + 1.0
            result[name] = np.where(free, wish / top - 2.0, scores[name])
            self._from_zero(module, name, free)
        return result

    def _from_zero(self, module: GraphModule, name: str, free: Array) -> None:
        chain: Any = getattr(module.weights.parametrizations, module.attribute(name))
        with torch.no_grad():
            original: Tensor = chain.original
            original[torch.from_numpy(free).to(original.device)] = 0.0


def share_due(schedule: GradualCubic, position: Position) -> tuple[float, float] | None:
    """After a step that ends with an update of the masks: the share of the final amount, and the share of the way from
    begin to end. None after other steps."""
    total = position.steps_per_epoch * position.epochs
    begin, end = (math.floor(share * total) for share in (schedule.begin, schedule.end))
    step, end = position.step, max(end, begin + 1)
    if not begin < step <= end or ((step - begin) % schedule.interval and step != end):
        return None
    share = 1.0 if step == end else schedule.share(step / total)
    return share, (step - begin) / (end - begin)


def graph_module(module: nn.Module) -> GraphModule:
    if not isinstance(module, GraphModule):
        raise TinyoptError("masks are for modules made by tinyopt.bridge.to_torch")
    return module
