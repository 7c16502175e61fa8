"""`send` and `chat`: talking to an agent."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from repertory.api.opening import open_sync
from repertory.cli.chat import Chat
from repertory.cli.output import DEFAULT_DATABASE, AsJson, Database, console, print_json, working
from repertory.errors import ConfigError
from repertory.messages import DEFAULT_CONVERSATION, pack

Name = Annotated[str, typer.Argument(help="An agent's name or id.")]
InConversation = Annotated[str, typer.Option("--conversation", help="Which thread with the agent.")]


def send(name: Name, text: Annotated[str, typer.Argument(help="What to say; `-` reads it from standard input.")],
         database: Database = DEFAULT_DATABASE, conversation: InConversation = DEFAULT_CONVERSATION,
         wait: Annotated[bool, typer.Option(help="Wait for the answer, or return once the message is kept.")] = True,
         timeout: Annotated[float | None, typer.Option(help="The run must be over after so many seconds.")] = None,
         as_json: AsJson = False) -> None:
    """Send one message and print the answer.

    For example:

    ```
    repertory send ada "Remember that the meeting is on Friday."
    cat question.txt | repertory send ada - --json
    ```
    """
    said = sys.stdin.read() if text == "-" else text
    if not said.strip():
        raise ConfigError("there is nothing to send")
    manner = {} if timeout is None else {"timeout_s": timeout}
    with open_sync(database) as running:
        thread = running.agent(name).conversation(conversation)
        if not wait:
            posted = thread.post(said, **manner)
            kept = {"run_id": posted.run_id, "agent_id": posted.agent_id, "seq": posted.seq}
            print_json(kept) if as_json else console.print(f"kept (run {posted.run_id})", soft_wrap=True)
            return
        reply = thread.send(said, **manner)
    if as_json:
        print_json({**pack(reply), "text": reply.text})
    else:
        console.print(reply.text, markup=False, highlight=False, soft_wrap=True)


def chat(name: Name, database: Database = DEFAULT_DATABASE, conversation: InConversation = DEFAULT_CONVERSATION
         ) -> None:
    """Talk with an agent; /help lists what else can be typed.

    For example:

    ```
    repertory chat ada
    ```
    """
    with working(f"opening {database}"):
        running = open_sync(database)
    with running:
        Chat(running.agent(name), conversation).run()
