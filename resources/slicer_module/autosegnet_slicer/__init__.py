"""What the Slicer module does without Slicer: files, commands and the process that runs them. Needs Python alone."""
