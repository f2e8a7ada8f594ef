"""Networks by name, their pretrained weights and what they cost."""
