"""The run of a program: its exit code, its signals, its log and its progress. Nothing here knows of studies."""
