"""The magics: each parses its line, makes one call of the api, and turns a user's mistake into one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, magics_class

from ipyactors.api import remote, runtime
from ipyactors.api.actor import lacking
from ipyactors.api.actor_table import ActorTable
from ipyactors.api.init import init
from ipyactors.ground.options import Place
from ipyactors.notebook.cells import cell_compiler
from ipyactors.notebook.cells.cell_compiler import Cell, Definition, Options
from ipyactors.notebook.cells.cell_source import CellSource
from ipyactors.notebook.magics import replies
from ipyactors.notebook.magics.flags import (
    ACTOR,
    cell_magic_with_options,
    flag,
    line_magic_with,
    parse_flags,
    parse_line,
    read_options,
)
from ipyactors.notebook.magics.usage import as_usage_error, warnings_as_lines
from ipyactors.notebook.magics.which_actor import handles_in, look_up
from ipyactors.wire.specs import ActorStatus


@magics_class
class RemoteMagics(Magics):  # type: ignore[misc]
    """What makes and ends, in one shell: remote definitions, the session, actors."""

    def __init__(self, shell: Any, source: CellSource) -> None:
        super().__init__(shell)
        self._source = source

    @cell_magic_with_options(Place.TASK, Place.ACTOR)
    def remote(self, line: str, cell: str) -> None:
        """Make the functions and classes of this cell remote.

        A function becomes a task, called with f.remote(...). A class becomes an actor: C.remote(...) starts one in a
        process of its own. Each option applies to all definitions of the cell that take it; other statements run
        here, as in any cell. Running the cell again replaces the definitions; live actors keep the class they have,
        until a durable one is told to take the new one: %upgrade NAME.

        Exceptions and enums stay plain classes. A helper that is to be called as usual, or a class whose instances
        are mere values, goes into another cell. What a definition uses of the notebook is taken as it is at its first
        .remote(); imported modules are imported by the workers, and stay there as they were then.

        The value of an option may be a variable: --max-retries $n.

        In a script, decorate the function or class: @ipyactors.remote, or with options @ipyactors.remote(num_cpus=2).
        """
        __tracebackhide__ = True
        with as_usage_error():
            given = read_options(parse_flags(self.remote, line, Place.TASK, Place.ACTOR), self.shell.user_ns)
            text, filename = self._source.read("remote", line, cell)
            compiled = cell_compiler.compile_cell(text, filename, self.shell.compile)
            options = cell_compiler.fit_options(given, compiled.definitions)
        before = {item.name: self.shell.user_ns.get(item.name) for item in compiled.definitions}
        self._run(compiled, options)
        names = self.shell.user_ns
        plain = {item.name for item in compiled.definitions if replies.stays_plain(names[item.name])}
        actors = _actors_of_namespace()
        variables = handles_in(names) if actors else {}
        print(replies.defined(compiled.definitions, options, plain, before, actors, variables))

    def _run(self, compiled: Cell, options: dict[Definition, Options]) -> None:
        __tracebackhide__ = "__ipython_bottom__"  # what is above the cell's own lines is not the user's

        def make_remote(definition: Definition, value: Any) -> Any:
            if replies.stays_plain(value):
                return value
            if replies.is_remote(value):
                made = _already_remote(definition, value, options[definition])
            else:
                with as_usage_error():
                    if isinstance(value, type) and (problem := lacking(value)):
                        raise UsageError(problem)
                    made = remote.remote(**options[definition])(value)
            made.source_digest = definition.digest
            return made

        cell_compiler.run(compiled, self.shell.user_ns, make_remote)

    @line_magic_with(
        flag("--num-cpus", metavar="X", help="CPUs that this machine offers. Default: those that it has."),
        flag("--num-gpus", metavar="X", help="GPUs that this machine offers. Default: those that it has."),
        flag("--memory", metavar="BYTES", help="Bytes of memory that this machine offers."),
        flag("--resources", metavar="DICT", help="Resources of your own, such as {'licence':2}."),
        flag("--namespace", metavar="TEXT", help="Where this notebook names its actors."),
        flag("--session", metavar="TEXT", help="The name of the session's folder."),
        flag("--quiet", action="store_true", help="Do not show here what workers print."),
    )
    def remote_init(self, line: str) -> None:
        """Start the session of this notebook.

        The first use starts it with all defaults. In a script: ipyactors.init().
        """
        __tracebackhide__ = True
        with as_usage_error():
            given = vars(parse_line(self.remote_init, line))
            quiet = given.pop("quiet")
            session = given.pop("session")
            values = read_options(given, self.shell.user_ns)
            with warnings_as_lines():
                init(**values, session=session, log_to_driver=False if quiet else None)

    @line_magic_with()
    def actors(self, line: str) -> ActorTable | None:
        """Show the actors of the session: state, incarnation, restarts left, what they wait for or died of.

        %actor NAME tells more of one. In a script: ipyactors.list_actors().
        """
        if line.strip():
            raise UsageError("%actors takes no arguments; it shows all actors of the session.")
        engine = runtime.live_engine()
        if engine is None and (left := runtime.without_session("")):
            print(left)
            return None
        return ActorTable(_actors(), engine.namespace if engine else "")

    @line_magic_with(
        *ACTOR,
        flag("--restart", action="store_true", help="Let the actor come back, if it has restarts left."),
    )
    def kill(self, line: str) -> None:
        """End the process of an actor now. It is not restarted, and its name is free, unless --restart is given.

        In a script: ipyactors.kill(handle), and no_restart=False for --restart.
        """
        with as_usage_error():
            given = parse_line(self.kill, line)
            status = look_up(given.actor, given.namespace, self.shell.user_ns)
            engine = runtime.engine()
            client = engine.adopt_actor(status.actor_id, status.class_name, status.name)
            try:
                engine.kill_actor(client, no_restart=not given.restart)
            finally:
                engine.release_handle(client)


def _already_remote(definition: Definition, value: Any, options: Options) -> Any:
    """Return what ``@remote`` inside the cell has made; its options are those of the decorator."""
    if options:
        flags = ", ".join(map(cell_compiler.flag, options))
        raise UsageError(
            f"{definition.name} is made remote by its own decorator, so {flags} would be lost. "
            "Give the options to the decorator, or take the decorator away."
        )
    return value


def _actors() -> Sequence[ActorStatus]:
    engine = runtime.live_engine()
    return engine.describe_cluster().actors if engine else ()


def _actors_of_namespace() -> Sequence[ActorStatus]:
    engine = runtime.live_engine()
    return [one for one in _actors() if one.namespace == engine.namespace] if engine else ()
