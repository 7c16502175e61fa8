"""The little language of simulated messages."""

from simulator.script import Op, find, order


def test_a_message_survives_being_written_wrapped_and_read_again():
    inner = order("m1.1", Op(verb="say"))
    outer = order("m1", Op(verb="append", arguments=("notes",)),
                  (Op(verb="ask", arguments=("agent-x",), message=inner), Op(verb="think")))
    text = f'{{"type": "user_message", "message": "From Bob: {outer.text}", "time": 3}}'
    assert find(text) == outer
    assert outer.inner() == [inner]


def test_a_message_that_was_cut_off_is_no_message():
    assert find("[[#m1(append,notes;ask,agent-x,#m1.1(say") is None
    assert find("hello") is None
    assert find("[[#m1(ask,agent-x,... #m1.1())]]") is None
    assert find("... #m1.1())]]") is None
    assert find("[[#m2()]]").token == "m2"
