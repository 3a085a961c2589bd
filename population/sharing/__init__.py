"""Campaigns as sets of rows: what a row is wherever it lies, their union, and a store written from it."""
