"""Tables, numbers and files of pictures that the demo and the benchmark share."""

import pytest


@pytest.fixture
def tables():
    pytest.importorskip("rich")
    from fastreg._show import tables

    return tables


def test_percent(tables):
    assert tables.percent(0.1234) == "12.3"
    assert tables.percent(float("nan")) == "-"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(2.29e-7, "229 ns"), (9.99e-7, "999 ns"), (9.996e-7, "1 us"), (1.394e-3, "1.39 ms"), (2.0, "2 s")],
)
def test_duration(tables, seconds, expected):
    assert tables.duration(seconds) == expected


@pytest.mark.parametrize(("number", "expected"), [(1, "1"), (1000, "1000"), (100_000, "1e5"), (1_250_000, "1.25e6")])
def test_count(tables, number, expected):
    assert tables.count(number) == expected


def test_a_table_fits_80_columns_without_cutting_text_off(tables):
    from rich.console import Console

    table = tables.make_table("title", ["text"], ["number"])
    table.add_row("word " * 40, "1")
    console = Console(width=80)
    with console.capture() as captured:
        console.print(table)
    assert captured.get().count("word") == 40
    assert max(map(len, captured.get().splitlines())) <= 80


def test_a_picture_is_written_completely_or_not_at_all(tmp_path):
    from fastreg._show.figures import save

    class Interrupted:
        def savefig(self, path, **options):
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    (tmp_path / "a.png").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        save(Interrupted(), tmp_path / "a.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
