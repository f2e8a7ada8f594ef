"""The graph formats of a bundle, a module each."""
