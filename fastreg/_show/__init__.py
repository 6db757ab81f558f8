"""What the demo and the benchmark share to show their results.

    files.py    the output folder; standard library only, because `python -m fastreg --help` imports it
    console.py  printing and progress bars (needs rich)
    tables.py   headings, tables, formatted numbers (needs rich)
    figures.py  colours, axes, writing a picture (needs matplotlib)

Nothing here computes a result, and nothing here imports fastreg.demo or fastreg.bench.
"""
