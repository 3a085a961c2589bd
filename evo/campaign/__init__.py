"""The loop: three lanes that propose, measure and record until the budget is spent."""
