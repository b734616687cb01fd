"""What OpenClaw's exit codes mean to a supervisor."""

OK = 0
FAILURE = 1
# "Do not restart me as I am": a bad configuration, a held lock, a newer schema. The code alone does not say which.
CONFIG = 78
SIGTERM_BY_SHELL = 143
