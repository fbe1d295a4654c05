"""`demo`: a page to try a network."""

from pathlib import Path
from typing import Annotated

import typer

from keras_resnet.cli.options import RunFolder, app, load_backend
from keras_resnet.outside import printable
from keras_resnet.runs.run import Run


@app.command(epilog="Example: keras-resnet demo saved_models/digits-resnet8")
def demo(
    folder: RunFolder,
    host: Annotated[
        str, typer.Option(help="Address to listen at. 0.0.0.0 lets other machines of the network in, such as a phone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8500,
    static: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write a page that needs no server into this new folder: a browser runs the .tflite files."
        ),
    ] = None,
    litert_js: Annotated[Path, typer.Option(metavar="FOLDER", help="For --static: the npm package @litertjs/core.")] = Path(
        "node_modules/@litertjs/core"
    ),
) -> None:
    """Serve a page to try a network: best classes, Grad-CAM, maps by stage, and the exported .tflite files beside it.

    Pictures are computed here and are not kept. Stop it with Ctrl-C. With --static nothing is served: the page is one file, for a
    phone or any other browser.
    """
    run = Run.open(folder)
    if static:
        return write(run, static, litert_js)
    load_backend()
    from keras_resnet.demo import Answers, Server, page

    answers = Answers(run, sorted(run.export_path.glob("*.tflite")))
    try:
        with Server(page(run), answers.of, host, port) as server:
            print(f"open {printable(server.url)} in a browser; Ctrl-C stops", flush=True)
            server.serve_forever()
    finally:
        answers.close()


def write(run: Run, out: Path, litert_js: Path) -> None:
    """Write the page that needs no server."""
    from keras_resnet.demo.static import write_static

    page = write_static(run, out, litert_js)
    print(f"page: {printable(page)}, {page.stat().st_size / 1e6:.1f} MB: copy it to the phone, or open it here in a browser")
