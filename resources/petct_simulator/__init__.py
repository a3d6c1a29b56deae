"""Simulates whole-body FDG-PET/CT with lesions of known truth: whole studies, and training patches made anew."""
