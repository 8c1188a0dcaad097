"""Find recordings, list them, cut them into clips, and batch the clips for training."""
