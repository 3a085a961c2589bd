"""The one place that knows the concrete classes: everybody else gets the parts handed in."""
