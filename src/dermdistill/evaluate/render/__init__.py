"""Renderers: each draws figures for people or machines."""
