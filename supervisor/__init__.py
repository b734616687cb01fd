"""One process, under one systemd unit, that runs every OpenClaw gateway of a host."""
