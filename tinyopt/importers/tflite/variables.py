"""Resource variables of TFLite: values that live from one inference to the next, as states of the graph.

The file writes them imperatively. Reading gives the value at that point of the execution, assigning replaces it; what
holds at the end of the inference is what the next one starts from. The initial values come from a subgraph that runs
once, and from its constants here.
"""

from __future__ import annotations

import numpy as np

from tinyopt.errors import ModelError
from tinyopt.graph import GraphBuilder
from tinyopt.importers.tflite.lowering import CannotLower, Importer, Node, Variable, lowers


@lowers("VAR_HANDLE")
def var_handle(node: Node) -> None:
    key = (str(node.operator.options["Container"]), str(node.operator.options["SharedName"]))
    node.importer.handles[node.target()] = key
    if key not in node.importer.variables:
        node.importer.variables[key] = Variable(key[1] or f"variable_{len(node.importer.variables)}")


def _variable(node: Node) -> Variable:
    key = node.importer.handles.get(node.index(0))
    if key is None:
        raise ModelError("its first input is not the handle of a variable")
    return node.importer.variables[key]


@lowers("READ_VARIABLE")
def read_variable(node: Node) -> None:
    variable = _variable(node)
    if node.importer.parent is not None:
        raise CannotLower("a variable read while variables get their initial values")
    y = node.output()
    if variable.current is None:
        initial = variable.initial
        if initial is None:  # TensorFlow Lite Micro starts from real zero
            node.importer.spend(y.nbytes)
            initial = np.full(y.shape, 0 if y.quantization is None else y.zero_point, y.dtype.numpy)
        if tuple(initial.shape) != y.shape or initial.dtype != y.dtype.numpy:
            raise ModelError(
                f"the variable is read as {y.dtype.value}{list(y.shape)} but starts as "
                f"{initial.dtype}{list(initial.shape)}"
            )
        variable.state, variable.read = node.importer.state(variable.name, initial, y.quantization, y.name)
        variable.current = variable.read
    node.finish_moved(variable.current)


@lowers("ASSIGN_VARIABLE")
def assign_variable(node: Node) -> None:
    variable, name = _variable(node), node.input(1)
    value = node.tensor(name)
    if node.importer.parent is not None:
        if value.data is None:
            raise CannotLower("an initial value that is computed")
        variable.initial = value.data
        return
    if variable.state is not None:
        state = node.tensor(variable.read)
        if (state.shape, state.dtype) != (value.shape, value.dtype):
            raise ModelError(
                f"the variable is {state.dtype.value}{list(state.shape)}, "
                f"'{name}' is {value.dtype.value}{list(value.shape)}"
            )
        name = node.requantized(name, state)
    variable.current = name


@lowers("CALL_ONCE")
def call_once(node: Node) -> None:
    """Runs at the first inference: evaluated here. It must come before the variables are used."""
    importer = node.importer
    number = node.option("InitSubgraphIndex")
    if importer.parent is not None or not 0 < number < len(importer.model.subgraphs):
        raise ModelError(f"it calls subgraph {number} of {len(importer.model.subgraphs)}")
    if any(variable.current is not None for variable in importer.variables.values()):
        raise CannotLower("variables that are used before they get their initial values")
    once = Importer(importer.model, GraphBuilder("initial"), importer.source, subgraph=number, parent=importer)
    once.budget = importer.budget
    once.lower_operators()
    importer.budget = once.budget
