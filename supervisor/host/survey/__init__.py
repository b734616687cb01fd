"""What is on this host already: OpenClaw's profiles and gateways, whoever else starts them, and what the machine has left."""
