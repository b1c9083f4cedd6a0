"""Colours of methods: the same in every report, and told apart."""

from __future__ import annotations

from ngm_tune.analysis.charts.palette import _columns, method_colour, method_shape


def colours(*titles: str) -> list[str]:
    found: list[str] = method_colour(list(titles)).to_dict()["scale"]["range"]
    return found


def test_usual_methods_have_their_colours_whatever_they_are_compared_with() -> None:
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


def test_rows_of_a_legend_are_about_equally_long() -> None:
    assert [_columns(entries) for entries in range(10)] == [0, 1, 2, 3, 4, 3, 3, 4, 4, 3]
