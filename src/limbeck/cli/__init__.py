"""Floor 8. The command line: parse, call, print. Nothing here imports torch before a command needs it."""
