"""Put a choice into words: one function for each clause of the answer."""

from collections.abc import Sequence

from scalelab.core.figures import metric_name
from scalelab.core.records import UNFINISHED, Outcome
from scalelab.core.units import format_bytes, format_share
from scalelab.findings.bootstrap import LEVEL
from scalelab.findings.candidates import Candidate, Group
from scalelab.findings.choice import Choice
from scalelab.findings.rounded import rounded
from scalelab.findings.verdicts import Baseline

__all__ = [
    "best_clause",
    "cheaper_clause",
    "distance_clause",
    "left_out_clause",
    "nothing_clause",
    "unknown_clause",
]

# With fewer users than this a mean over them says little.
_FEW_USERS = 500
_ENDED = {
    Outcome.OOM: "ran out of memory",
    Outcome.SKIPPED: "were not started because of a limit of memory or time",
    Outcome.TIMEOUT: "ran out of time",
    Outcome.DIVERGED: "diverged",
    Outcome.FAILED: "failed",
    Outcome.PRUNED: "were stopped early for a result below the median",
}


def best_clause(choice: Choice, group: Group, budget_bytes: int | None) -> str:
    """Which configuration is first, and whether it may be called the best."""
    best, under = choice.best, _under(budget_bytes)
    if choice.nothing_learned:
        return _nothing_learned(choice, group, under)
    figure = f"{_name(choice)} {_quality(best.test)} on the test users, {_memory(best)}"
    below = _below(choice, group, under)
    if group.num_fit == 1:
        only = _only(group, budget_bytes)
        return f"Only one configuration {only}: {best.label}, with {figure}.{below}"
    against = [f"{_listed(choice.equal)} cannot be distinguished from it"] if choice.equal else []
    if choice.better_on_test:
        verb = "ranks" if len(choice.better_on_test) == 1 else "rank"
        against.append(f"{_listed(choice.better_on_test)} {verb} the test users better")
    if against or below:
        but = f", but {' and '.join(against)}" if against else ""
        no = "No configuration can be called best" if below else "No single configuration is best"
        return f"{no}{under}: {best.label} is first on validation ({figure}){but}.{below}"
    if not choice.is_best:
        return f"First on validation{under} is {best.label}, with {figure}."
    return (
        f"The best {_name(choice)}{under} on the test users is {_quality(best.test)}, by "
        f"{best.label}, with {_memory(best)}."
    )


def cheaper_clause(choice: Choice) -> str:
    """The cheapest that is about as good; "" where memory is not known or nothing compares."""
    best, cheaper = choice.best, choice.cheaper
    if choice.nothing_learned or best.needed_bytes is None:
        return ""
    if cheaper is None or cheaper.needed_bytes is None:
        by_evaluation = bool(_evaluation(best))
        if choice.takes_least_memory:
            less = "less memory, evaluation counted" if by_evaluation else "less training memory"
            return f"No other takes {less}."
        if choice.num_compared:
            counted = ", evaluation counted," if by_evaluation else ""
            name = "the best" if choice.is_best else best.label
            return (
                f"No configuration that takes clearly less memory{counted} comes within 5 % of "
                f"{name} on validation."
            )
        return ""
    shown = _of(cheaper.needed_bytes, best.needed_bytes)
    share = format_share(cheaper.needed_bytes / best.needed_bytes)
    memory = (
        f"{share} of its memory ({shown}, evaluation counted)"
        if _evaluation(best) or _evaluation(cheaper)
        else f"{share} of its training memory ({shown})"
    )
    return f"{cheaper.label}: {_share_of_quality(choice, cheaper)} in {memory}{_why_equal(choice)}."


def _share_of_quality(choice: Choice, cheaper: Candidate) -> str:
    best, name = choice.best, _name(choice)
    ratio, shown = cheaper.test / best.test, (_quality(cheaper.test), _quality(best.test))
    if ratio < 0.995:
        which = "the best" if choice.is_best else "that"
        return f"{format_share(ratio)} of {which} {name} ({shown[0]} of {shown[1]})"
    if shown[0] == shown[1]:
        return f"the same {name} ({shown[0]})"
    how = "about the same" if ratio <= 1.005 else "a higher"
    return f"{how} {name} ({shown[0]} against {shown[1]})"


def _why_equal(choice: Choice) -> str:
    """Why the cheaper one may be as good, where it is one of many that are."""
    if choice.cheaper is None or not choice.cheaper_is_equal or len(choice.equal) < 3:
        return ""
    p_value = choice.p_values.get(choice.cheaper.key)
    if p_value is None or p_value < LEVEL:
        return "; the two differ by no more than the spread over seeds"
    return "; the test users do not distinguish the two"


def distance_clause(choice: Choice) -> str:
    """How far the first one is from the oracle and from the best baseline."""
    best, baseline, found = choice.best, choice.baseline, []
    if choice.nothing_learned:
        return ""
    if best.oracle:
        share = format_share(best.test / best.oracle)
        found.append(
            f"reaches {share} of the oracle ({_quality(best.oracle)}, a bound for any model)"
        )
    if baseline is not None and baseline.test and not choice.below_baseline:
        above = _above(best.test / baseline.test, _name(choice))
        found.append(f"{above} the best baseline, {_named(baseline)}")
    subject = "The best" if choice.is_best else best.label if choice.num_compared else "It"
    return f"{subject} {' and '.join(found)}." if found else ""


def unknown_clause(choice: Choice, group: Group) -> str:
    """What could still change the answer; "" where nothing is known to."""
    if choice.nothing_learned:
        return ""
    best, found = choice.best, []
    shown = [best, *([] if choice.cheaper is None else [choice.cheaper])]
    least = min(shown, key=lambda one: one.seeds)
    of = f" of {least.label}" if least.seeds < max(one.seeds for one in shown) else ""
    if least.seeds == 1:
        may = "change the order" if group.num_fit > 1 else "give another figure"
        found.append(f"{'only ' if of else ''}one seed{of} was run, and another may {may}")
    elif least.seeds == 2:
        found.append(f"only two seeds{of} were run")
    found += _rising(shown, group)
    if number := group.num_at_baseline - sum(one.at_baseline for one in shown):
        found.append(
            f"{_counted(number, 'configurations', 'has', 'have')} learned no more than the "
            "popularity list"
        )
    if choice.baseline is None:
        found.append("no baseline is known")
    if choice.untested:
        which = "the" if choice.untested == choice.num_compared else "some"
        found.append(f"{which} differences were not tested, as the ranks of users were not kept")
    if choice.num_users is not None and choice.num_users < _FEW_USERS:
        found.append(f"there are only {choice.num_users} test users")
    return f"Keep in mind: {'; '.join(found)}." if found else ""


def left_out_clause(group: Group) -> str:
    """What was not compared, and why; "" where all was."""
    found: list[str] = []
    over = group.num_finished - group.num_fit - group.num_with_lost
    # Where nothing fits, the first clause states it.
    if over > 0 and group.num_fit:
        found.append(f"{_counted(over, 'configurations', 'needs', 'need')} more than the budget")
    if group.num_with_lost:
        number = _counted(group.num_with_lost, "configurations", "has", "have")
        found.append(f"{number} seeds that did not finish")
    found += _ended(group)
    return f"Left out: {'; '.join(found)}." if found else ""


def nothing_clause(group: Group, budget_bytes: int | None) -> str:
    """Why there is no first configuration at all."""
    if group.num_finished > group.num_with_lost and budget_bytes is not None:
        least = (
            "what they need is not known"
            if group.least_bytes is None
            else f"the smallest needs {format_bytes(group.least_bytes)}"
        )
        return f"No configuration fits in {format_bytes(budget_bytes)}: {least}."
    if group.num_finished:
        return "No configuration has finished with all of its seeds."
    ended = _ended(group)
    return f"No run has finished with a result{': ' if ended else ''}{'; '.join(ended)}."


def _only(group: Group, budget_bytes: int | None) -> str:
    """What only one configuration has done."""
    if group.num_finished == 1:
        return "has finished"
    if budget_bytes is None or group.num_finished - group.num_with_lost == 1:
        return "has finished with all of its seeds"
    return f"fits in {format_bytes(budget_bytes)}"


def _nothing_learned(choice: Choice, group: Group, under: str) -> str:
    best, test, name = choice.best, _quality(choice.best.test), _name(choice)
    below = _below(choice, group, under)
    if choice.nothing_learned == "zero" and best.valid <= 0:
        who = "all have" if choice.num_compared else f"{best.label} has"
        return f"No configuration{under} has learned anything: {who} {name} 0 on validation.{below}"
    if choice.nothing_learned == "zero":
        return (
            f"No configuration can be called best{under}: the first on validation, {best.label}, "
            f"has {name} {_quality(best.valid)} there and {test} on the test users.{below}"
        )
    return (
        f"No configuration{under} has learned more than the popularity list: the first on "
        f"validation, {best.label}, ended no better than it ({name} {test} on the test users)."
    )


def _below(choice: Choice, group: Group, under: str) -> str:
    """A sentence where the first one does not rank better than a baseline."""
    if not choice.below_baseline:
        return ""
    assert choice.baseline is not None, "it is below one"
    bound = choice.baseline.test or 0.0
    name = f"the baseline {_named(choice.baseline)}"
    if (group.best_test or 0.0) > bound:
        return f" {choice.best.label} does not rank better than {name}."
    return f" No configuration{under} ranks better than {name}, which needs no training."


def _rising(shown: Sequence[Candidate], group: Group) -> list[str]:
    """Those that more training would have made better; `shown` are named before."""
    own = [one for one in shown if one.verdict.still_rising]
    number = group.num_rising - len(own)
    if not own:
        things = _counted(number, "configurations", "was", "were")
        return [f"{things} still rising at the end"] if number else []
    first = "both named configurations were" if len(own) == 2 else f"{own[0].label} was"
    also = f", as {'was 1 other' if number == 1 else f'were {number:,} others'}" if number else ""
    return [f"{first} still rising at the end{also}"]


def _ended(group: Group) -> list[str]:
    found = [
        f"{_counted(group.endings[outcome], 'runs', _ONE.get(words, words), words)}"
        for outcome, words in _ENDED.items()
        if group.endings.get(outcome)
    ]
    waiting = sum(group.endings.get(outcome, 0) for outcome in UNFINISHED)
    if waiting:
        found.append(_counted(waiting, "runs", "has not finished yet", "have not finished yet"))
    return found


_ONE = {words: words.replace("were", "was") for words in _ENDED.values()}


def _under(budget_bytes: int | None) -> str:
    return "" if budget_bytes is None else f" within {format_bytes(budget_bytes)}"


def _memory(one: Candidate) -> str:
    if one.peak_bytes is None:
        return "memory unknown"
    return f"{format_bytes(one.peak_bytes)} of training memory{_evaluation(one)}"


def _evaluation(one: Candidate) -> str:
    """Only where evaluation needs more than training: otherwise training decides what fits."""
    if one.eval_peak_bytes is None or one.eval_peak_bytes <= (one.peak_bytes or 0):
        return ""
    return f", {format_bytes(one.eval_peak_bytes)} for evaluation"


def _of(part: int, whole: int) -> str:
    """Such as 12.2 of 24 MiB, the unit once where it is the same."""
    (one, unit), (other, of_other) = (format_bytes(n).split(" ") for n in (part, whole))
    return f"{one} of {other} {unit}" if unit == of_other else f"{one} {unit} of {other} {of_other}"


def _listed(some: Sequence[Candidate]) -> str:
    if len(some) > 2:
        return f"{len(some)} others"
    return " and ".join(one.label for one in some)


def _counted(number: int, things: str, one: str, more: str) -> str:
    return f"1 {things.removesuffix('s')} {one}" if number == 1 else f"{number:,} {things} {more}"


def _quality(value: float) -> str:
    return f"{value:#.3g}" if value >= 0.0001 else rounded(value, 1)


def _name(choice: Choice) -> str:
    """The metric, as papers write it."""
    return metric_name(choice.metric)


def _above(ratio: float, name: str) -> str:
    if ratio < 2:
        return f"is {format_share(ratio - 1) if ratio >= 1.001 else 'less than 0.1 %'} above"
    return f"has {ratio:.1f} times the {name} of"


def _named(baseline: Baseline) -> str:
    return f"{baseline.words} ({_quality(baseline.test or 0.0)})"
