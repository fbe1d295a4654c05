"""JSON of the benchmarks, what it says of machine and date, and Markdown tables."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UNKNOWN = "not recorded"
NAMES = {
    "ai-edge-litert": "LiteRT",
    "onnxruntime": "ONNX Runtime",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "torch": "PyTorch",
}
BACKENDS = {"jax": "jax", "torch": "torch", "tensorflow": "tensorflow"}


def read(name: str) -> Any:
    """A JSON file of the repository; a name without a folder is one of benchmarks/."""
    path = ROOT / name if "/" in name else ROOT / "benchmarks" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def environment(data: Any) -> dict[str, Any]:
    """Where it was measured, by whatever name the JSON has it; the first one of several."""
    if not isinstance(data, dict):
        return {}
    own = data.get("environment") or data.get("machine")
    inner = (value for value in data.values() if isinstance(value, dict))
    return own or next((found for found in map(environment, inner) if found), {})


def date(data: Any) -> str:
    """The day of the measurement."""
    return environment(data)["date"][:10] if "date" in environment(data) else UNKNOWN


def machine(data: Any) -> str:
    """Processor, cores, accelerator and libraries, as far as the JSON has them."""
    found = environment(data)
    processor = found.get("processor")
    cores = found.get("cores", found.get("cpu_count"))
    packages = found.get("packages", found)
    parts = [
        UNKNOWN + " (processor)" if not processor and found else processor,
        f"{cores} cores" if cores else None,
        found.get("accelerator"),
        *(f"{name} {packages[key]}" for key, name in NAMES.items() if key in packages and uses(found, key)),
    ]
    return ", ".join(part for part in parts if part) or UNKNOWN


def uses(found: dict[str, Any], package: str) -> bool:
    """Whether a measurement used the package: of the three backends that are installed, one."""
    return package not in BACKENDS or found.get("backend", package) == package


def percent(share: float, digits: int = 1) -> str:
    """A share as percent.

    >>> percent(0.8727, 2)
    '87.27 %'
    """
    return f"{100 * share:.{digits}f} %"


def within(share: float, low: float, high: float, digits: int = 1) -> str:
    """A share with its interval, as percent."""
    return f"{percent(share, digits)} ({100 * low:.1f} to {100 * high:.1f})"


def table(rows: Iterable[dict[str, object]]) -> str:
    """Rows as a Markdown table, with the columns of the first row; a bar in a cell is escaped."""
    rows = list(rows)
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([row.get(name, "") for name in rows[0]] for row in rows)]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
