"""Learns which points lie above a line, and answers for others: for the tests of tasks."""

import csv
import sys

STEPS = 30  # knob: int 1 200
RATE = 0.5  # knob: log 1e-2 1e1


def read(path):
    """The rows of a table as numbers."""
    with open(path, encoding="utf-8") as file:
        return [list(map(float, row)) for row in csv.reader(file)]


train, questions, answers = sys.argv[1:]
weights = [0.0, 0.0, 0.0]
for _ in range(STEPS):
    for x, y, label in read(train):
        told = weights[0] * x + weights[1] * y + weights[2] > 0
        for at, value in enumerate((x, y, 1.0)):
            weights[at] += RATE * (label - told) * value
with open(answers, "w", encoding="utf-8") as file:
    for x, y in read(questions):
        file.write(f"{int(weights[0] * x + weights[1] * y + weights[2] > 0)}\n")
print("accuracy: 1.0")  # says whatever it likes
