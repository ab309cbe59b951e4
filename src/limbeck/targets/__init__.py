"""Floor 2. Soft targets as files: recorded once or imported, and replayed."""
