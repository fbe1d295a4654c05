"""The part of a run's page about its network: the drawing, the cost of its stages, and the sizes of its files."""

from typing import Any

from keras_resnet.networks.cost import Cost, cost_of
from keras_resnet.networks.drawing import image, pictures, short, with_sizes
from keras_resnet.networks.variants import described
from keras_resnet.report import facts
from keras_resnet.report.templates import drawn
from keras_resnet.runs.run import Run


def network(run: Run) -> dict[str, Any]:
    """The drawing of the network, and the cost of its stages."""
    sized = with_sizes(run.spec)
    cost = cost_of(sized)
    drawings = [
        drawn(image(picture, described=f"{described(run.spec)}, drawn")) for picture in pictures(run.spec, run.path.resolve().name)
    ]
    stages = [
        {
            "part": row["part"],
            "units": row["units"],
            "output": row["output"].replace("x", "×"),
            "parameters": row["trainable"],
            "multiply-adds": row["multiply_adds"],
            "receptive field": row["receptive_field"],
        }
        for row in cost.parts
    ]
    return {"drawing": drawings, "stages": stages, "sizes": sizes(cost), "subtitle": subtitle(run, cost)}


def subtitle(run: Run, cost: Cost) -> str:
    """The network, its images and its cost in one line."""
    source = facts.source_of(run)
    amounts = f"{short(cost.trainable)} parameters, {short(cost.multiply_adds)} multiply-adds per image"
    return f"{described(run.spec)}{f', trained on {source}' * bool(source)}: {amounts}"


def sizes(cost: Cost) -> str:
    """Memory and file sizes in one line."""
    return (
        f"Activations of one image take at most {short(cost.inference_memory)}B in inference and {short(cost.training_memory)}B in "
        f"training. A .tflite file has about {short(cost.tflite_float32)}B in float32 and {short(cost.tflite_int8)}B in int8."
    )
