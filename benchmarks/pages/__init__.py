"""The pages of numbers, written from the JSON of the benchmarks: `python -m benchmarks.pages` writes them anew.

- `measurements`: the table of measurements, a row for each JSON file: question, command, headline (`headlines`).
- `tables`, `more_tables`: the tables that `docs/numbers.md` shows of them. `numbers` writes that page and `benchmarks/README.md`.
- `records`: the best of the `candidates`, `docs/records.md`. `networks`: the named networks with drawings, `docs/networks.md`.
- `claims`: whether the numbers in the text of the other pages are those of the JSON (`claimed`), or no measurements
  (`not_measured`).

No framework is loaded.
"""
