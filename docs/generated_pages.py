"""For the site: the page of the command line, from `--help`, and a drawing of each named network. Neither file is kept."""

import re
import subprocess
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import keras_resnet as kr

COMMANDS = [sys.executable, "-m", "typer", "keras_resnet.cli", "utils", "docs", "--name", "keras-resnet"]
OPENING = """# Command line

After this page you know every command and every option. It is the text of `keras-resnet COMMAND --help`.
"""
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)  # of a table of networks


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the files."""
    _, heading, commands = subprocess.run(COMMANDS, capture_output=True, text=True, check=True).stdout.partition("\n## ")
    files.append(File.generated(config, "command-line.md", content=OPENING + heading + commands))
    for name in kr.SPECS:
        if not files.get_file_from_path(path := f"networks/{name}.svg"):
            files.append(File.generated(config, path, content=kr.draw(name)))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Makes each name in the tables of networks a link to its drawing."""
    return ROW.sub(r"| [`\1`](networks/\1.svg) |", markdown) if page.file.src_uri == "networks.md" else markdown
