"""Sections of analyses turned into one page, figure files, tables and a machine-readable summary."""

from transferscope.report.page import Part, Provenance, write_report

__all__ = ["Part", "Provenance", "write_report"]
