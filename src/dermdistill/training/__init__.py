"""The training loop and what it trains: one task beneath teachers and students."""
