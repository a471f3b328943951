"""The loop around a model: training, checkpoints, restoration of whole frames, measuring, pictures."""
