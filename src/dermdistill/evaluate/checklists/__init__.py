"""Reporting checklists, filled from a report as far as it knows the answers."""
