"""Into how many partitions the control topic is divided, as far as Kafka says."""

from bridge.control.division import Division, News


def test_the_first_answer_is_no_news() -> None:
    division = Division()
    assert (division.due, division.heard(3, {0})) == (True, News.NOTHING)
    assert (division.due, division.partitions) == (False, 3)


def test_another_number_than_before_is_news_and_the_same_is_none() -> None:
    division = Division()
    division.heard(1, {0})
    assert [division.heard(count, {0}) for count in (1, 3, 3, 2)] == [
        News.NOTHING, News.ANEW, News.NOTHING, News.ANEW,
    ]  # fmt: skip


def test_without_an_answer_there_are_as_many_as_we_know_of_and_it_is_asked_again() -> None:
    division = Division()
    assert (division.heard(0, {0, 2}), division.partitions, division.due) == (News.UNKNOWN, 3, True)
    assert (division.heard(4, {0, 2}), division.due) == (News.LATE, False)
    assert (division.heard(0, {0, 2}), division.partitions) == (News.UNKNOWN, 4)
    assert division.heard(4, {0, 2}) is News.LATE
    assert division.heard(0, {0, 2}) is News.UNKNOWN
    assert division.heard(5, {0, 2}) is News.ANEW
