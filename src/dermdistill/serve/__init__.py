"""The HTTP service: one model behind `dermdistill serve`. Needs the extra `serve`."""
