"""Test that files are ordered as they were begun, whatever the clock was set to."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from coordd.records.ages import ages_of
from coordd.records.manifest import ManifestClaims, announcement, finding
from coordd.records.names import Part, part_name

TODAY = date(2026, 11, 22)


def named(day: date | str, number: int = 1) -> tuple[str, Part]:
    part = Part(str(day), number)
    return part_name("agent", part, "jsonl"), part


def begun(files: list[tuple[str, Part]], *, adopted: frozenset[str] = frozenset()) -> ManifestClaims:
    lines = (announcement(name, b"", adopted=name in adopted) for name, _ in files)
    return ManifestClaims.parse(b"".join(lines))


def dates(files: list[tuple[str, Part]], claims: ManifestClaims, today: str = str(TODAY)) -> list[str]:
    ages = ages_of(files, claims, today)
    return [ages[name].date for name, _ in files]


def test_dates_that_come_one_after_the_other_are_what_they_say() -> None:
    files = [named(TODAY - timedelta(days=n)) for n in (9, 4, 1, 0)]
    assert dates(files, begun(files)) == [part.date for _, part in files]


def test_a_date_to_come_is_the_day_on_which_it_was_begun() -> None:
    files = [named("2026-11-20"), named("2099-01-01"), named("2026-11-21")]
    claims = begun(files)
    assert dates(files, claims) == ["2026-11-20", "2026-11-20", "2026-11-21"]
    ages = ages_of(files, claims, str(TODAY))
    assert ages[files[1][0]] < ages[files[0][0]], "whose own file may be written to still"


def test_the_first_files_of_all_may_be_of_a_false_date() -> None:
    files = [named("2099-01-01"), named("2026-11-20")]
    assert dates(files, begun(files)) == ["2026-11-20", "2026-11-20"]
    assert dates(files[:1], begun(files)) == ["2099-01-01"], "nothing is known better"


def test_what_was_given_to_coordd_goes_by_its_name() -> None:
    files = [named("2026-11-20"), named("2026-11-21"), named("2026-01-05"), named("2099-01-01")]
    claims = begun(files, adopted=frozenset(name for name, _ in files[2:]))
    assert dates(files, claims) == ["2026-11-20", "2026-11-21", "2026-01-05", ""]


def test_what_was_there_before_the_manifest_keeps_its_place() -> None:
    files = [named("2026-11-20"), named("2026-11-21"), named("2026-11-22", 2)]
    lines = [finding(name) for name, _ in files[:2]]
    lines += [announcement(files[2][0], b"")]
    lines += [announcement(name, b"", adopted=True) for name, _ in files[:2]]
    assert dates(files, ManifestClaims.parse(b"".join(lines))) == ["2026-11-20", "2026-11-21", "2026-11-22"]


def test_without_a_manifest_names_are_all_there_is() -> None:
    files = [named("2026-11-20"), named("2099-01-01")]
    assert dates(files, ManifestClaims()) == ["2026-11-20", "2099-01-01"]


@given(
    true=st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=True).map(sorted),
    false=st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 3000) | st.integers(-20000, -100)), max_size=40
    ),
)
def test_no_false_date_is_newer_or_older_than_the_days_around_it(
    true: list[int], false: list[tuple[int, int]]
) -> None:
    """True days in order, and between them whatever a wrong clock said."""
    start = TODAY - timedelta(days=61)
    order: list[tuple[str, Part]] = []
    around: dict[str, str] = {}
    seen: set[str] = set()
    for place, day in enumerate(true):
        own = named(start + timedelta(days=day))
        order.append(own)
        around[own[0]] = own[1].date
        seen.add(own[0])
        for where, offset in false:
            wrong = named(TODAY + timedelta(days=offset), 7)
            if where == place and wrong[0] not in seen:
                order.append(wrong)
                around[wrong[0]] = own[1].date
                seen.add(wrong[0])
    found = ages_of(order, begun(order), str(TODAY))
    assert {name: age.date for name, age in found.items()} == around
    assert len({age.date for age in found.values()}) == len(true), "no false date takes a day's place"
