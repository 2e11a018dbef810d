"""The engine of training: loop, trainer, checkpoints, resuming, processes."""
