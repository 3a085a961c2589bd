"""Grades answers by labels that no run sees."""

import sys
from pathlib import Path

answers, labels = (Path(path).read_text(encoding="utf-8").split() for path in sys.argv[1:])
if len(answers) != len(labels):
    sys.exit(f"{len(answers)} answers to {len(labels)} questions")
print(f"accuracy: {sum(map(str.__eq__, answers, labels)) / len(labels)}")
