"""The commands of `autosegnet`: what each takes and does, as `add_…_arguments(parser)` and `run_…(args)`."""
