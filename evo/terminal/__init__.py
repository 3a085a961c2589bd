"""What people see: live view, plain lines, tables, tree and closing screen. Knows no campaign, only values."""
