"""Trains a network on an image set, as a recipe says.

`fit` is the function to call, `session` holds all that one training needs, `saving` writes the run folder; `checkpoints` has the
contents of a checkpoint, `checkpoint_files` its file, `resume` the checks before a training is resumed; `callbacks` and `trackers`
follow the epochs; `precision` picks the fastest precision, `distribute` the devices, `first_weights` loads the first weights, and
`linear_probe` fits the classifier to them.
"""
