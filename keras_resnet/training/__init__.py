"""A recipe carried out on a network and an image set.

`fit` is the way in, `session` what a training consists of; `checkpoints` has the contents of a checkpoint, `checkpoint_files` its
file, `resume` the checks before a training goes on from it; `callbacks` and `trackers` follow the epochs; `precision` chooses
the fastest arithmetic, `distribute` the devices, `transfer` the first weights.
"""
