"""Floor 3. The one visible loop, checkpoints, records, and the runner of independent tasks."""
