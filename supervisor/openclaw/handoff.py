"""What `openclaw gateway restart-handoff consume` says about an exit 0 that nobody asked for."""

from supervisor.openclaw.output import last_object


def argv(pid: int) -> tuple[str, ...]:
    """The command for the exit of process `pid`; OpenClaw believes in it for 60 s."""
    return ("openclaw", "gateway", "restart-handoff", "consume", "--expected-pid", str(pid), "--json")


def verdict(code: int | None, output: str) -> tuple[bool | None, str]:
    """Whether the exit was a restart the gateway had asked for (None: it could not be told), and why.

    `output` may hold other lines beside the JSON object, warnings of Node for one.
    """
    answer = last_object(output)
    if answer is None:
        return None, "no answer" if code is None else f"no answer (exit {code})"
    status = str(answer.get("status", ""))
    reason = str(answer.get("reason", "")) or status
    if status == "accepted" or answer.get("accepted") is True:
        return True, reason
    if status == "rejected" and reason != "expired":
        return False, reason
    return None, reason or "no verdict"
