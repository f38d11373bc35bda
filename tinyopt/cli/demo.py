"""``tinyopt demo``: the whole way, from training to a measured firmware, in a minute and without hardware.

The data are scikit-learn's handwritten digits (1,797 images of 8x8, 16 grey levels; UCI ML repository, E. Alpaydin
and C. Kaynak 1998). The network is a small residual CNN of about 5,600 parameters.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from tinyopt.board import load_board
from tinyopt.cli.console import console, errors, progress
from tinyopt.errors import MismatchError
from tinyopt.examples import build_network, digits
from tinyopt.graph import Array, Graph, save_graph

EPOCHS = 30
BATCH = 64


def train(images: Array, labels: Array, seed: int) -> Any:
    """Train the network (Adam, one-cycle learning rate, cross-entropy); returns it in evaluation mode."""
    import torch
    from torch import nn

    random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the network is too small to share out
    network = build_network()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    batches = -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=EPOCHS * batches)
    loss_of = nn.CrossEntropyLoss()
    network.train()
    with progress(f"training on {len(x)} images") as step:
        for epoch in range(EPOCHS):
            for indices in torch.split(torch.randperm(len(x)), BATCH):
                optimizer.zero_grad()
                loss_of(network(x[indices]), y[indices]).backward()
                optimizer.step()
                schedule.step()
            step(epoch + 1, EPOCHS)
    return network.eval()


def run_demo(board_name: str, output: Path, seed: int) -> None:
    """Train, quantize, compile, run, compare; print one table.

    Raises:
        MismatchError: when a device output differs from the integer reference.
    """
    import torch
    from rich.table import Table

    from tinyopt.data import Samples, load_samples
    from tinyopt.importers import load
    from tinyopt.pipeline import reference_outputs, run_on_board
    from tinyopt.quantize import quantize
    from tinyopt.report import top1

    board = load_board(board_name)
    train_images, train_labels, test_images, test_labels = digits()
    network = train(train_images, train_labels, seed)

    output.mkdir(parents=True, exist_ok=True)
    np.savez(output / "test.npz", x=test_images, y=test_labels)
    example = (torch.from_numpy(test_images[:1]),)
    float_graph: Graph = load(network, example_inputs=example, name="digits")
    save_graph(float_graph, output / "digits-float32.tinyopt")
    with progress("quantizing to int8 with 256 calibration images"):
        integer_graph = quantize(float_graph, Samples.from_array(train_images[:256], float_graph))
    save_graph(integer_graph, output / "digits-int8.tinyopt")

    float_samples = Samples.from_array(test_images, float_graph, labels=test_labels)
    with progress("running the float model on this machine"):
        float_outputs = reference_outputs(float_graph, float_samples)
    float_top1 = top1([sample[0] for sample in float_outputs], float_graph.tensors[float_graph.outputs[0]], test_labels)

    samples = load_samples(str(output / "test.npz"), integer_graph)
    result = run_on_board(integer_graph, board, samples, project=output / "project", model_name="digits")
    report = result.report
    reference_top1 = top1(
        [sample[0] for sample in result.reference], integer_graph.tensors[integer_graph.outputs[0]], test_labels
    )

    table = Table(title=f"digits on {board.title}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("test images", f"{report.samples:,}")
    table.add_row("accuracy, float32 on this machine", f"{float_top1:.2%}")
    table.add_row("accuracy, int8 reference on this machine", f"{reference_top1:.2%}")
    table.add_row("accuracy, int8 on the board", f"{report.top1 or 0.0:.2%}")
    table.add_row("mismatches, board against reference", f"{report.mismatches:,}")
    table.add_row("instructions per inference", "–" if report.instructions is None else f"{report.instructions:,}")
    table.add_row("multiply-accumulates per inference", f"{report.macs:,}")
    table.add_row("flash: code and tables", f"{report.code_bytes:,} bytes")
    table.add_row("flash: weights", f"{report.weights_bytes:,} bytes")
    table.add_row("RAM: arena", f"{report.arena_bytes:,} bytes")
    table.add_row("RAM: stack", "–" if report.stack_bytes is None else f"{report.stack_bytes:,} bytes")
    console().print(table)
    console().print(f"generated project: {output / 'project'}")
    console().print(f"models and data:   {output}")
    if report.mismatches:
        errors().print(f"first mismatch: {report.first_mismatch}")
        raise MismatchError(f"{report.mismatches} of {report.samples} outputs differ from the reference")
