"""What shortcuts change: the gradient that reaches the first unit of a deep network, with shortcuts and without.

Expected: at 56 layers, with random weights, the gradient grows from the last unit to the first. It grows more than ten times
as much in the plain network as in the residual one. Then a Grad-CAM heatmap. Takes about half a minute.
"""

from dataclasses import replace

import keras

import keras_resnet as kr

keras.utils.set_random_seed(0)
data = kr.data.load("digits")
images, labels = data.splits["train"].take(range(64)), data.splits["train"].labels[:64]
digits = replace(kr.SPECS["resnet56"], input_shape=data.image_shape, classes=10)
norms = {}
for name, spec in {"residual": digits, "plain": replace(digits, shortcut="none")}.items():
    rows = kr.analysis.gradients(kr.build(spec), images, labels)
    first, last = rows[0]["output"], rows[-1]["output"]
    norms[name] = first / last
    print(f"{name}: gradient at the first unit {first:.2e}, at the last {last:.2e}, ratio {first / last:.1f}")
assert norms["plain"] > 10 * norms["residual"]  # without shortcuts it explodes towards the input

model = kr.build("resnet20", input_shape=data.image_shape, classes=10)
heat = kr.analysis.grad_cam(model, images[:4], layer="stage2_block3_out", classes=labels[:4])
print(f"Grad-CAM: {heat.shape}, from {heat.min():.2f} to {heat.max():.2f}")
assert heat.shape[0] == 4
