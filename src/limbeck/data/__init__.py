"""Floor 2. Transfer sets: rows with ids, labels or none; bundled, file, folder and hub loaders."""
