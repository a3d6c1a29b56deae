"""What each command of `autosegnet` takes and does: `add_…_arguments(parser)` and `run_…(args)`."""
