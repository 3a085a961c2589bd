"""What could be tried: operators turn parents into one proposed child."""
