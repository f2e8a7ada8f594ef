"""Analyses: each turns predictions into figures."""
