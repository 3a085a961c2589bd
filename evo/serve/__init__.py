"""The live page: campaigns under a folder, watched in a browser while they run."""
