"""What an instance was used for, for API and pages: last day by the hour, last month by the day, in four queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db.models import Sum
from django.utils import timezone

from pocketfleet.domain.usage import DAY, HOUR, Counts, day_of, last_days, last_hours
from pocketfleet.errors import InstanceNotFound
from pocketfleet.models import Backup, Instance, Snapshot, Usage
from pocketfleet.web.charts import Chart, Point, bar_chart, count_words, line_chart, size_words

Row = dict[str, Any]
Period = Literal["day", "month"]

NAMES = ("requests", "client_errors", "server_errors", "bytes_in", "bytes_out")


def usage(instance_id: str, period: Period, now: datetime | None = None) -> Row:
    """The instance's usage as JSON has it. Raises InstanceNotFound."""
    read = _read(instance_id, now or timezone.now())
    items = read["hours"] if period == "day" else read["days"]
    return {
        "period": period,
        "items": items,
        "last_day": _totals(read["hours"]),
        "last_month": _totals(read["days"]),
        **{name: read[name] for name in ("last_request_at", "size", "snapshots_size", "backups_size")},
    }


def chart_data(instance_id: str, now: datetime | None = None) -> Row:
    """What `usage/charts.html` shows, as `usage`. Raises InstanceNotFound."""
    read = _read(instance_id, now or timezone.now())
    day, month = _totals(read["hours"]), _totals(read["days"])
    return {
        "last_request_at": read["last_request_at"],
        "size": None if read["size"] is None else size_words(read["size"]),
        "copies": size_words(read["snapshots_size"] + read["backups_size"]) if read["has_copies"] else "",
        "day": _in_words(day),
        "month": _in_words(month),
        "panels": [
            {
                "chart": _hours_chart(read["hours"], day, _nothing(read, "24 hours")),
                "rows": _table(read["hours"], "%d %b %H:%M"),
                "unit": "Hour",
            },
            {
                "chart": _days_chart(read["days"], month, _nothing(read, "30 days")),
                "rows": _table(read["days"], "%a %d %b"),
                "unit": "Day",
            },
            {"chart": _size_chart(read["days"]), "rows": _sizes_table(read["days"]), "unit": "Day", "is_size": True},
        ],
    }


def _read(instance_id: str, now: datetime) -> Row:
    facts = Instance.objects.filter(id=instance_id, deleted_at=None).values_list("last_request_at", "size_bytes")
    found = facts.first()
    if found is None:
        raise InstanceNotFound(instance_id)
    last_request_at, size = found
    hours, days = last_hours(now), last_days(now)
    stored = Usage.objects.filter(instance_id=instance_id, hour__gte=days[0]).order_by("hour")
    rows = list(stored.values_list("hour", "size_bytes", *NAMES))
    snapshots, backups = (
        table.objects.filter(instance_id=instance_id).aggregate(size=Sum("size"))["size"]
        for table in (Snapshot, Backup)
    )
    return {
        "last_request_at": last_request_at,
        "size": size,
        "snapshots_size": snapshots or 0,
        "backups_size": backups or 0,
        "has_copies": snapshots is not None or backups is not None,
        "hours": _items(hours, HOUR, [(row[0], *row[1:]) for row in rows], size),
        "days": _items(days, DAY, [(day_of(row[0]), *row[1:]) for row in rows], size),
    }


def _items(begins: Sequence[datetime], length: timedelta, rows: Iterable[Sequence[Any]], size: int | None) -> list[Row]:
    """One item per hour or day, also for those in which nothing happened; a size lasts until the next one."""
    counts: dict[datetime, Counts] = {}
    sizes: dict[datetime, int] = {}
    earlier: int | None = None
    for begin, known_size, *numbers in rows:
        counts[begin] = counts.get(begin, Counts()) + Counts(*numbers)
        if known_size is not None:
            sizes[begin] = known_size
            earlier = known_size if begin < begins[0] else earlier
    if not sizes and size is not None:
        # it has been what it is for longer than any row is kept
        earlier = size
    items: list[Row] = []
    for begin in begins:
        earlier = sizes.get(begin, earlier)
        named = dict(zip(NAMES, counts.get(begin, Counts()).as_list(), strict=True))
        items.append({"from": begin, "to": begin + length, **named, "size": earlier})
    if size is not None:
        items[-1]["size"] = size
    return items


def _totals(items: Iterable[Mapping[str, Any]]) -> Row:
    total = Counts()
    for item in items:
        total += Counts(*(item[name] for name in NAMES))
    return dict(zip(NAMES, total.as_list(), strict=True))


def _in_words(totals: Mapping[str, int]) -> Row:
    return {
        "requests": count_words(totals["requests"]),
        "noun": "request" if totals["requests"] == 1 else "requests",
        "errors": _counted(totals["server_errors"], "server error") if totals["server_errors"] else "",
    }


def _hours_chart(items: Sequence[Row], totals: Mapping[str, int], nothing: Mapping[str, str]) -> Chart:
    points = [_point(item, f"{item['from']:%H:%M} to {item['to']:%H:%M}", _hour_label(item)) for item in items]
    description = _description("hour", totals, items, "%H:%M")
    return bar_chart("usage-hours", "Requests, last 24 hours", description, points, **nothing)


def _days_chart(items: Sequence[Row], totals: Mapping[str, int], nothing: Mapping[str, str]) -> Chart:
    points = [_point(item, f"{item['from']:%a} {_day(item)}", _day_label(item)) for item in items]
    description = _description("day", totals, items, "%d %b")
    return bar_chart("usage-days", "Requests, last 30 days", description, points, **nothing)


def _size_chart(items: Sequence[Row]) -> Chart:
    known = [item for item in items if item["size"] is not None]
    description = "Not measured yet."
    if known:
        first, last = known[0], known[-1]
        description = f"{size_words(first['size'])} on {_day(first)}, {size_words(last['size'])} now."
    points = [Point(item["size"], label=_day_label(item)) for item in items]
    hint = "That happens a minute after it woke, and when it falls asleep."
    return line_chart("usage-size", "Size, last 30 days", description, points, empty="Not measured yet", hint=hint)


def _point(item: Row, when: str, label: str) -> Point:
    requests, errors = item["requests"], item["server_errors"]
    words = f"{when}: " + (_counted(requests, "request") if requests else "no request")
    if errors:
        words += f", {_counted(errors, 'server error')}"
    return Point(requests, errors, label, words)


def _description(unit: str, totals: Mapping[str, int], items: Sequence[Row], form: str) -> str:
    if not totals["requests"]:
        return "No requests."
    most = max(items, key=lambda item: item["requests"])
    return (
        f"{totals['requests']:,} in all, {totals['server_errors']:,} of them server errors. "
        f"The busiest {unit} was {most['from'].strftime(form)} UTC with {most['requests']:,}."
    )


def _nothing(read: Row, span: str) -> dict[str, str]:
    if read["last_request_at"] is None:
        return {"empty": "No requests yet", "hint": "The first one shows here within five minutes."}
    return {"empty": f"No requests in the last {span}"}


def _hour_label(item: Row) -> str:
    return f"{item['from']:%H:%M}" if item["from"].hour % 6 == 0 else ""


def _day_label(item: Row) -> str:
    return _day(item) if item["from"].weekday() == 0 else ""


def _table(items: Sequence[Row], form: str) -> list[list[str]]:
    """The newest first."""
    return [
        [
            item["from"].strftime(form).lstrip("0"),
            *(f"{item[name]:,}" for name in NAMES[:3]),
            *(size_words(item[name]) for name in NAMES[3:]),
        ]
        for item in reversed(items)
    ]


def _sizes_table(items: Sequence[Row]) -> list[list[str]]:
    known = [item for item in reversed(items) if item["size"] is not None]
    return [[f"{item['from']:%a %d %b}", size_words(item["size"])] for item in known]


def _counted(count: int, noun: str) -> str:
    return f"{count_words(count)} {noun}" + ("" if count == 1 else "s")


def _day(item: Row) -> str:
    return f"{item['from'].day} {item['from']:%b}"
