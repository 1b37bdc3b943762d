"""What is answered to the page: plain values as JSON, of a bounded size."""

from itertools import islice
from typing import Any

import msgspec

MOST = 200  # items of a list
LONGEST = 2000  # characters of a text


def octets_of(values: Any) -> bytes:
    """Plain values as JSON; of long lists and texts the beginning, and how much more there was."""
    return msgspec.json.encode(_bounded(values))


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}… and {len(value) - LONGEST} characters more"
    if isinstance(value, dict):
        return {key: _bounded(each) for key, each in islice(value.items(), MOST)}
    if isinstance(value, list | tuple):
        some = [_bounded(each) for each in value[:MOST]]
        return some if len(value) <= MOST else [*some, f"… and {len(value) - MOST} more"]
    return value
