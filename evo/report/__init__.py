"""The report: one self-contained HTML file on a whole campaign."""
