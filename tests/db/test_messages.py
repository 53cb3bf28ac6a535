"""What is said to whom: written down with the event, sent once, dropped when it is not so any more."""

from tests.database import Database


def test_a_reader_of_no_message_has_an_empty_list(db: Database) -> None:
    assert db.call("service_role", "claim_messages") | {"now": None} == {"now": None, "messages": [], "more": False}
