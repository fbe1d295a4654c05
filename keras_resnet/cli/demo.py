"""`demo`: a page to try a network."""

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
) -> None:
    """Serve a page to try a network: best classes, Grad-CAM, maps by stage, and the exported .tflite files beside it.

    Pictures are computed here and are not kept. Stop it with Ctrl-C.
    """
    run = Run.open(folder)
    load_backend()
    from keras_resnet.demo import Answers, Server, page

    answers = Answers(run, sorted(run.export_path.glob("*.tflite")))
    try:
        with Server(page(run), answers.of, host, port) as server:
            print(f"open {printable(server.url)} in a browser; Ctrl-C stops", flush=True)
            server.serve_forever()
    finally:
        answers.close()
