"""The program `keras-resnet`: runs the commands of `cli`, and prints every expected failure as one line.

Exit codes: 0 for success; 2 for a mistake of the caller; 130 after Ctrl-C; 1 for every other failure.
"""

import io
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise

import typer

from keras_resnet import startup
from keras_resnet.cli import app
from keras_resnet.errors import Diverged, InputError, WorkerLost, not_installed
from keras_resnet.outside import printable

INTERRUPTED = 130


def main() -> int:
    """Run the program. Expected errors are printed as one line."""
    startup.prepare()
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")  # Pillow's; `data.images` has limits of its own
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the encoding of the terminal does not have
    try:
        refuse_empty(sys.argv[1:])
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
        return (
            fail("interrupted. To continue, add --resume to the command of a training, or repeat the command of a search", code)
            if code == INTERRUPTED
            else code
        )
    except InputError as error:
        return fail(str(error), 2)
    except (Diverged, WorkerLost) as error:
        return fail(str(error), 1)
    except ModuleNotFoundError as error:
        return fail(not_installed(error.name), 1)
    except typer.TyperException as error:
        return fail(error.format_message(), error.exit_code)
    except OSError as error:  # a full disk, no permission
        return fail(str(error), 1)
    except MemoryError as error:
        return fail(f"there is not enough memory: {error}", 1)
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's, which is not imported here
            return fail(f"there is not enough memory: {str(error).splitlines()[0]}", 1)
        if "No space left on device" in str(error):  # TensorFlow's own word for it, on many lines
            return fail("[Errno 28] No space left on device", 1)
        raise


def refuse_empty(arguments: Sequence[str]) -> None:
    """InputError for an empty argument or value: many would count as not given."""
    for before, argument in pairwise(["", *arguments]):
        option, equals, value = argument.partition("=")
        if not argument or (option.startswith("--") and equals and not value):
            name = option or before
            raise InputError(f"{name if name.startswith('-') else 'an argument'} is empty; leave it out, or give a value")


def fail(message: str, code: int) -> int:
    """Print one line and give the exit code back."""
    print(f"keras-resnet: {printable(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
