"""Every study below a folder: found, planned, run, recorded, summarised."""
