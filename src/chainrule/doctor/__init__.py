"""The doctor: what goes wrong in a training, with the evidence, and remedies that are tried."""

from chainrule.doctor.diagnosis import CHECKS, Check, Diagnosis, diagnose
from chainrule.doctor.finding import SEVERITIES, Finding, Remedy
from chainrule.doctor.trial import Trial, try_remedy

__all__ = ["CHECKS", "SEVERITIES", "Check", "Diagnosis", "Finding", "Remedy", "Trial", "diagnose", "try_remedy"]
