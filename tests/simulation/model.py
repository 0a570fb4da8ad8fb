"""What is true, what was promised, and therefore what a worker may still believe at which moment."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .process import Process

LOAD = 0.3  # seconds: a little more than a call takes in good weather


@dataclass(eq=False)
class Commit:
    """From a moment on, something has another value.

    Attributes:
        key: what.
        subject: whose change it was.
        at: when it was committed.
        value: from then on; None for nothing.
        acknowledged: when whoever asked for it was told that it is done; None if never.
        by: the process that told him.
        due: from when on a process has to know it, where that is more than what the bus promises.
        hinted: from when on it has at least to have forgotten the subject under this key.
    """

    key: str
    subject: str
    at: float
    value: Any
    acknowledged: float | None = None
    by: Process | None = None
    due: dict[Process, float] = field(default_factory=dict)
    hinted: dict[Process, float] = field(default_factory=dict)


@dataclass(eq=False)
class Spell:
    """A time in which what a process hears, or tells, may be late or get lost."""

    begins: float
    ends: float

    def overlaps(self, begins: float, ends: float) -> bool:
        return self.begins <= ends and self.ends >= begins


class Model:
    """The history of everything that is looked up, by key; a change belongs to a subject, of which the bus tells.

    Args:
        within: seconds that the bus promises; None where there is none.
        known_ttl: seconds for which something that is there may be believed without a word from the bus.
        unknown_ttl: the same of something that is not there.
        load: seconds that a load may take beyond those.
        slack: seconds that forgetting may take.
    """

    def __init__(self, within: float | None, known_ttl: float, unknown_ttl: float, load: float, slack: float) -> None:
        self._within = within
        self._ttls = {True: known_ttl, False: unknown_ttl}
        self._load = load
        self._slack = slack
        self._history: defaultdict[str, list[Commit]] = defaultdict(list)
        self._of_subject: defaultdict[str, list[Commit]] = defaultdict(list)
        self.deaf: defaultdict[Process, list[Spell]] = defaultdict(list)
        self.mute: defaultdict[Process, list[Spell]] = defaultdict(list)

    def commit(self, key: str, value: Any, subject: str, at: float) -> None:
        commit = Commit(key, subject, at, value)
        self._history[key].append(commit)
        self._of_subject[subject].append(commit)

    def acknowledge(self, subject: str, version: float, process: Process, at: float) -> None:
        """Somebody was told that what he wanted of the subject is done: what was committed of it up to then counts."""
        commits = self._of_subject[subject]
        later = [commit.at for commit in commits if getattr(commit.value, "version", 0) > version]
        commits = [commit for commit in commits if not later or commit.at < later[0]]
        for commit in commits:
            if commit.acknowledged is None:
                commit.acknowledged, commit.by = at, process
        names = [commit.key for commit in commits if commit.value is not None][-1:]
        self._know(commits, names, process, at)

    def tell(self, subject: str, names: Sequence[str], process: Process, sent: float, at: float) -> None:
        """The bus handed over what was sent then."""
        commits = [commit for commit in self._of_subject[subject] if commit.at <= sent]
        self._know(commits, [f"name:{name}" for name in names], process, at)

    def tell_all(self, process: Process, at: float) -> None:
        """The bus said that everything is to be forgotten."""
        for history in self._history.values():
            for commit in history:
                commit.due.setdefault(process, at)

    def _know(self, commits: Sequence[Commit], names: Sequence[str], process: Process, at: float) -> None:
        for commit in commits:
            # Of a tenant only the name that it has now is told; under another one it is found by its id.
            known = commit.due if commit.key in names or not commit.key.startswith("name:") else commit.hinted
            known.setdefault(process, at)

    def now(self, key: str) -> Any:
        history = self._history[key]
        return history[-1].value if history else None

    def allows(
        self,
        key: str,
        process: Process,
        begun: float,
        ended: float,
        accepts: Callable[[Any], bool],
        *,
        connected: bool,
        longer: float = 0.0,
    ) -> bool:
        """Whether a process may have answered so.

        Args:
            key: what it was asked for.
            process: which.
            begun: when it was asked.
            ended: when it answered.
            accepts: recognises the values for which that is the answer.
            connected: whether its bus says that it hears others.
            longer: seconds for which it may believe it beyond the usual.
        """
        successor = None
        forgotten: set[str] = set()
        for commit in reversed(self._history[key]):
            if commit.at > ended:
                continue
            if accepts(commit.value):
                is_forgotten = getattr(commit.value, "id", None) in forgotten
                return not is_forgotten and self._lives(commit.value, successor, begun - longer)
            if self._is_due(commit, process, begun, connected=connected):
                return False
            if begun > commit.hinted.get(process, begun):
                forgotten.add(commit.subject)
            successor = commit
        return accepts(None) and self._lives(None, successor, begun)

    def _lives(self, value: Any, successor: Commit | None, begun: float) -> bool:
        return successor is None or begun <= successor.at + self._load + self._ttls[value is not None]

    def _is_due(self, commit: Commit, process: Process, begun: float, *, connected: bool) -> bool:
        if commit.at < process.started_at or begun > commit.due.get(process, begun) + self._slack:
            return True
        if connected and commit.at < process.subscribed_at < begun - self._slack:
            return True
        if self._within is None or commit.acknowledged is None or commit.by is None:
            return False
        promised = self._within + self._slack
        end = commit.acknowledged + promised
        for spell in self.mute[commit.by]:
            if spell.overlaps(commit.at, end):
                end = spell.ends + promised  # what could not be told is told afterwards
        return begun > end and not any(spell.overlaps(commit.at, end) for spell in self.deaf[process])
