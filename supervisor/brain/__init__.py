"""The brain: the doors tied together around the one loop of daemon.py; one process, replaced at no cost to a gateway."""
