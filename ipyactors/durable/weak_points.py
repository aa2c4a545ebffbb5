"""All fault points of a durable actor's process: where it can be ended, stopped or made to fail, by name.

``WEAK_POINTS`` tells when each is hit. A test compares it with the code, and a sweep has the process fail at each.
"""

from __future__ import annotations

from collections.abc import Mapping

WEAK_POINTS: Mapping[str, str] = {
    # The life of a call.
    "durable.call.arrived": "a call has come, and nothing is noted",
    "durable.call.taken": "a new call is noted, and not written",
    "durable.call.known": "a call has come again, and is not answered",
    "durable.call.written": "calls are in the log, and do not run",
    "durable.call.begun": "a call is marked as begun, and does not run",
    "durable.call.ended": "the user's code is through, and its end is not noted",
    "durable.call.done": "the end is noted, and nobody was told",
    "durable.call.aborted": "that it is given up is noted, and nobody was told",
    "durable.answers.secured": "answers may leave, and have not",
    "durable.answers.sent": "answers are on their way",
    # What a call takes from outside.
    "durable.value.noted": "the time, a number, or that a call is made is noted, and not written",
    "durable.nested.noted": "that a call is made is written, and it is not made",
    "durable.nested.submitted": "a call is made",
    "durable.nested.received": "a result is there, and not noted",
    "durable.nested.kept": "a result is noted, and not given to the user's code",
    "durable.nested.released": "a call that a replay has made is sent after all",
    # Files.
    "durable.allocate.before": "a segment is needed",
    "durable.allocate.after": "a segment is there, and nothing is in it",
    "durable.write.before": "the log is about to be written",
    "durable.write.after": "the log is written",
    "durable.sync.before": "the log is about to be synced",
    "durable.sync.after": "the log is synced",
    "durable.replace.before_rename": "a file is whole, and has no name",
    "durable.replace.after_rename": "a file has its name, and the folder is not synced",
    "durable.remove.before": "a file is about to be removed",
    "durable.blob.written": "a large value has its file, and no record names it",
    # Checkpoints and classes.
    "durable.checkpoint.begun": "a checkpoint is due, and nothing is saved",
    "durable.checkpoint.saved": "its data is safe, and no manifest says so",
    "durable.checkpoint.secured": "the log before it is safe, and there is no manifest",
    "durable.checkpoint.manifest": "it can be recovered from",
    "durable.checkpoint.noted": "the log says so too, and nothing was dropped",
    "durable.checkpoint.dropped": "segments are dropped, and their large values are not",
    "durable.checkpoint.expired": "the data of an older one is about to be removed",
    "durable.checkpoint.unmade": "the data of one that never became available is about to be removed",
    "durable.checkpoint.made": "all of it is done, and nobody was told",
    "durable.upgrade.kept": "both classes are in their files",
    "durable.upgrade.checkpointed": "the last checkpoint of the old class is there",
    "durable.upgrade.switched": "the state is of the new class, and no checkpoint has it",
    "durable.upgrade.done": "the first checkpoint of the new class is there, and the head was not told",
    # Coming back.
    "durable.open.read": "the folder was read, and nothing was changed",
    "durable.open.logged": "that there is another incarnation is in the log",
    "durable.replay.began": "the checkpoint is loaded, or the constructor has run",
    "durable.replay.call": "a call was run again, and not compared",
    "durable.replay.ended": "all calls were run again",
    "durable.open.served": "the actor is as it was, and nobody was told",
}

#: Those that are hit while the user's code runs. An exception there would be one that this code sees, and that no
#: replay could give it again; what really fails there, the disk, ends the process instead.
IN_USER_CODE = frozenset(
    {
        "durable.value.noted",
        "durable.nested.noted",
        "durable.nested.submitted",
        "durable.nested.received",
        "durable.nested.kept",
        "durable.blob.written",
    }
)
