"""Offer the fixtures that studies, workers and sweeping share."""

from sweeping_fixtures import observer, study, sweep

__all__ = ["observer", "study", "sweep"]
