"""Manifests, checks, duplicates, splits, views: everything before a network sees an image."""
