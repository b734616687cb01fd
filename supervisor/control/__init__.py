"""The API over the control socket: models, server, client."""
