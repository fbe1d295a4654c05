"""The folder that a training leaves: `run` opens it, `history` has its curves, `environment` where it was made."""
