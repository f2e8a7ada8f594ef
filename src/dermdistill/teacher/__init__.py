"""Large networks, fine-tuned on dermoscopic images and then frozen."""
