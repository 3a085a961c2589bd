"""The box that untrusted code runs in, and what is known of it."""
