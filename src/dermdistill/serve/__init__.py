"""The page that judges images in the browser, and the service that answers programs."""
