"""What is evolved where it is no sealed train.py: the kinds of tasks, and what each measures."""
