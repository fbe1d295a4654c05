"""SavedModels are programs: what one can do beside computing, read from its graph without running it.

Keras files are opened in Keras's safe mode, which runs no code that is inside. The other formats cannot hold any: LiteRT and ONNX
Runtime load operations from libraries only that this package never names.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_resnet.hooks import saved_model_of

REACHING = re.compile(
    "File|Save|Restore|Checkpoint|Record|Reader|Dataset|TextLine|Sql|LMDB|ImmutableConst|Remap|Proto|Skipgram|FixedUnigram"  # files
    "|SummaryWriter|Write.*Summary|SummaryDb|ImportEvent|Print|Debug"
    "|PyFunc|Send|Recv|Remote|Collective|Rpc|Worker"  # Python, and other processes
    "|XlaCall|XlaCustom|Mlir|TRT"  # programs of other compilers
)
"""Names of TensorFlow's operations that reach out of the graph."""
ADVICE = "open it only if you trust whoever made it: trust=True (--trust)"


class Untrusted(ValueError):
    """A SavedModel that may do more than compute."""


def check_trusted(folder: Path, is_listed: bool) -> None:
    """Untrusted for a SavedModel that no manifest lists, or whose operations reach out of its graph."""
    names = sorted(reaching_operations(saved_model_of((folder / "saved_model.pb").read_bytes())))
    if names:
        what = f"can access files, Python or other processes by its operations {', '.join(names)}"
        raise Untrusted(f"a SavedModel is a program, and this one {what}; {ADVICE}")
    if not is_listed:
        raise Untrusted(f"a SavedModel is a program, and no manifest.json of an export lists this one; {ADVICE}")


def reaching_operations(saved_model: Any) -> set[str]:
    """The operations of a SavedModel that match `REACHING`, those left out that save and restore its variables on demand."""
    found: set[str] = set()
    is_object = len(saved_model.meta_graphs) == 1 and saved_model.meta_graphs[0].HasField("object_graph_def")
    for meta_graph in saved_model.meta_graphs:
        functions, nodes = meta_graph.graph_def.library.function, list(meta_graph.graph_def.node)
        left_out = only_saving(meta_graph) if is_object else set()  # TensorFlow 1 may run any node
        for function in functions:
            nodes += function.node_def if function.signature.name not in left_out else ()
        found |= {node.op for node in nodes if REACHING.search(node.op)}
    return found


def only_saving(meta_graph: Any) -> set[str]:
    """The functions that only the saver calls, which is not run when a SavedModel is loaded and called."""
    saver, library = meta_graph.saver_def, meta_graph.graph_def.library.function
    saving = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name}
    called: set[str] = set()
    others = set(meta_graph.object_graph_def.concrete_functions)
    for node in meta_graph.graph_def.node:
        (called if node.name in saving else others).update((node.op, *functions_in(node.attr)))
    for function in library:
        others.update(name for node in function.node_def for name in (node.op, *functions_in(node.attr)))
        if "api_implements" in function.attr:  # it may be put in the place of another one
            others.add(function.signature.name)
    return called - others


def functions_in(attributes: Any) -> Iterator[str]:
    """The functions that the attributes of a node name, at any depth."""
    for value in attributes.values():
        for function in (value.func, *value.list.func):
            yield function.name
            yield from functions_in(function.attr)
