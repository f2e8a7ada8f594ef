"""Result pages, the ledger and release artefacts."""
