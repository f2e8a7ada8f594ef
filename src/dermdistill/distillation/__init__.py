"""Teachers, their soft-label bank, and the students that learn from it."""
