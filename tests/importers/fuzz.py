"""Look for model files that the importers do not refuse properly: damaged copies of small models, for some minutes.

    python tests/importers/fuzz.py --minutes 10 --formats tflite,onnx,pt2

Every file must import, or raise a ``ModelError``, within a few seconds and a few gigabytes. What imports must also
print and, where it is small, run. Whatever else happens is printed with the seed that repeats it, and the file is kept.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from importers.make_corpus import pt2_file
from importers.mutations import mutate

from tinyopt.errors import ModelError, TinyoptError
from tinyopt.execute import Executor
from tinyopt.graph import Graph, dump, graph_macs, peak_activation_bytes
from tinyopt.importers import load

CORPUS = Path(__file__).resolve().parent / "corpus"
BATCH = 500
SECONDS = 10
GIGABYTES = 3


class TooSlow(BaseException):
    """An import that does not end; not an ``Exception``, so that no importer can swallow it."""


# ---- the models that are damaged ------------------------------------------------------------------------------


def stored(suffix: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(CORPUS.glob(f"*.{suffix}"))}


CORPORA: dict[str, Callable[[], dict[str, bytes]]] = {
    "tflite": lambda: stored("tflite"),
    "onnx": lambda: stored("onnx"),
    "pt2": lambda: {"network.pt2": pt2_file()},
}


# ---- one file -------------------------------------------------------------------------------------------------


def case(corpus: dict[str, bytes], seed: int) -> tuple[str, bytes]:
    """The name of the model and the damaged file that belong to a seed."""
    chance = random.Random(seed)
    name = chance.choice(sorted(corpus))
    return name, mutate(corpus[name], chance)


def verdict(data: bytes) -> tuple[str, str]:
    """What an importer makes of a file: (imported, refused or FAILED, the traceback)."""

    def give_up(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = load(data)
            dump(graph)
            run_small(graph)
        return "imported", ""
    except ModelError:
        return "refused", ""
    except (Exception, TooSlow):
        return "FAILED", traceback.format_exc(limit=-6)
    finally:
        signal.alarm(0)


def run_small(graph: Graph) -> None:
    """Run a graph that is cheap to run: what the verifier lets through must be computable."""
    if graph_macs(graph) > 10**6 or peak_activation_bytes(graph) > 10**6:
        return
    zeros = {name: np.zeros(graph.tensors[name].shape, graph.tensors[name].dtype.numpy) for name in graph.inputs}
    try:
        with np.errstate(all="ignore"):
            Executor(graph)(zeros)
    except TinyoptError as error:
        raise AssertionError(f"the graph was accepted but does not run: {error}\n{dump(graph)}") from error


# ---- many files -----------------------------------------------------------------------------------------------


def work(corpus: dict[str, bytes], seeds: range, current: Any, results: Any) -> None:
    """A batch, in a process of its own: a crash of the process is a finding too."""
    sys.stderr = io.StringIO()
    limit = GIGABYTES << 30
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for seed in seeds:
        current.value = seed
        results.put((seed, *verdict(case(corpus, seed)[1])))
    current.value = -1


def fuzz(kind: str, minutes: float, seed: int, keep: Path) -> int:
    """Fuzz one format; returns the number of distinct findings."""
    import torch  # once, here, and not in every process of a batch

    torch.set_num_threads(1)
    corpus, fork = CORPORA[kind](), multiprocessing.get_context("fork")
    counts: Counter[str] = Counter()
    findings: dict[str, int] = {}
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        current, results = fork.Value("q", -1), fork.SimpleQueue()
        process = fork.Process(target=work, args=(corpus, range(seed, seed + BATCH), current, results))
        process.start()
        done = 0
        while process.is_alive() or not results.empty():
            while not results.empty():
                number, what, text = results.get()
                counts[what] += 1
                done += 1
                if text:
                    report(kind, corpus, number, text, findings, keep)
            process.join(0.02)
        if current.value >= 0:
            counts["FAILED"] += 1
            report(kind, corpus, current.value, f"the process died (exit code {process.exitcode})", findings, keep)
        seed += BATCH
    total = sum(counts.values())
    print(f"{kind}: {total} files, {dict(sorted(counts.items()))}, {len(findings)} distinct finding(s)", flush=True)
    return len(findings)


def report(kind: str, corpus: dict[str, bytes], seed: int, text: str, findings: dict[str, int], keep: Path) -> None:
    lines = [line for line in text.splitlines() if line.lstrip().startswith("File ")]
    key = lines[-1] if lines else text
    findings[key] = findings.get(key, 0) + 1
    if findings[key] > 1:
        return
    keep.mkdir(parents=True, exist_ok=True)
    name, data = case(corpus, seed)
    (keep / f"{kind}_{seed}").write_bytes(data)
    print(f"---- {kind}, seed {seed} (from {name})\n{text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each format")
    parser.add_argument("--formats", default="tflite,onnx,pt2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where findings are written")
    options = parser.parse_args()
    found = [fuzz(kind, options.minutes, options.seed, options.keep) for kind in options.formats.split(",")]
    return 1 if any(found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
