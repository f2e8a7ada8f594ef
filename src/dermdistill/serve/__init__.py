"""The HTTP service of one model, and the page that judges images in the browser. Needs the extra `serve`."""
