"""Two studies of one patient: aligned, lesion by lesion matched, and the change told."""
