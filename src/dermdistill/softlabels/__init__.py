"""The soft-label bank: the logits of every teacher for every view of every image."""
