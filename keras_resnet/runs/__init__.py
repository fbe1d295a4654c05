"""The folder that a training leaves: `run` opens it, `history` writes its curves, `environment` records versions and hardware."""
