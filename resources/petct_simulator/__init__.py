"""Simulates whole-body FDG-PET/CT with lesions of known truth, as whole studies and as training patches."""

from petct_simulator.whole_body import Protocol, SimulatedStudy, simulate_study

__all__ = ["Protocol", "SimulatedStudy", "simulate_study"]
