"""A batch in the air says the same however often it is sent, and gives back exactly the events it was made of."""

from hypothesis import given
from hypothesis import strategies as some

from sync.entry import Key
from sync.flight import Flight
from sync.pack import ENCODING, ZSTD, unpack
from sync.wire import encode_batch

EVENTS = some.lists(some.binary(min_size=1, max_size=400).map(lambda raw: raw * 3), min_size=1, max_size=20)


def flight_of(events, **more):
    return Flight(id="b-1", keys=[Key(7, seq) for seq in range(1, len(events) + 1)], events=list(events), **more)


@given(events=EVENTS, turns=some.lists(some.sampled_from([ZSTD, None]), min_size=1, max_size=5))
def test_each_sending_carries_the_same_events(events, turns):
    flight = flight_of(events)
    for encoding in turns:
        payload, properties = flight.message(encoding)
        told = dict(properties).get(ENCODING)
        assert (unpack(payload, told) if told else payload) == encode_batch(events)
        assert flight.packed == (told is not None) and not (told and encoding is None)
        assert dict(properties)["batch"] == "b-1"
    assert flight.unfolded() == events


@given(events=EVENTS, data=some.data())
def test_what_is_kept_of_a_batch_is_kept_in_order_with_its_keys(events, data):
    flight = flight_of(events)
    flight.message(ZSTD)
    places = sorted(data.draw(some.sets(some.integers(0, len(events) - 1), min_size=1)))
    flight.keep(places)
    assert flight.keys == [Key(7, place + 1) for place in places]
    payload, properties = flight.message(ZSTD)
    told = dict(properties).get(ENCODING)
    assert (unpack(payload, told) if told else payload) == encode_batch([events[place] for place in places])


def test_a_street_that_could_not_read_it_gets_it_plain():
    events = [b'{"a":"%s"}' % (b"x" * 500)] * 5
    payload, properties = flight_of(events, plain=True).message(ZSTD)
    assert payload == encode_batch(events) and ENCODING not in dict(properties)
