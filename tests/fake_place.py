"""Where a call of the fake OpenClaw works, and what it thinks of the config file there."""

import json
import os
from typing import Any

ROOT_KEYS = {
    "agents",
    "auth",
    "browser",
    "channels",
    "commands",
    "cron",
    "env",
    "gateway",
    "hooks",
    "logging",
    "messages",
} | {"meta", "models", "plugins", "session", "skills", "tools", "ui", "update", "wizard"}
GATEWAY_KEYS = {
    "auth",
    "bind",
    "controlUi",
    "http",
    "mode",
    "port",
    "reload",
    "remote",
    "tailscale",
    "tls",
    "trustedProxies",
}
NO_FILE = "file not found"
NO_MODE = (
    "Gateway start blocked: existing config is missing gateway.mode. Treat this as suspicious or clobbered config."
)


class Place:
    """Where this call works: state directory, config file and port, resolved from argv and environment as OpenClaw does."""

    def __init__(self, argv: list[str]) -> None:
        self.args = list(argv)
        env, home = os.environ, os.environ.get("HOME", "/")
        self.profile = self.option("--profile", "")
        state, config = env.get("OPENCLAW_STATE_DIR", ""), env.get("OPENCLAW_CONFIG_PATH", "")
        inherited = env.get("OPENCLAW_PROFILE", "")
        if self.profile and inherited not in ("", self.profile) and state == canonical(home, inherited):
            state = config = ""  # only a canonical directory gives way to --profile
        self.state_dir = state or canonical(home, self.profile)
        self.config_path = config or f"{self.state_dir}/openclaw.json"
        self.fake_dir = f"{self.state_dir}/fake"
        self.given_port = self.option("--port", "")

    def option(self, name: str, default: str) -> str:
        """Take `name VALUE` out of the arguments."""
        if name not in self.args[:-1]:
            return default
        at = self.args.index(name)
        value = self.args[at + 1]
        del self.args[at : at + 2]
        return value

    def port(self, config: dict[str, Any]) -> int:
        """Choose --port, else the environment, else the config file, else a hash of the profile."""
        pinned = self.given_port or os.environ.get("OPENCLAW_GATEWAY_PORT") or config.get("gateway", {}).get("port")
        if pinned:
            return int(pinned)
        if self.profile in ("", "default"):
            return 18789
        digest = 0x811C9DC5
        for byte in self.profile.encode():
            digest = ((digest ^ byte) * 0x01000193) % 2**32
        return 20000 + digest % 40000

    def holder(self) -> int:
        """Pid of the gateway that runs on this state directory, else 0."""
        try:
            with open(f"{self.fake_dir}/lock", encoding="utf-8") as file:
                pid, ticks = json.load(file)
            return int(pid) if start_ticks(pid) == ticks else 0
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return 0


def canonical(home: str, profile: str) -> str:
    return f"{home}/.openclaw" if profile in ("", "default") else f"{home}/.openclaw-{profile}"


def start_ticks(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[19]


def read_config(path: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Give the config file and what `config validate` finds wrong with it."""
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except FileNotFoundError:
        return {}, [{"path": "", "message": NO_FILE}]
    except (ValueError, IsADirectoryError, PermissionError) as error:
        return {}, [{"path": "", "message": f"JSON5 parse failed: {error}"}]
    if not isinstance(config, dict) or not isinstance(config.get("gateway", {}), dict):
        return {}, [{"path": "", "message": "Invalid input: expected object"}]
    gateway = config.get("gateway", {})
    issues = [{"path": "<root>", "message": f'Unrecognized key: "{key}"'} for key in config.keys() - ROOT_KEYS]
    issues += [{"path": "gateway", "message": f'Unrecognized key: "{key}"'} for key in gateway.keys() - GATEWAY_KEYS]
    if not isinstance(gateway.get("port", 0), int):
        issues.append({"path": "gateway.port", "message": "Invalid input: expected number, received string"})
    refused = f"{os.path.dirname(path)}/fake/refuse"
    if os.path.exists(refused):
        with open(refused, encoding="utf-8") as file:
            words = file.read().split()
        issues += [{"path": "<root>", "message": f"refused: {word}"} for word in words if word in json.dumps(config)]
    return config, issues


def start_refusal(path: str) -> str:
    """Say why a gateway on this config file exits 78; nothing if it starts."""
    config, issues = read_config(path)
    if issues and issues[0]["message"] == NO_FILE:
        return "Missing config. Run openclaw setup or set gateway.mode=local (or pass --allow-unconfigured)."
    if "gateway" not in config or "mode" not in config["gateway"]:
        return NO_MODE
    if config["gateway"]["mode"] != "local":
        return f"Gateway start blocked: set gateway.mode=local (current: {config['gateway']['mode']})"
    if issues:
        return f"Gateway failed to start: Invalid config at {path}: {issues[0]['path']}: {issues[0]['message']}"
    return ""
