"""What is done: campaigns that propose, measure, record, and promote variants of one train.py."""
