"""Check, group and audit manifests."""
