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
        str, typer.Option(help="Address to listen on. 0.0.0.0 lets in other machines of the network, such as a phone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8500,
) -> None:
    """Serve a page to try a network: top classes, Grad-CAM and feature maps by stage, also of the exported .tflite files.

    Pictures are processed on this machine and not stored. Ctrl-C stops the server.
    """
    run = Run.open(folder)
    load_backend()
    from keras_resnet.demo import Answers, Server, page

    answers = Answers(run, sorted(run.export_path.glob("*.tflite")))
    try:
        with Server(page(run), answers.for_picture, host, port) as server:
            print(f"open {printable(server.url)} in a browser; Ctrl-C stops the server", flush=True)
            server.serve_forever()
    finally:
        answers.close()
