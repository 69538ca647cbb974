"""Reports: what is known of a run in one page to send, and several runs side by side."""

from chainrule.reports.report import RunReport, report
from chainrule.reports.section import Section

__all__ = ["RunReport", "Section", "report"]
