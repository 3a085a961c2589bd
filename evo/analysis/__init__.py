"""From rows to figures: pure functions for status, tables, the closing screen and later reports."""
