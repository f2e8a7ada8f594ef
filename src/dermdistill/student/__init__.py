"""Students of at most 0.27 million parameters, their losses and their training."""
