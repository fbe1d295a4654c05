#!/usr/bin/env bash
# Writes the files that the programs in this folder take, into RUN/export: examples/export.sh RUN
set -euo pipefail
RUN=${1:?the folder of a training}

# For Python, browsers and iOS: bytes in (pixels), bytes out (probabilities x 256).
keras-resnet export "$RUN" --format tflite --quantize int8 --output softmax --batch 1
# For Android: float32 in and out, int8 in between.
keras-resnet export "$RUN" --format tflite --quantize int8 --pixels float32 --output softmax --batch 1
