"""Made-up dermoscopic images for tests and the demo."""
