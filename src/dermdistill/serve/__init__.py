"""The page that judges images in the browser, and the HTTP service. The service needs the extra `serve`."""
