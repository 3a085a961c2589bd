"""From what is known to one proposed child: parents, what an operator is told, and what operators earned."""
