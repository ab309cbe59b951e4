"""Published tables, made again by `limbeck reproduce NAME`: each module's `table` returns the rows."""
