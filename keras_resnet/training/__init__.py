"""A recipe carried out on a network and an image set.

`fit` is the way in, `session` what a training consists of; `checkpoints` says what is saved on the way, `checkpoint_files` how it
is written, `resume` whether a training may go on from it; `callbacks` and `trackers` follow the epochs; `precision` chooses
the fastest arithmetic, `distribute` the devices, `transfer` the first weights.
"""
