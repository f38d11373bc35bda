"""The factorizations: what each applies to, what ranks it has, and the chain of layers that it gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from tinyopt.compress.factorize import algebra
from tinyopt.compress.factorize.layers import (
    Chain,
    Layer,
    convolutions,
    dense_train_chain,
    pointwise_chain,
)
from tinyopt.graph import Array, ops

MethodName = Literal["svd", "spatial", "tucker", "cp", "tensor_train"]
Ranks = tuple[int, ...]
METHODS: tuple[MethodName, ...] = ("svd", "spatial", "tucker", "cp", "tensor_train")
AUTOMATIC: tuple[MethodName, ...] = ("svd", "spatial", "tucker")
"""What ``auto`` tries: closed or nearly closed solutions, whose error is known before the work is done."""


@dataclass(frozen=True, eq=False)
class Result:
    """A factorization with its ranks: the chain, and the share of the weights' energy that it leaves out."""

    method: MethodName
    ranks: Ranks
    chain: Chain
    discarded: float

    @property
    def parameters(self) -> int:
        """Number of weights of all factors."""
        return sum(step.parameters for step in self.chain)


class Factorizer(Protocol):
    """One method on one layer. ``limits``: the largest useful rank of each bond."""

    @property
    def name(self) -> MethodName: ...
    @property
    def limits(self) -> Ranks: ...

    def ranks_for(self, discard: float) -> Ranks:
        """The smallest ranks that leave out at most this share of the energy."""

    def make(self, ranks: Ranks) -> Result:
        """The chain for these ranks (lowered to the limits)."""


@dataclass(eq=False)
class _Bonds:
    """A method whose ranks follow from the spectra of unfoldings of the weights, one for each bond."""

    layer: Layer
    seed: int
    name: MethodName = "svd"

    def _unfoldings(self) -> Sequence[Array]:
        raise AssertionError

    def _factors(self, ranks: Ranks) -> tuple[Chain, Array]:
        """The chain, and the weights [O, KH, KW, C] that it stands for."""
        raise AssertionError

    @cached_property
    def _spectra(self) -> list[Array]:
        return [algebra.spectrum(matrix) for matrix in self._unfoldings()]

    @cached_property
    def limits(self) -> Ranks:
        return tuple(len(energies) for energies in self._spectra)

    def ranks_for(self, discard: float) -> Ranks:
        # What is left out together is at most the sum of what each bond leaves out by itself.
        share = discard / len(self._spectra)
        return tuple(algebra.rank_for(energies, share) for energies in self._spectra)

    def make(self, ranks: Ranks) -> Result:
        used = tuple(max(1, min(rank, limit)) for rank, limit in zip(ranks, self.limits))
        chain, approximation = self._factors(used)
        weights = self.layer.weights
        error = float(((weights - approximation) ** 2).sum() / (weights**2).sum())
        return Result(self.name, used, chain, error)


class _Svd(_Bonds):
    def _unfoldings(self) -> Sequence[Array]:
        return [self.layer.weights[:, 0, 0]]

    def _factors(self, ranks: Ranks) -> tuple[Chain, Array]:
        left, right = algebra.low_rank(self.layer.weights[:, 0, 0], ranks[0])
        return pointwise_chain(self.layer, left, right), (left @ right)[:, None, None]


class _Spatial(_Bonds):
    """Columns then rows (Jaderberg et al. 2014), by the SVD of [KH * C, KW * O] (Tai et al. 2016)."""

    def _unfoldings(self) -> Sequence[Array]:
        o, h, w, c = self.layer.weights.shape
        return [self.layer.weights.transpose(1, 3, 2, 0).reshape(h * c, w * o)]

    def _factors(self, ranks: Ranks) -> tuple[Chain, Array]:
        o, h, w, c = self.layer.weights.shape
        left, right = algebra.low_rank(self._unfoldings()[0], ranks[0])
        columns = left.reshape(h, 1, c, -1).transpose(3, 0, 1, 2)
        rows = right.reshape(-1, 1, w, o).transpose(3, 1, 2, 0)
        chain = convolutions(self.layer, [("columns", columns, False), ("rows", rows, False)])
        return chain, (left @ right).reshape(h, c, w, o).transpose(3, 0, 2, 1)


class _Tucker(_Bonds):
    """1x1, k x k, 1x1; ranks are (output side, input side). A side of full rank needs no layer."""

    def _unfoldings(self) -> Sequence[Array]:
        o, _, _, c = self.layer.weights.shape
        return [self.layer.weights.reshape(o, -1), self.layer.weights.reshape(-1, c).T]

    @cached_property
    def limits(self) -> Ranks:
        o, h, w, c = self.layer.weights.shape
        return min(o, h * w * c), min(c, h * w * o)

    def _factors(self, ranks: Ranks) -> tuple[Chain, Array]:
        o, h, w, c = self.layer.weights.shape
        p, q = ranks
        first, core, last = algebra.tucker2(self.layer.weights.reshape(o, h * w, c), (p, q))
        approximation = np.einsum("op,psq,cq->osc", first, core, last, optimize=True).reshape(o, h, w, c)
        parts: list[tuple[str, Array, bool]] = []
        if q < c:
            lower, scaled = algebra.balance(last, core.reshape(-1, q).T)
            core = scaled.T.reshape(p, h * w, q)
            parts.append(("reduce", lower.T[:, None, None], False))
        if p < o:
            first, scaled = algebra.balance(first, core.reshape(p, -1))
            core = scaled.reshape(p, h * w, q)
        parts.append(("core", core.reshape(p, h, w, q), False))
        if p < o:
            parts.append(("expand", first[:, None, None], False))
        return convolutions(self.layer, parts), approximation


class _Train(_Bonds):
    """A tensor train: convolutions along (C, KH, KW, O); fully connected layers along pairs of factors of O and I."""

    @cached_property
    def _pairs(self) -> list[tuple[int, int]]:
        """(ok, ik): O and I as products, the factors as equal as can be."""
        o, _, _, i = self.layer.weights.shape
        first, second = _two_factors(o), _two_factors(i)
        # The larger factor of one meets the smaller of the other: cores of like size.
        return [(first[1], second[0]), (first[0], second[1])]

    @cached_property
    def _tensor(self) -> Array:
        weights = self.layer.weights
        if isinstance(self.layer.attributes, ops.FullyConnected):
            (o1, i1), (o2, i2) = self._pairs
            # o = (o2, o1), i = (i1, i2) → [o1 * i1, o2 * i2]
            result: Array = weights.reshape(o2, o1, i1, i2).transpose(1, 2, 0, 3).reshape(o1 * i1, o2 * i2)
            return result
        return np.transpose(weights, (3, 1, 2, 0))

    def _unfoldings(self) -> Sequence[Array]:
        shape = self._tensor.shape
        return [self._tensor.reshape(math.prod(shape[:k]), -1) for k in range(1, len(shape))]

    def _factors(self, ranks: Ranks) -> tuple[Chain, Array]:
        cores = algebra.tensor_train(self._tensor, ranks)
        full = cores[0]
        for core in cores[1:]:
            full = np.tensordot(full, core, 1)
        full = full[0, ..., 0]
        if isinstance(self.layer.attributes, ops.FullyConnected):
            return self._dense(cores, full)
        for k in range(len(cores) - 1):
            left, right = cores[k], cores[k + 1]
            bond = left.shape[-1]
            a, b = algebra.balance(left.reshape(-1, bond), right.reshape(bond, -1))
            cores[k], cores[k + 1] = a.reshape(left.shape), b.reshape(right.shape)
        parts = [
            ("reduce", cores[0][0].T[:, None, None], False),
            ("columns", cores[1].transpose(2, 1, 0)[:, :, None], False),
            ("rows", cores[2].transpose(2, 1, 0)[:, None], False),
            ("expand", cores[3][..., 0].T[:, None, None], False),
        ]
        return convolutions(self.layer, parts), full.transpose(3, 1, 2, 0)

    def _dense(self, cores: list[Array], full: Array) -> tuple[Chain, Array]:
        (o1, i1), (o2, i2) = self._pairs
        pairs = [core.reshape(core.shape[0], o, i, core.shape[2]) for core, (o, i) in zip(cores, self._pairs)]
        weights = full.reshape(o1, i1, o2, i2).transpose(2, 0, 1, 3).reshape(o1 * o2, 1, 1, i1 * i2)
        return dense_train_chain(self.layer, pairs), weights


@dataclass(eq=False)
class _Canonical:
    """1x1, depthwise k x k, 1x1: a sum of rank-one filters (Lebedev et al. 2015)."""

    layer: Layer
    seed: int
    name: MethodName = "cp"

    def __post_init__(self) -> None:
        o, h, w, c = self.layer.weights.shape
        self.limits: Ranks = (min(o * c, h * w * min(o, c)),)
        self._known: dict[int, tuple[Array, Array, Array, float]] = {}

    def _solve(self, rank: int) -> tuple[Array, Array, Array, float]:
        if rank not in self._known:
            o, h, w, c = self.layer.weights.shape
            tensor = self.layer.weights.reshape(o, h * w, c)
            a, b, d = algebra.canonical(tensor, rank, seed=self.seed)
            error = float(((tensor - np.einsum("or,sr,cr->osc", a, b, d)) ** 2).sum() / (tensor**2).sum())
            self._known[rank] = (a, b, d, error)
        return self._known[rank]

    def ranks_for(self, discard: float) -> Ranks:
        # No spectrum tells the rank beforehand: double it until the error fits, then halve the interval.
        low, high = 0, 1
        largest = self._largest_useful()
        while high < largest and self._solve(high)[3] > discard:
            low, high = high, min(2 * high, largest)
        while high - low > max(1, low // 8):
            middle = (low + high) // 2
            low, high = (low, middle) if self._solve(middle)[3] <= discard else (middle, high)
        return (high,)

    def make(self, ranks: Ranks) -> Result:
        rank = max(1, min(ranks[0], self.limits[0]))
        a, b, d, error = self._solve(rank)
        _, h, w, _ = self.layer.weights.shape
        parts = [
            ("reduce", d.T[:, None, None], False),
            ("filter", b.T.reshape(rank, h, w).transpose(1, 2, 0)[None], True),
            ("expand", a[:, None, None], False),
        ]
        return Result(self.name, (rank,), convolutions(self.layer, parts), error)

    def _largest_useful(self) -> int:
        """Beyond this rank the factors hold more weights than the layer."""
        o, h, w, c = self.layer.weights.shape
        return max(1, min(self.limits[0], self.layer.parameters // int(o + h * w + c) + 1))


def factorizer(layer: Layer, method: MethodName, seed: int) -> Factorizer | str:
    """A method for a layer; or why it does not apply."""
    _, h, w, _ = layer.weights.shape
    dense = isinstance(layer.attributes, ops.FullyConnected)
    if method == "svd":
        if not layer.is_pointwise:
            return f"svd is for fully connected layers and 1x1 convolutions, not {h}x{w}; spatial and tucker are"
        return _Svd(layer, seed, "svd")
    if method == "tensor_train" and dense:
        return _Train(layer, seed, "tensor_train")
    if layer.is_pointwise:
        return f"{method} is for convolutions larger than 1x1; svd is"
    if method in ("spatial", "tensor_train") and 1 in (h, w):
        return f"{method} splits rows from columns, and the kernel is {h}x{w}; tucker is"
    makers: dict[str, Callable[..., Any]] = {"spatial": _Spatial, "tucker": _Tucker, "tensor_train": _Train}
    made: Factorizer = _Canonical(layer, seed, "cp") if method == "cp" else makers[method](layer, seed, method)
    return made


def _two_factors(number: int) -> tuple[int, int]:
    """Two factors, the smaller first, as equal as can be."""
    smaller = next(f for f in range(math.isqrt(number), 0, -1) if number % f == 0)
    return smaller, number // smaller
