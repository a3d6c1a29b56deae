"""Simulates whole-body FDG-PET/CT studies with lesions of known truth, from a seed."""

from autosegnet_training.simulate.study import Protocol, SimulatedStudy, simulate_study

__all__ = ["Protocol", "SimulatedStudy", "simulate_study"]
