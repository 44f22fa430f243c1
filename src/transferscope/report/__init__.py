"""Sections of analyses turned into one page, figure files, tables and results.json for programs."""

from transferscope.report.page import PagePart, Provenance, write_report

__all__ = ["PagePart", "Provenance", "write_report"]
