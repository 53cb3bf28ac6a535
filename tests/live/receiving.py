"""Somebody who is told what happens: endpoints over HTTP, a real receiver, and the scheduler that delivers."""

from collections.abc import Sequence

from scripts.receiver import Received, Receiver
from tests.house import ENGLISH, NADIA
from tests.live.answers import answer
from tests.live.served import Row, ServedHouse


def subscribe(house: ServedHouse, receiver: Receiver, path: str = "/hook", **more: object) -> Row:
    """A new endpoint at that path of the receiver, which knows its secret from then on."""
    body = {"url": receiver.url + path} | more
    endpoint = answer(house.sign_in(NADIA).post("/webhook-endpoints", json=body), 201)
    receiver.secrets.append(endpoint["secret"])
    return endpoint


def change(house: ServedHouse, endpoint: Row, **changes: object) -> Row:
    return answer(house.sign_in(NADIA).patch(f"/webhook-endpoints/{endpoint['id']}", json=changes))


def shown(house: ServedHouse, endpoint: Row) -> Row:
    """The endpoint as the list has it."""
    listed = answer(house.sign_in(NADIA).get("/webhook-endpoints"))["endpoints"]
    (found,) = [each for each in listed if each["id"] == endpoint["id"]]
    return found


def deliver(house: ServedHouse) -> Row:
    """The scheduler's call; of what it answers, what became of the webhooks."""
    done = answer(house.anybody.get("/cron/deliver-outbox", headers=as_scheduler(house)))
    return {name: count for name, count in done.items() if name != "notices"}


def as_scheduler(house: ServedHouse) -> dict[str, str]:
    return {"Authorization": f"Bearer {house.env['CRON_SECRET']}"}


def deliveries(house: ServedHouse, endpoint: Row, **query: str | int) -> list[Row]:
    """What was put down for an endpoint, newest event first."""
    page = answer(house.sign_in(NADIA).get(f"/webhook-endpoints/{endpoint['id']}/deliveries", params=query))
    return page["deliveries"]


def only_delivery(house: ServedHouse, endpoint: Row) -> Row:
    """The one thing put down for it, with its log."""
    (delivery,) = deliveries(house, endpoint)
    return answer(house.sign_in(NADIA).get(f"/deliveries/{delivery['id']}"))


def something_happens(house: ServedHouse) -> Row:
    """A month is planned, which is one event; gives it."""
    answer(house.sign_in(NADIA).post(f"/matches/{ENGLISH.id}/sessions", json={}), 201)
    (event,) = events_after(house, None)["events"]
    return event


def happen(house: ServedHouse, times: int = 1, *, name: str = "session.completed") -> list[str]:
    """Events, one transaction each; their ids in order."""
    for _ in range(times):
        house.database.run("select private.record_event(%s, 'session', gen_random_uuid(), '{}', private.now())", name)
    newest = house.database.rows("select 'evt_' || id from private.outbox_events order by id desc limit %s", times)
    return [id_ for (id_,) in reversed(newest)]


def events_after(house: ServedHouse, cursor: str | None, limit: int = 200) -> Row:
    """A page of what happened."""
    query: dict[str, str | int] = {"limit": limit} | ({} if cursor is None else {"after": cursor})
    return answer(house.sign_in(NADIA).get("/events", params=query))


def ids(messages: Sequence[Received]) -> list[str]:
    return [each.id for each in messages]
