"""`up`, `down`, `status`: a runtime that stays."""

from __future__ import annotations

from dataclasses import asdict

from repertory.cli.keeper import find_keeper, start_keeper, stop_keeper
from repertory.cli.output import DEFAULT_DATABASE, AsJson, Database, console, print_json, when, working
from repertory.cli.records import opened


def up(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Start a runtime that stays until `repertory down`.

    Other commands and programs that open the same database join it. Doing it twice changes nothing.

    For example:

    ```
    repertory up --db ./db
    ```
    """
    keeper = find_keeper(database)
    already = keeper is not None
    if keeper is None:
        with working(f"starting a runtime for {database}"):
            keeper = start_keeper(database)
    if as_json:
        print_json({**asdict(keeper), "database": str(database), "already": already})
        return
    console.print(f"{'already up' if already else 'up'}: {database} (process {keeper.pid})")
    console.print(f"log: {keeper.log}", style="dim", soft_wrap=True)


def down(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Stop the runtime that `repertory up` started; turns under way go on at the next start.

    For example:

    ```
    repertory down --db ./db
    ```
    """
    with working(f"stopping the runtime of {database}"):
        keeper = stop_keeper(database)
    if as_json:
        print_json({"database": str(database), "was_up": keeper is not None})
    elif keeper is None:
        console.print(f"nothing to stop: no runtime of `up` keeps {database}")
    else:
        console.print(f"down: {database}")


def status(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Say whether a runtime is up, and what the database holds.

    For example:

    ```
    repertory status --json
    ```
    """
    keeper = find_keeper(database)
    with opened(database) as reader:
        statistics = reader.index.statistics()
    if as_json:
        print_json({"database": str(database), "up": keeper is not None,
                    "keeper": None if keeper is None else asdict(keeper), **statistics})
        return
    if keeper is None:
        console.print(f"{database}: no runtime of `up`")
    else:
        console.print(f"{database}: up since {when(keeper.started_at)} (process {keeper.pid})")
        console.print(f"log: {keeper.log}", style="dim", soft_wrap=True)
    console.print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in statistics.items()))
