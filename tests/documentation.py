"""The blocks of README.md and of docs/ that tests run: Python in `test_readme.py`, lines of shell in `test_shell.py`.

Blocks of other languages, or of none, are not run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ELSEWHERE = {  # pages, or folders of them, whose blocks other tests run
    "docs/how-to/phone.md": "test_mobile.py",
    "docs/how-to/look-inside.md": "test_analysis.py",
    "docs/how-to/training-loops.md": "test_training_loops.py",
    "docs/how-to/transfer.md": "test_transfer.py",
    "docs/tutorials/": "test_tutorials.py",
}
OTHER_PROGRAMS = ("pip", "pytest", "npm", "mkdocs")  # that tests do not run


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    page: str
    language: str
    text: str

    @property
    def lines(self):
        """Its commands of `keras-resnet`. An installation before one is left out."""
        whole = self.text.replace("\\\n", " ").splitlines()
        lines = [re.sub(r"\s+#.*|^#.*", "", re.sub(r".*pip install .*?\S+ && ", "", line)).strip() for line in whole]
        return [line for line in lines if line and line.split()[0] not in OTHER_PROGRAMS]


def pages():
    """README.md, and the pages of docs/ in the order of mkdocs.yml: a page may use the runs of those before it."""
    named = [ROOT / "docs" / name for name in re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())]
    found = [path for path in named if path.exists()]
    return [ROOT / "README.md", *found, *sorted(set(ROOT.glob("docs/**/*.md")) - set(found))]


def blocks_of(path):
    name = path.relative_to(ROOT).as_posix()
    return [Block(name, *parts) for parts in re.findall(r"^```(python|sh)\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)]


def all_blocks():
    """Those of all pages that are tested here. The same text on two pages is one block."""
    found = {}
    for path in pages():
        for block in blocks_of(path):
            if not block.page.startswith(tuple(ELSEWHERE)):
                found.setdefault((block.language, block.text), block)
    return list(found.values())


BLOCKS = all_blocks()
SCRIPTS = {block.page: [] for block in BLOCKS if block.language == "python"}
for each in BLOCKS:
    if each.language == "python":
        SCRIPTS[each.page].append(each.text)
COMMANDS = list(dict.fromkeys(line for block in BLOCKS if block.language == "sh" for line in block.lines))
