"""What happened, one line an event: `writing` appends, `mending` repairs, `reading` tells, `lines` is their common format."""

from supervisor.host.journal.reading import follow, read
from supervisor.host.journal.writing import Journal

__all__ = ["Journal", "follow", "read"]
