"""SavedModels are programs: what one can do beside computing, read from its graph without running it.

Keras files are opened in Keras's safe mode, which runs no code that is inside. The other formats cannot hold any: LiteRT and ONNX
Runtime load operations from libraries only that this package never names.
"""

import re
from pathlib import Path
from typing import Any

from keras_resnet.hooks import saved_model_of

REACHING = re.compile(
    "File|Save|Restore|Checkpoint|Record|Reader|Dataset|TextLine|Sql|LMDB|ImmutableConst|Remap"  # files
    "|SummaryWriter|Write.*Summary|SummaryDb|ImportEvent|Print|Debug"
    "|PyFunc|Send|Recv|Remote|Collective|Rpc|Worker"  # Python, and other processes
)
"""Names of TensorFlow's operations that reach out of the graph: to files, to Python, to other processes."""
ADVICE = "open it only if you trust whoever made it: trust=True (--trust)"


class Untrusted(ValueError):
    """A SavedModel that may do more than compute."""


def check_trusted(folder: Path, is_listed: bool) -> None:
    """Untrusted for a SavedModel that no manifest lists, or whose operations reach out of its graph."""
    names = sorted(reaching_operations(saved_model_of((folder / "saved_model.pb").read_bytes())))
    if names:
        raise Untrusted(
            f"a SavedModel is a program, and this one has operations that reach beyond it, {', '.join(names)}; {ADVICE}"
        )
    if not is_listed:
        raise Untrusted(f"a SavedModel is a program, and no manifest.json of an export lists this one; {ADVICE}")


def reaching_operations(saved_model: Any) -> set[str]:
    """The operations that match `REACHING` among those that run when a SavedModel is loaded and called.

    TensorFlow runs the functions of the object graph, and what they call, but not those that saved the variables; of a SavedModel
    of TensorFlow 1 it may run anything.
    """
    found: set[str] = set()
    is_object = len(saved_model.meta_graphs) == 1 and saved_model.meta_graphs[0].HasField("object_graph_def")
    for meta_graph in saved_model.meta_graphs:
        bodies = {function.signature.name: function.node_def for function in meta_graph.graph_def.library.function}
        names = set(meta_graph.object_graph_def.concrete_functions) if is_object else set(bodies)
        bodies[""] = [] if is_object else meta_graph.graph_def.node
        waiting, seen = {"", *names}, set()
        while waiting:
            seen.add(name := waiting.pop())
            called = {name for node in bodies.get(name, ()) for name in called_by(node)}
            found |= {name for name in called - bodies.keys() if REACHING.search(name)}
            waiting |= (called & bodies.keys()) - seen
    return found


def called_by(node: Any) -> set[str]:
    """The operation of a node, or the function that is used as one, and the functions that its attributes name."""
    attributes = node.attr.values()
    return {
        node.op,
        *(value.func.name for value in attributes),
        *(inner.name for value in attributes for inner in value.list.func),
    } - {""}
