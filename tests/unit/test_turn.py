"""The turn as a pure machine: what comes next, given how far it is."""

import dataclasses

from repertory.memory import turn as machine
from repertory.memory.agent_types import Called, on_any_call, on_heartbeat
from repertory.memory.state import CallResult, OpenQuestion, Turn
from repertory.memory.turn import Ask, Ending, Execute, KeepResponse, KeepStep, Progress, Rest, next_effect
from repertory.messages import Envelope, Message, ToolCall

NOW = 100.0


def turn(**more):
    envelope = Envelope(run_id="run-1", message_id="message-1", text="hi", returns=more.pop("returns", None))
    return Turn(envelope=envelope, seq=7, deadline_at=more.pop("deadline_at", 1_000.0), **more)


def response(*names):
    return Message(id="m", role="assistant", tool_calls=tuple(ToolCall(id=name, name=name) for name in names))


def called(name="search", *, failed=False, heartbeat=False, terminal=False, builtin=True):
    return Called(name=name, failed=failed, heartbeat=heartbeat, terminal=terminal, builtin=builtin)


def after(progress, may_continue=on_any_call, now=NOW):
    return next_effect(progress, may_continue, now)


def test_a_turn_begins_with_a_question_to_the_model():
    assert after(Progress(turn=turn())) == Ask()


def test_what_reaches_outside_is_kept_before_it_is_carried_out_and_what_does_not_is_not():
    answered = turn(response=response("post"))
    assert after(Progress(turn=answered)) == KeepResponse()
    assert after(Progress(turn=answered, pure=True)) == Execute()
    assert after(Progress(turn=dataclasses.replace(answered, response_kept=True))) == Execute()


def test_a_turn_rests_while_others_have_not_answered_and_goes_on_when_their_time_is_over():
    question = OpenQuestion(op_id="q", agent_id="b", conversation_id="default", call=0)
    waiting = Progress(waiting=True, turn=turn(
        response=response("ask"), response_kept=True, questions=(question,), due_at=150.0))
    assert after(waiting) == Rest()
    assert after(waiting, now=150.0) == Execute()
    assert after(dataclasses.replace(waiting, cancelled=True)) == Execute(settle=True)
    assert after(waiting, now=1_000.0) == Execute(settle=True)


def test_p2_a_turn_with_a_kept_response_is_driven_to_its_step_also_when_it_is_stopped():
    kept = Progress(turn=turn(response=response("x"), response_kept=True), cancelled=True)
    assert after(kept) == Execute(settle=True)
    settled = machine.executed(kept, (called(failed=True),), valued=False)
    step = after(settled)
    assert isinstance(step, KeepStep)
    assert step.ending == Ending(status="cancelled", stop_reason="cancelled", error="the run was cancelled")


def test_p5_each_way_to_stop_has_its_name():
    def ending(progress, now=NOW):
        effect = after(progress, now=now)
        assert isinstance(effect, KeepStep)
        return effect.ending.status, effect.ending.stop_reason

    fresh = Progress(turn=turn())
    assert ending(dataclasses.replace(fresh, cancelled=True)) == ("cancelled", "cancelled")
    assert ending(fresh, now=1_000.0) == ("failed", "deadline")
    assert ending(machine.failed(fresh, "model_error", "down")) == ("failed", "model_error")
    last = Progress(turn=turn(step=49, response=response("x")), executed=(called(),))
    assert ending(last) == ("completed", "max_steps")
    plain = Progress(turn=turn(response=response()), executed=())
    assert ending(plain) == ("completed", "end_turn")
    assert ending(dataclasses.replace(plain, cut_off=True)) == ("completed", "max_tokens")


def test_a_memgpt_turn_goes_on_after_failures_heartbeats_and_memory_tools_only():
    assert on_heartbeat((called(failed=True, terminal=True),))
    assert on_heartbeat((called(heartbeat=True, terminal=True),))
    assert on_heartbeat((called(),))
    assert not on_heartbeat((called(terminal=True),))
    assert not on_heartbeat((called(builtin=False),))
    assert not on_heartbeat(())


def test_a_form_that_was_asked_for_is_insisted_on_a_bounded_number_of_times():
    asked = Progress(turn=turn(response=response(), returns={"type": "integer"}), executed=())
    assert after(asked) == KeepStep(ending=None)
    assert machine.repairs(asked, on_any_call) == 1
    tired = dataclasses.replace(asked, turn=dataclasses.replace(asked.turn, repairs=machine.MOST_REPAIRS))
    effect = after(tired)
    assert isinstance(effect, KeepStep)
    assert effect.ending.stop_reason == "answer_invalid"
    assert after(dataclasses.replace(tired, valued=True)).ending.status == "completed"


def test_what_was_not_begun_says_why():
    assert machine.unbegun("mail", late=False) == CallResult(
        text="cancelled: the run was cancelled before mail was begun", failed=True)
    assert "deadline" in machine.unbegun("mail", late=True).text
