"""Floor 6. Many runs with one question: seeds, controls, chosen settings."""
