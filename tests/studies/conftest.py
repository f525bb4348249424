"""Offer the fixtures that studies, workers and sweeping share."""

from sweeping_fixtures import heard, study, sweep

__all__ = ["heard", "study", "sweep"]
