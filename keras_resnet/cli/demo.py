"""`demo`: a page to try a network."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet.cli.options import RunFolder, app, load_backend
from keras_resnet.errors import InputError
from keras_resnet.outside import printable
from keras_resnet.runs.run import Run


@app.command(epilog="Example: keras-resnet demo runs/digits-resnet8")
def demo(
    folder: RunFolder,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on. 0.0.0.0 lets in other machines, such as a phone. [default: 127.0.0.1]"),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. [default: 8500]")
    ] = None,
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
    """Serve a page to try a network: top classes, Grad-CAM and feature maps by stage, also of the exported .tflite files.

    Pictures are processed on this machine and not stored. Ctrl-C stops the server. With --static nothing is served: the page is
    one HTML file for any browser, such as that of a phone.
    """
    run = Run.open(folder)
    given: dict[str, Any] = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    if static:
        if given:
            raise InputError("--static serves nothing: leave out --host and --port")
        return write(run, static, litert_js)
    load_backend()
    from keras_resnet.demo import Answers, Server, page

    answers = Answers(run, sorted(run.export_path.glob("*.tflite")))
    try:
        with Server(page(run), answers.for_picture, **given) as server:
            print(f"open {printable(server.url)} in a browser; Ctrl-C stops the server", flush=True)
            server.serve_forever()
    finally:
        answers.close()


def write(run: Run, out: Path, litert_js: Path) -> None:
    """Write the page that needs no server."""
    from keras_resnet.demo.static import write_static

    page = write_static(run, out, litert_js)
    print(f"page: {printable(page)}, {page.stat().st_size / 1e6:.1f} MB: copy it to the phone, or open it here in a browser")
