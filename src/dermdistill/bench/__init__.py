"""How fast, small and quick to start the models are on this machine, against others."""
