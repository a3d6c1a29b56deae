"""The run of a program: exit code, signals, log, progress, processes. Nothing here knows about studies."""
