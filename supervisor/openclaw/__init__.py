"""Knows OpenClaw: ports, paths, environment, exit codes, config file, probe answers. Pure."""
