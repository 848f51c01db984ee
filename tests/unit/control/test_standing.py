"""Membership and trouble, judged by the library's errors and statistics."""

import json

from bridge.control.standing import Standing

SESSION_S = 10.0


def statistics(
    *,
    state: str = "up",
    join_state: str = "steady",
    coordinator: str = "UP",
    leader: int = 1,
    broker: str = "UP",
    fetch: str = "active",
) -> str:
    return json.dumps(
        {
            "name": "some client",
            "brokers": {
                "host:9092/1": {"nodeid": 1, "state": broker},
                "GroupCoordinator": {"nodeid": 1, "state": coordinator},
            },
            "topics": {"t": {"topic": "t", "partitions": {"0": {"leader": leader, "fetch_state": fetch}}}},
            "cgrp": {"state": state, "join_state": join_state, "rebalance_cnt": 3},
        }
    )


def joined() -> Standing:
    standing = Standing(SESSION_S)
    standing.joined(100.0)
    return standing


def test_at_first_we_are_no_member_and_know_of_no_trouble() -> None:
    standing = Standing(SESSION_S)
    standing.statistics(json.dumps({"brokers": {}, "topics": {}}), 1.0)
    standing.statistics(statistics(state="init", join_state="init", coordinator="INIT"), 2.0)
    assert (standing.member, standing.ever_joined, standing.trouble) == (False, False, "")


def test_an_answer_to_our_join_makes_us_a_member() -> None:
    assert joined().member


def test_steady_statistics_make_us_a_member() -> None:
    standing = Standing(SESSION_S)
    standing.statistics(statistics(), 1.0)
    assert standing.member


def test_a_trouble_keeps_its_beginning_and_its_first_words() -> None:
    standing = joined()
    standing.failed("all brokers are down", 110.0)
    standing.failed("connection refused", 111.0)
    assert (standing.trouble, standing.trouble_since) == ("all brokers are down", 110.0)


def test_healthy_statistics_end_a_trouble_and_the_next_one_begins_anew() -> None:
    standing = joined()
    standing.failed("first", 110.0)
    standing.statistics(statistics(), 112.0)
    assert standing.trouble == ""
    standing.failed("second", 120.0)
    assert (standing.trouble, standing.trouble_since) == ("second", 120.0)


def test_a_group_that_has_not_settled_ends_no_trouble() -> None:
    standing = joined()
    standing.failed("lost", 110.0)
    standing.statistics(statistics(join_state="wait-join"), 111.0)
    assert standing.trouble == "lost"


def test_a_rebalance_is_no_trouble() -> None:
    standing = joined()
    standing.statistics(statistics(join_state="wait-sync"), 101.0)
    assert (standing.member, standing.trouble) == (True, "")


def test_one_brokers_failure_explains_a_trouble_but_is_none() -> None:
    standing = joined()
    standing.remark("host:9092: connection refused")
    assert standing.trouble == ""
    standing.statistics(statistics(state="query-coord", coordinator="TRY_CONNECT"), 105.0)
    assert (standing.trouble, standing.trouble_since) == ("host:9092: connection refused", 105.0)


def test_a_coordinator_out_of_reach_is_trouble() -> None:
    standing = joined()
    standing.statistics(statistics(coordinator="TRY_CONNECT"), 105.0)
    assert "coordinator" in standing.trouble


def test_a_partition_whose_leader_is_out_of_reach_is_trouble() -> None:
    for unread in (statistics(leader=-1), statistics(broker="TRY_CONNECT")):
        standing = joined()
        standing.statistics(unread, 105.0)
        assert "leader" in standing.trouble


def test_the_leader_of_a_partition_that_we_do_not_read_does_not_matter() -> None:
    standing = joined()
    standing.statistics(statistics(leader=-1, fetch="none"), 105.0)
    assert standing.trouble == ""


def test_a_group_that_lost_us_is_trouble_and_we_are_no_member() -> None:
    standing = joined()
    standing.lost(115.0)
    assert not standing.member
    assert "session timeout" in standing.trouble
    standing.statistics(statistics(), 120.0)
    assert (standing.member, standing.trouble) == (True, "")


def test_a_standby_is_no_member_once_trouble_has_lasted_for_the_session_timeout() -> None:
    standing = joined()
    standing.statistics(statistics(state="query-coord"), 100.0 + SESSION_S)
    assert standing.member
    standing.statistics(statistics(state="query-coord"), 100.1 + SESSION_S)
    assert not standing.member
