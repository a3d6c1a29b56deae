"""Simulates whole-body FDG-PET/CT with lesions of known truth, as whole studies and as training patches."""
