"""Trains the five folds that the container runs, and simulates studies to try it on."""
