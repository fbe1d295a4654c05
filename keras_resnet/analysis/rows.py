"""Rows of numbers as a CSV file."""

import csv
import io
from typing import Any

Rows = list[dict[str, Any]]


def as_csv(rows: Rows) -> str:
    """Rows with the same keys as the text of a CSV file, with a header."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
