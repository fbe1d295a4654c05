"""Writes a page to try a network that needs no server: LiteRT.js runs exported files in the browser that opens it."""

import base64
import gzip
from pathlib import Path
from typing import Any

from keras_resnet.atomic import replace_text, write_whole
from keras_resnet.demo import litert_js
from keras_resnet.demo.answers import heading
from keras_resnet.errors import InputError
from keras_resnet.files.manifest import entries, verify
from keras_resnet.files.runtimes import named_scores
from keras_resnet.report.templates import FOLDER, digest, drawn, render
from keras_resnet.runs.run import Run

PAGE, WASM, LICENCE = "index.html", "wasm", "apache-2.0.txt"
SCRIPTS = [FOLDER / name for name in ("demo.js", "pictures.js", "litert.js")]
PIXELS, VALUES = ("uint8", "float32"), ("uint8", "float32", "int32")  # types that LiteRT.js takes and gives
ROWS_FIRST = 13  # the version of Pillow from which on a tall picture is made shorter first


def write_static(run: Run, out: Path, runtime: Path = litert_js.FOLDER) -> Path:
    """Write the page of a run into a new folder `out`, with its exported `.tflite` files and LiteRT.js inside. Returns its path.

    InputError if the folder is there, if LiteRT.js is not at `runtime`, if no file is exported that it can run, and for a network
    that takes no pictures.
    """
    if out.exists() or out.is_symlink():
        raise InputError(f"{str(out)!r} exists; name another folder")
    page = static_page(run, litert_js.read(runtime))
    return write_whole(out, lambda folder: replace_text(folder / PAGE, page)) / PAGE


def static_page(run: Run, runtime: litert_js.LiteRtJs) -> str:
    """The page as HTML."""
    head = heading(run)
    files, left_out = exported(run.export_path)
    height, width, channels = run.spec.require_sizes("resizing an image")
    facts = {"height": height, "width": width, "channels": channels, "rowsFirst": shortens_first(), "classes": run.class_names}
    contents = {WASM: runtime.wasm, **{file["id"]: one_at_a_time(run.export_path / file["name"]) for file in files}}
    return render(
        "static",
        scripts=SCRIPTS,
        facts=facts | {"files": files},
        left_out=left_out,
        packed={name: base64.b64encode(gzip.compress(content, mtime=0)).decode() for name, content in contents.items()},
        runtime=drawn(runtime.script),
        runtime_digest=digest(runtime.script),
        version=runtime.version,
        licence=(FOLDER / LICENCE).read_text(encoding="utf-8"),
        **head,
    )


def exported(folder: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """What the page needs to know of each `.tflite` file of a folder of exports that LiteRT.js runs, the smallest first; and the
    other files, with the reason. InputError if it runs none, and for a damaged file."""
    files: list[dict[str, Any]] = []
    left_out: list[tuple[str, str]] = []
    for name, entry in sorted((entries(folder) or {}).items()):
        if not name.endswith(".tflite") or not verify(folder / name):
            continue
        if why := obstacle(entry):
            left_out.append((name, why))
            continue
        [image], outputs = entry["inputs"], entry["outputs"]
        scores = named_scores(output["name"] for output in outputs) or "probabilities"
        image = {**image, "shape": [1, *image["shape"][1:]]}
        files.append({"name": name, "bytes": entry["bytes"], "input": image, "outputs": outputs, "scores": scores})
    if not files:
        others = "".join(f"; {name}: {why}" for name, why in left_out)
        raise InputError(
            f"{str(folder)!r} has no .tflite file that a browser runs: keras-resnet export RUN --format tflite{others}"
        )
    files.sort(key=lambda file: file["bytes"])
    return [{"id": f"file{number}", **file} for number, file in enumerate(files)], left_out


def obstacle(entry: dict[str, Any]) -> str:
    """Why LiteRT.js does not run a file of the manifest; empty if it does."""
    if wrong := [image["type"] for image in entry["inputs"] if image["type"] not in PIXELS]:
        return f"whose pixels are {wrong[0]}: LiteRT.js takes {' and '.join(PIXELS)}"
    if wrong := [output["type"] for output in entry["outputs"] if output["type"] not in VALUES]:
        return f"whose outputs are {wrong[0]}: LiteRT.js gives {', '.join(VALUES)}"
    return "" if entry["batch"] in (None, 1) else f"which takes {entry['batch']} pictures together"


def one_at_a_time(path: Path) -> bytes:
    """A TFLite file for batches of one: LiteRT.js refuses an open size. Only that number is changed."""
    from ai_edge_litert import schema_py_generated as schema

    content = bytearray(path.read_bytes())
    model = schema.Model.GetRootAs(content, 0)
    graphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
    for tensor in (graph.Tensors(number) for graph in graphs for number in range(graph.TensorsLength())):
        if tensor.ShapeSignatureLength():
            sides = tensor.ShapeSignatureAsNumpy()  # a view of `content`
            sides[sides < 0] = 1
    return bytes(content)


def shortens_first() -> bool:
    """Whether the Pillow that is installed here makes a tall picture shorter before it makes it narrower, which can differ by one
    grey value."""
    import PIL

    return int(PIL.__version__.partition(".")[0]) >= ROWS_FIRST
