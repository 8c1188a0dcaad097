"""Recordings to clips: where they lie, which there are, how they are cut, and how they reach the training."""
