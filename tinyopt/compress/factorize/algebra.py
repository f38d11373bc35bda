"""Low-rank approximations of matrices and tensors, in float64.

All take and return numpy arrays; none knows of layers. Kept energy is ``1 - |W - W'|² / |W|²`` in Frobenius norms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyopt.graph import Array


def spectrum(matrix: Array) -> Array:
    """Squared singular values, largest first [min(rows, columns)]: how much energy each direction holds."""
    values: Array = np.linalg.svd(matrix, compute_uv=False)
    return values**2


def rank_for(energies: Array, discard: float) -> int:
    """The smallest rank, at least 1, that leaves out no more than ``discard`` of the sum of ``energies``."""
    total = float(energies.sum())
    if total <= 0:
        return 1
    tails = np.concatenate([np.cumsum(energies[::-1])[::-1], [0.0]])
    return max(int(np.argmax(tails <= max(discard, 0.0) * total + 1e-15 * total)), 1)


def tail(energies: Array, rank: int) -> float:
    """Share of the energy beyond ``rank``."""
    total = float(energies.sum())
    return float(energies[rank:].sum()) / total if total > 0 else 0.0


def low_rank(matrix: Array, rank: int) -> tuple[Array, Array]:
    """The best approximation ``left [m, rank] @ right [rank, n]`` (Eckart and Young 1936)."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * v[:rank]


def tucker2(tensor: Array, ranks: tuple[int, int], *, iterations: int = 30) -> tuple[Array, Array, Array]:
    """Tensor [O, S, C] as (first [O, P], core [P, S, Q], last [C, Q]), both orthonormal: a Tucker decomposition that
    leaves the middle axis alone (Kim et al. 2016).

    Starts from the truncated higher-order SVD and improves both sides in turn (De Lathauwer et al. 2000); a side of
    full rank stays the identity.
    """
    outputs, _, inputs = tensor.shape
    p, q = min(ranks[0], outputs), min(ranks[1], inputs)
    first, last = _leading(_unfold(tensor, 0), p), _leading(_unfold(tensor, 2), q)
    kept = -1.0
    for _ in range(iterations if p < outputs and q < inputs else 1):
        if p < outputs:
            first = _leading(_unfold(np.einsum("osc,cq->osq", tensor, last, optimize=True), 0), p)
        if q < inputs:
            last = _leading(_unfold(np.einsum("osc,op->psc", tensor, first, optimize=True), 2), q)
        core = np.einsum("osc,op,cq->psq", tensor, first, last, optimize=True)
        now = float((core**2).sum())
        if now - kept <= 1e-9 * max(now, 1e-300):
            break
        kept = now
    return first, np.einsum("osc,op,cq->psq", tensor, first, last, optimize=True), last


def canonical(
    tensor: Array, rank: int, *, seed: int = 0, iterations: int = 300, tolerance: float = 1e-9
) -> tuple[Array, Array, Array]:
    """Tensor [O, S, C] as a sum of ``rank`` outer products: ([O, R], [S, R], [C, R]) (CP, Hitchcock 1927).

    Alternating least squares with a small ridge, on the tensor compressed to its own multilinear rank (Bro and
    Andersson 1998), started from the leading singular vectors and, beyond those, from random ones of ``seed``. The
    size of each product is shared equally by its three vectors.
    """
    bases = [_leading(_unfold(tensor, axis), min(rank, tensor.shape[axis])) for axis in range(3)]
    small = np.einsum("osc,op,st,cq->ptq", tensor, *bases, optimize=True)
    random = np.random.default_rng(seed)
    factors = []
    for axis in range(3):
        start = random.standard_normal((small.shape[axis], rank)) / np.sqrt(small.shape[axis])
        leading = np.eye(small.shape[axis])[:, :rank]
        start[:, : leading.shape[1]] = leading + 0.1 * start[:, : leading.shape[1]]
        factors.append(start)
    unfolded = [_unfold(small, axis) for axis in range(3)]
    energy, error = float((small**2).sum()), np.inf
    for _ in range(iterations):
        for axis in range(3):
            one, two = (factors[other] for other in range(3) if other != axis)
            gram = (one.T @ one) * (two.T @ two)
            gram[np.diag_indices(rank)] += 1e-10 * (np.trace(gram) / rank + 1e-300)
            product = (one[:, None] * two[None]).reshape(-1, rank)
            factors[axis] = np.linalg.solve(gram, (unfolded[axis] @ product).T).T
        factors = _shared_size(factors)
        difference = unfolded[0] - factors[0] @ (factors[1][:, None] * factors[2][None]).reshape(-1, rank).T
        now = float((difference**2).sum())
        if error - now <= tolerance * energy:
            break
        error = now
    a, b, c = (base @ factor for base, factor in zip(bases, factors))
    return a, b, c


def tensor_train(tensor: Array, ranks: Sequence[int]) -> list[Array]:
    """Tensor [n1, …, nd] as cores [r(k-1), nk, rk], r0 = rd = 1, by successive SVDs (Oseledets 2011).

    ``ranks``: the d - 1 bonds; lowered where the cores before them leave fewer.
    """
    cores: list[Array] = []
    rest, before = tensor.reshape(1, -1), 1
    for size, rank in zip(tensor.shape[:-1], ranks):
        left, right = low_rank(rest.reshape(before * size, -1), rank)
        cores.append(left.reshape(before, size, -1))
        rest, before = right, left.shape[1]
    return [*cores, rest.reshape(before, tensor.shape[-1], 1)]


def balance(left: Array, right: Array) -> tuple[Array, Array]:
    """Left [m, r] and right [r, n] of the same product whose columns and rows have equal norms, one by one.

    Of all ways to share the size between two layers this one is the easiest to train and to quantize.
    """
    a, b = np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1)
    scale = np.where((a > 0) & (b > 0), np.sqrt(b / np.where(a > 0, a, 1.0)), 1.0)
    return left * scale, right / scale[:, None]


def _unfold(tensor: Array, axis: int) -> Array:
    result: Array = np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)
    return result


def _leading(matrix: Array, rank: int) -> Array:
    """Orthonormal directions [rows, rank] of most energy; the identity when all are asked for."""
    rows, columns = matrix.shape
    if rank >= rows:
        return np.eye(rows)
    if columns > 2 * rows:
        # Vectors from the smaller Gram matrix; their order matters, their small values do not.
        _, vectors = np.linalg.eigh(matrix @ matrix.T)
        result: Array = vectors[:, ::-1][:, :rank]
        return result
    u: Array = np.linalg.svd(matrix, full_matrices=True)[0]
    return u[:, :rank]


def _shared_size(factors: list[Array]) -> list[Array]:
    norms = [np.linalg.norm(factor, axis=0) + 1e-300 for factor in factors]
    size = np.cbrt(norms[0] * norms[1] * norms[2])
    return [factor / norm * size for factor, norm in zip(factors, norms)]
