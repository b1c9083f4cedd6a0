"""Colours and shapes of methods."""

from __future__ import annotations

from ngm_tune.analysis.charts.palette import _legend_columns, method_colour, method_shape


def colours(*titles: str) -> list[str]:
    encoding = method_colour(list(titles)).to_dict()
    return list(encoding["scale"]["range"])


def test_standard_methods_have_the_same_colour_in_every_report() -> None:
    (ngm, sgd), (adam, *_, again, momentum) = (
        colours("NGM-SGD", "SGD"),
        colours("Adam", "EWC", "SAM", "SGD", "SGD with momentum 0.9"),
    )
    assert sgd == again
    assert len({ngm, sgd, adam, momentum}) == 4


def test_up_to_ten_methods_have_ten_colours() -> None:
    titles = ["NGM-SGD", "Adam", *(f"method {n}" for n in range(8))]
    assert len(set(colours(*titles))) == 10
    assert len(colours(*titles, "one more", "another")) == 12
    shapes = method_shape(titles).to_dict()["scale"]["range"]
    assert len(shapes) == 10
    assert shapes[0] != shapes[1]


def test_legend_rows_have_similar_lengths() -> None:
    assert [_legend_columns(entries) for entries in range(10)] == [0, 1, 2, 3, 4, 3, 3, 4, 4, 3]
