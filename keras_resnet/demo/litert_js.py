"""LiteRT.js, the runtime of exported files in browsers, as text for a page. It is not downloaded: npm puts it into a folder."""

import re
from pathlib import Path
from typing import NamedTuple, TypedDict

from keras_resnet.errors import InputError
from keras_resnet.json_files import read_json
from keras_resnet.outside import read_text

PACKAGE, VERSION = "@litertjs/core", "2.5.3"  # the version that was tried
FOLDER = Path("node_modules") / PACKAGE  # where npm puts it
GET = f"npm install {PACKAGE}@{VERSION}"
# The variant without relaxed SIMD: every browser with SIMD runs it, and it rounds in the same way everywhere.
LOADER, BINARY, LIBRARY = "wasm/litert_wasm_compat_internal.js", "wasm/litert_wasm_compat_internal.wasm", "dist/index.js"
IMPORT = 'import { createWasmLib } from "@litertjs/wasm-utils";\n'
EXPORT = re.compile(r"^export \{([\w\s,]+)\};$", re.MULTILINE)
ENDS_SCRIPT = re.compile(r"</script|<!--", re.IGNORECASE)
SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


class Package(TypedDict):
    """`package.json`, as far as it is read here."""

    name: str
    version: str


class LiteRtJs(NamedTuple):
    """The runtime: a script that defines `ModuleFactory` and `liteRt`, and the WebAssembly that it needs."""

    version: str
    script: str
    wasm: bytes


def read(folder: Path = FOLDER) -> LiteRtJs:
    """The runtime in the folder of the npm package. InputError if it is not there, or is put together in another way."""
    try:
        package = read_json(folder / "package.json", Package)
        loader, library = read_text(folder / LOADER), read_text(folder / LIBRARY)
        wasm = (folder / BINARY).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no LiteRT.js at {str(folder)!r}: run {GET!r} here, or name its folder with --litert-js") from None
    script = f"{loader}\n{as_function(library)}\n"
    if package["name"] != PACKAGE or IMPORT not in library or not EXPORT.search(library) or ENDS_SCRIPT.search(script):
        raise InputError(f"{str(folder)!r} has {package['name']} {package['version']}, which is put together in another way: {GET}")
    return LiteRtJs(package["version"], script, wasm)


def as_function(library: str) -> str:
    """The module as a function of a classic script, from what it imports to what it exports: a page without a server has no
    modules to import."""
    body = EXPORT.sub(r"return {\1};", SOURCE_MAP.sub("", library.replace(IMPORT, "")))
    return f"const liteRt = (createWasmLib) => {{\n{body}\n}};"
