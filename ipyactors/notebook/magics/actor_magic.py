"""``%actor``, ``%checkpoints`` and ``%upgrade``: what is known of one actor, and the class that it runs."""

from __future__ import annotations

from IPython.core.error import UsageError
from IPython.core.magic import Magics, magics_class

from ipyactors.api.actor import ActorClass, ConfiguredActorClass
from ipyactors.api.actor_report import ActorReport, describe_actor
from ipyactors.api.actor_table import label
from ipyactors.api.calls import get
from ipyactors.api.checkpoint_list import CheckpointList, list_checkpoints
from ipyactors.api.handles import ActorHandle, take_methods, upgrade
from ipyactors.api.restoring import find_checkpoint, restore
from ipyactors.ground.exceptions import ActorNotFoundError, OptionError, TaskError
from ipyactors.notebook.magics.flags import ACTOR, flag, line_magic_with, parse_line, without_quotes
from ipyactors.notebook.magics.usage import as_usage_error
from ipyactors.notebook.magics.which_actor import handle_of, handles_to, look_up


@magics_class
class ActorMagics(Magics):  # type: ignore[misc]
    """The magics about one actor."""

    @line_magic_with(
        *ACTOR,
        flag("--state", action="store_true", help="Ask it for its attributes; if it is busy, that is said instead."),
        flag("--checkpoints", action="store_true", help="List its checkpoints."),
        flag(
            "--log",
            nargs="?",
            const=20,
            default=0,
            type=int,
            metavar="N",
            help="Show the last N lines that each of its processes has printed; 20 if no number is given.",
        ),
    )
    def actor(self, line: str) -> ActorReport:
        """Show one actor: where it is in its life, what it died of last, what its calls came to.

        It may have ended. In a script: ipyactors.describe_actor(NAME or handle, state=True, checkpoints=True, log=20).
        """
        __tracebackhide__ = "__ipython_bottom__"
        with as_usage_error():
            given = parse_line(self.actor, line)
            which = self._handle_or_id(given.actor, given.namespace, needs_handle=given.state)
            return describe_actor(which, state=given.state, checkpoints=given.checkpoints, log=given.log)

    @line_magic_with(
        *ACTOR,
        flag("--restore", metavar="ID", help="Go back to this one. The beginning of its id is enough."),
        flag("--yes", action="store_true", help="Do that, and do not only say what it would undo."),
    )
    def checkpoints(self, line: str) -> CheckpointList | None:
        """List the checkpoints that a durable actor can come back from, newest first; or go back to one on purpose.

        With --restore the actor has the state of that checkpoint again: what the calls after it did to the state is
        undone. That is a call like any other: in its turn, recorded, exactly once. Callers keep the answers they have.

        In a script: ipyactors.list_checkpoints(handle), ipyactors.restore(handle, ID). What a recovery would cost now
        is shown by ipyactors.plots.checkpoints().
        """
        __tracebackhide__ = "__ipython_bottom__"
        variables = self.shell.user_ns
        with as_usage_error():
            given = parse_line(self.checkpoints, line)
            status = look_up(given.actor, given.namespace, variables, dead_too=not given.restore)
            if not status.level:
                raise UsageError(f"{label(status)} is not durable, and so has no checkpoints.")
            if not given.restore:
                return list_checkpoints(status.actor_id.hex())
            handle = handle_of(given.actor, given.namespace, variables)
            checkpoint_id = without_quotes(given.restore)
            found = find_checkpoint(handle, str(variables.get(checkpoint_id.removeprefix("$"), checkpoint_id)))
        which = f"the state that it had after call {found.after_call:,} (checkpoint {found.checkpoint_id[:10]})"
        if not given.yes:
            print(
                f"{label(status)} would go back to {which}. What all later calls did to its state would be undone; "
                "their callers keep the answers that they have. Nothing was done yet: add --yes to do it."
            )
            return None
        undone = get(restore(handle, found.checkpoint_id))
        print(f"{label(status)} has {which}: what {undone:,} call{'s' * (undone != 1)} did to it since is undone")
        return None

    @line_magic_with(
        *ACTOR,
        flag(
            "class_name",
            nargs="?",
            metavar="CLASS",
            help="A remote class; by default what the name of its own means now.",
        ),
    )
    def upgrade(self, line: str) -> None:
        """Have a durable actor go on as the class that its class's name means now, with its state.

        An actor keeps the class that it was made with when the cell that defines it is run again. This makes a
        checkpoint, and then gives the state to the new class: attributes stay, the constructor does not run. The
        variables of this notebook that hold the actor have the new methods then.

        In a script: ipyactors.upgrade(handle, NewClass).
        """
        __tracebackhide__ = "__ipython_bottom__"
        with as_usage_error():
            given = parse_line(self.upgrade, line)
            status = look_up(given.actor, given.namespace, self.shell.user_ns)
            handle = handle_of(given.actor, given.namespace, self.shell.user_ns)
        if not status.level:
            raise UsageError(f"{label(status)} is not durable, and keeps the class that it has. Nothing was done.")
        name = (given.class_name or status.class_name).removeprefix("$")
        new_class = self.shell.user_ns.get(name)
        if not isinstance(new_class, (ActorClass, ConfiguredActorClass)):
            raise UsageError(
                f"{name} is no remote class in this notebook, so {label(status)} stays as it is. "
                f"Run the cell that defines it, or name another one: %upgrade {given.actor} CLASS"
            )
        try:
            upgrade(handle, new_class)
        except (OptionError, TypeError) as error:
            if isinstance(error, TaskError):  # what the class's own code has raised
                raise
            raise UsageError(str(error)) from None
        for held in handles_to(self.shell.user_ns, status.actor_id):
            take_methods(held, handle)
        is_other = handle._ipyactors_plans.class_name != status.class_name
        before = f" (its class was {status.class_name})" if is_other else ""
        print(f"{label(status)} runs the {name} of this notebook now, with the state that it had{before}")

    def _handle_or_id(self, which: str, namespace: str | None, *, needs_handle: bool) -> ActorHandle | str:
        """Return the actor that is meant, also one that has ended. Raises ActorNotFoundError."""
        variables = self.shell.user_ns
        status = look_up(which, namespace, variables, dead_too=True)
        if needs_handle:
            try:
                return handle_of(which, namespace, variables)
            except ActorNotFoundError:  # it is dead, or has no handle here: the report says so
                pass
        return status.actor_id.hex()
