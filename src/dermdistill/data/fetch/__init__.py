"""Download public data sets."""
