# Run the tests.
test:
    pytest

# Style and types.
lint:
    ruff format --check .
    ruff check .
    mypy

# Bring the code into shape.
format:
    ruff format .
    ruff check --fix .

# Everything that must pass, in a fresh virtual environment.
ci:
    bash .ci/run
