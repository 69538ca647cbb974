"""Reports: what is known of a run in one page to send, and several runs side by side."""

from chainrule.reports.comparison import Comparison, compare
from chainrule.reports.run_report import RunReport, report
from chainrule.reports.section import Section

__all__ = ["Comparison", "RunReport", "Section", "compare", "report"]
