#!/usr/bin/env python3
"""Writes BENCHMARKS.md, and its pictures into docs, from what the benches have measured.

    benches/tables.py target/benches.txt target/peers.md target/sdk.json [--to DIR]

Criterion's medians are read from target/criterion. The first file is what `cargo bench` printed, the
second what `benches/peers` did, the third `benches/sdk/issuance.mjs`, all on the same machine;
what is left out is not on the page. No figure is written by hand. benches/peers/README.md has the
whole sequence.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys

import plot

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What a group means to a bot, in the order of the page; a group that is not named here comes last.
ABOUT = {
    "lease and sign": "What a bot pays for a request, with its own HTTP client: version 3, 200 bytes of "
    "body or as long a query, the budget allotted. The floor opens the token each time, hashes it, "
    "keys the HMAC, and writes the headers' strings.",
    "lease, and give back": "What is left of it where nothing is signed: policy and reservation.",
    "settle": "What a bot pays for the answer: its HMAC is verified, and the budget told.",
    "a spend reserved and settled": "Why a spend does not wait for the disk: in the ledger alone, drawn from "
    "an allotment or made durable by itself.",
    "lease and hand out": "The token itself, but for the audit log and the charge, which wait for the "
    "disk. The floor looks up a label, checks a bit, and opens the token into its own buffer.",
    "expose, told to the audit log": "What a bot waits for that wants the token itself: it is written "
    "down, durably, before it is handed out.",
    "open": "A record, opened: once for each token that is first used, or handed out. The store then "
    "wipes the stack, on which AES leaves its keys; that row has it in. Sizes are of the plaintext, in "
    "bytes.",
    "seal": "A record, sealed, with a nonce drawn for it: once for each that is written; the store's row "
    "as above.",
    "sign a request": "What no request does without, the HMAC, version 3; the subject has as many "
    "bytes as said.",
    "check a request": "The same for one that came.",
    "ready a token to sign": "Once for each token that is opened.",
    "open an issued token": "Once for each token that BitGo issues: from derivation path and sealed "
    "token to the token, on the vectors with envelopes v1. A login's own token also opens the "
    "account's key.",
    "issued tokens in a batch": "What a bot would gain at its start if many tokens were opened "
    "together: the account's key read and led down the first step once for all, and what each "
    "costs by itself even then.",
    "parse and open an envelope v1": "Once for each login, in it. With as many rounds of PBKDF2 as said.",
    "parse and open an envelope v2": "The same where BitGo seals with Argon2id, at its usual costs.",
    "open an envelope v2 in a session": "Many of those, one after the other: Argon2id runs for another "
    "salt, in memory that is kept; for the session's own it does not.",
    "derive the vault's key": "The wait at `unlock`, nearly all of it; the memory is wiped after it.",
    "PBKDF2-HMAC-SHA256, in an envelope": "What most of opening an envelope v1 is. With as many rounds "
    "as said.",
    "create, without the key derivation": "The rest of the wait when a vault is made, once in its life.",
    "read one record of 1000": "What stands between a lease and its token, in scattered order. A token "
    "is sealed in memory; an account's key is got from sled, under a keyed hash of its name. The floor "
    "is sled's `get` and the bare cipher, over as many bytes.",
    "write durably": "What a bot waits for where its budget has to be allotted, or a spend is alone: it is "
    "on disk before the secret leaves; `32 writers` is the time of one where so many wait together.",
    "renew a token": "How long the one task is busy with a token that is renewed, network left out; "
    "readers do not wait for it.",
}
# What grows, and what that means to a bot. A group `WHAT, by UNIT` is a column of such a table.
GROWTH = {
    "tokens": "What a bot pays for tokens that it does not use: each has an account of its own. Unlocking "
    "comes after the key derivation, until all are in memory, sealed; sled has a snapshot of its "
    "log, and the first opening after many writes takes longer, see below.",
    "audit entries": "Whether a bot that runs for years opens ever slower: an opening reads the log's end "
    "alone, verifying it reads the whole.",
    "threads": "How many requests a bot of many threads gets signed: the time of all by their number.",
}
# Where the SDK's medians belong: group, value, where in its report, nanoseconds of its unit.
SDK = [
    ("open an issued token", "with the account's key", ("v1", "median_ms"), 1e6),
    ("open an issued token", "with the login password", ("v1_with_login_password", "median_ms"), 1e6),
    ("sign a request", "300", ("request_v3", "hmac", "median_us"), 1e3),
]
# A verdict, as benches/promise prints it.
VERDICT = re.compile(r"\| .+ \| at (most|least) .+ \| .+ \| (met|\*\*missed\*\*.*) \|")
HEAD = ["| promise | target | measured | verdict |", "|---|--:|--:|---|"]
DISTRIBUTION = re.compile(r"distribution of leases, (.+?):((?: \d+=\d+)+)")
# Seconds: all benches take an hour.
ONE_RUN = 7200


def measured():
    """{group: {value: {peer or "": (median, low, high) in ns}}}, and bytes per run by value."""
    groups, sizes = {}, {}
    paths = sorted((ROOT / "target/criterion").glob("**/new/benchmark.json"))
    times = [path.stat().st_mtime for path in paths]
    if not paths or max(times) - min(times) > ONE_RUN:
        sys.exit("no figures, or of several runs: remove target/criterion, then run cargo bench")
    for path in paths:
        bench = json.loads(path.read_text())
        median = json.loads((path.parent / "estimates.json").read_text())["median"]
        interval = median["confidence_interval"]
        figures = (median["point_estimate"], interval["lower_bound"], interval["upper_bound"])
        # A peer has a name and a value, the vault's own bench only a value.
        value, peer = bench["value_str"], bench["function_id"] or ""
        groups.setdefault(bench["group_id"], {}).setdefault(value, {})[peer] = figures
        sizes[bench["group_id"], value] = (bench.get("throughput") or {}).get("Bytes")
    return groups, sizes


def add_sdk(groups, report):
    """BitGo's SDK, as a peer of what the same vectors are opened and signed by."""
    for group, value, place, scale in SDK:
        package, figure = report[place[0]].get("package", report["package"]), report
        version = report[place[0]].get("version", report["version"])
        for key in place:
            figure = figure[key]
        if value in groups.get(group, {}):
            name = f"BitGo's SDK ({package} {version}, Node {report['node']})"
            groups[group][value][name] = (figure * scale, 0, 0)


def time(ns):
    for unit, scale in [("ns", 1), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]:
        if ns < 1000 * scale:
            break
    return f"{ns / scale:.3g} {unit}" if ns / scale < 100 else f"{ns / scale:.0f} {unit}"


def order(value):
    return (0, int(value), "") if value.isdigit() else (1, 0, value)


def table(values, sizes):
    yield "| | median | 95 % interval | throughput | the vault's by this |"
    yield "|---|--:|--:|--:|--:|"
    for value in sorted(values, key=order):
        peers = values[value]
        own = peers.get("")
        for peer in sorted(peers):
            median, low, high = peers[peer]
            size = sizes.get(value)
            speed = f"{size / median * 1e9 / 2**20:.0f} MiB/s" if size else ""
            ratio = f"{own[0] / median:.3g}" if peer and own else ""
            name = peer or "**bitgo-vault**"
            interval = f"{time(low)} to {time(high)}" if low else ""
            yield f"| {value}, {name} | {time(median)} | {interval} | {speed} | {ratio} |"


def growth(groups, unit):
    """{what: {number of units: median}}, of all groups that are by that unit."""
    lines = {}
    for group in sorted(group for group in groups if group.endswith(f", by {unit}")):
        for value, peers in groups[group].items():
            for peer, (median, _, _) in peers.items():
                what = ", ".join(filter(None, [group.removesuffix(f", by {unit}"), peer]))
                lines.setdefault(what, {})[int(value)] = median
    return lines


def growth_table(lines, unit):
    yield f"| {unit} | {' | '.join(lines)} |"
    yield f"|--:|{'--:|' * len(lines)}"
    for number in sorted({number for line in lines.values() for number in line}):
        cells = [time(line[number]) if number in line else "" for line in lines.values()]
        yield f"| {number} | {' | '.join(cells)} |"


def verdict(promise, bound, target, figure, unit="", because=""):
    """As benches/promise has it, of what criterion has measured."""
    is_met = figure <= target if bound == "at most" else figure >= target
    word = "met" if is_met else "**missed**" + (f": {because}" if because else "")
    decimals = 2 if figure < 10 else int(figure < 100)
    return f"| {promise} | {bound} {target}{unit} | {figure:.{decimals}f}{unit} | {word} |"


def criterions_targets(groups):
    """Promises that are read off criterion's medians, as far as those are there."""
    ns = lambda group, value, peer="": groups[group][value][peer][0]
    issued = "open an issued token"

    def sdk():
        peers = groups[issued]["with the login password"]
        theirs = next(figures[0] for peer, figures in peers.items() if "SDK" in peer)
        return verdict(
            "open a login's token: BitGo's SDK's by the vault's", "at least", 30, theirs / peers[""][0]
        )

    def obvious(value):
        ratio = ns(issued, value) / ns(issued, value, "obvious crates")
        return verdict(f"{issued}, {value}, by the obvious crates", "at most", 0.75, ratio)

    def batch():
        group = "issued tokens in a batch"
        alone, shared = ns(group, "one by one"), ns(group, "what is common done once")
        own = ns(group, "of it: derivations and product"), ns(group, "of it: the envelope")
        because = (
            f"of {time(alone)} a token its own two steps, product and last inversions take {time(own[0])}, "
            f"PBKDF2 under a salt of its own {time(own[1])}; safe Rust has no SHA-256 of several lanes"
        )
        promise = "issued tokens in a batch: one by one, by what is common done once"
        return verdict(promise, "at least", 1.5, alone / shared, because=because)

    def envelope():
        ((value, peers),) = groups["parse and open an envelope v2"].items()
        ratio = peers[""][0] / peers["argon2 and aes-gcm"][0]
        return verdict(f"an envelope v2 ({value}), by argon2 and aes-gcm", "at most", 1.1, ratio)

    def unlock(tokens, milliseconds):
        figure = ns("unlock, by tokens", str(tokens)) / 1e6
        promise = f"unlock {tokens} tokens, after the key derivation"
        return verdict(promise, "at most", milliseconds, figure, " ms")

    rows = [
        sdk,
        lambda: obvious("with the account's key"),
        lambda: obvious("with the login password"),
        batch,
        envelope,
        lambda: unlock(1000, 15),
        lambda: unlock(100_000, 400),
    ]
    for row in rows:
        try:
            yield row()
        except (KeyError, StopIteration):
            pass


def verdicts(text):
    return [line for line in text.splitlines() if VERDICT.fullmatch(line)]


def without_verdicts(text):
    """They stand in the table of targets."""
    lines = [line for line in text.splitlines() if line not in HEAD and not VERDICT.fullmatch(line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def distributions(text):
    """{what: [(millionths, ns)]}"""
    pairs = lambda told: [tuple(map(int, pair.split("="))) for pair in told.split()]
    return {what: pairs(told) for what, told in DISTRIBUTION.findall(text)}


def distribution_table(lines):
    shares = [share for share, _ in next(iter(lines.values()))]
    yield f"| |{''.join(f' {percent(share)} |' for share in shares)}"
    yield f"|---|{'--:|' * len(shares)}"
    for what, line in lines.items():
        yield f"| {what} |{''.join(f' {time(ns)} |' for _, ns in line)}"


def percent(millionths):
    return "most" if millionths == 1_000_000 else f"{millionths / 10_000:g} %"


def latency_picture(lines):
    shares = [share for share, _ in next(iter(lines.values()))]
    # By its place and not by its size: the tail is what is looked at.
    ticks = [(i, percent(share).removesuffix(" %")) for i, share in enumerate(shares)]
    at_once = {what: line for what, line in lines.items() if "wait" not in what}
    may_wait = {what.removeprefix("that may wait, "): l for what, l in lines.items() if "wait" in what}
    places = lambda lines: {
        what: [(i, max(ns, 1)) for i, (_, ns) in enumerate(line)] for what, line in lines.items()
    }
    return [
        plot.chart(title, "so many of a hundred leases took at most", places(lines), ticks)
        for title, lines in [("lease", at_once), ("lease that may wait", may_wait)]
        if lines
    ]


def growth_pictures(groups):
    for unit in GROWTH:
        if lines := growth(groups, unit):
            yield plot.chart(f"by {unit}", unit, {k: list(v.items()) for k, v in lines.items()})
    sizes = {}
    for group in ["open", "seal"]:
        for value, peers in groups.get(group, {}).items():
            sizes.setdefault(group, []).append((int(value), peers[""][0]))
    if sizes:
        yield plot.chart("by the record's size", "bytes", sizes)


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def versions():
    wanted = "aes-gcm argon2 bip32 ccm hmac k256 pbkdf2 ring sha2 sled".split()
    peers = "aws-lc-rs iota_stronghold keepass libsodium-sys-stable redb rusqlite securestore".split()
    number = lambda version: [int(part) for part in version.split("+")[0].split(".")]
    for wanted, manifest in [(wanted, "Cargo.toml"), (peers, "benches/peers/Cargo.toml")]:
        command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
        packages = json.loads(output(*command, "--manifest-path", manifest))["packages"]
        direct = {(p["name"], p["version"]) for p in packages if p["name"] in wanted}
        # Of two generations, ours is the newer.
        newest = dict(sorted(direct, key=lambda package: (package[0], number(package[1]))))
        yield ", ".join(f"{name} {newest[name]}" for name in wanted)


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    field = lambda name: next(l.split(":")[1] for l in info.splitlines() if l.startswith(name))
    flags = set(field("flags").split())
    notable = [f for f in "aes vaes pclmulqdq vpclmulqdq sha_ni avx2 avx512f".split() if f in flags]
    return f"{field('model name').strip()}, {os.cpu_count()} cores ({', '.join(notable)})"


def page(groups, sizes, given, pictures):
    crates, peers = versions()
    commit = output("git", "describe", "--always", "--dirty").strip()
    yield "# Benchmarks\n"
    yield "Written by `benches/tables.py`; do not edit. All rows of a table come from one run on one machine, but"
    yield "for BitGo's SDK, which ran after it. The last column is the vault's median divided by that"
    yield "row's: below 1 the vault is the faster one. `benches/peers` has its sides in turn in one"
    yield "process; what it says begins with the section on creating and unlocking.\n"
    yield f"- machine: {machine()}; look at ratios rather than at times"
    yield f"- compiler: {output('rustc', '--version').strip()}, `[profile.bench]`: thin LTO, one"
    yield "  codegen unit, no `target-cpu`"
    yield f"- crates: {crates}"
    yield f"- peers: {peers}"
    yield f"- date: {datetime.date.today()}, commit {commit}"

    yield "\n## targets\n"
    yield "What was promised of all that follows, and what came of it; a verdict that is missed says why, as"
    yield "far as it is known. Ratios are of medians unless the promise says otherwise.\n"
    yield from HEAD
    yield from criterions_targets(groups)
    for text in given.values():
        yield from verdicts(text)

    if lines := distributions(given.get(".txt", "")):
        yield "\n## how long a lease takes, all of them\n"
        yield "What a bot's slowest requests pay, and whether a renewal under way is felt: so many of a"
        yield "hundred leases took at most so long.\n"
        yield from distribution_table(lines)
        yield f"\n![the same, drawn]({pictures['lease latency']})"
    for unit, about in GROWTH.items():
        if lines := growth(groups, unit):
            yield f"\n## growth by {unit}\n"
            yield f"{about}\n"
            yield from growth_table(lines, unit)
    yield f"\n![growth, drawn]({pictures['growth']})"
    known = lambda name: list(ABOUT).index(name) if name in ABOUT else len(ABOUT)
    for name in sorted(groups, key=lambda name: (known(name), name)):
        if ", by " in name:
            continue
        yield f"\n## {name}\n"
        if name in ABOUT:
            yield f"{ABOUT[name]}\n"
        yield from table(groups[name], {v: sizes.get((name, v)) for v in groups[name]})
    if ".md" in given:
        yield f"\n{without_verdicts(given['.md'])}"


def main():
    arguments = sys.argv[1:]
    to = ROOT
    if "--to" in arguments:
        at = arguments.index("--to")
        to = pathlib.Path(arguments[at + 1])
        del arguments[at : at + 2]
    given = {path.suffix: path.read_text() for path in map(pathlib.Path, arguments)}
    groups, sizes = measured()
    if ".json" in given:
        add_sdk(groups, json.loads(given.pop(".json")))
    pictures = {name: f"docs/{name.replace(' ', '-')}.svg" for name in ["lease latency", "growth"]}
    drawn = {
        "lease latency": latency_picture(distributions(given.get(".txt", "")) or {"": [(0, 1)]}),
        "growth": list(growth_pictures(groups)),
    }
    for name, charts in drawn.items():
        place = to / pictures[name]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(plot.page(charts)) + "\n")
    (to / "BENCHMARKS.md").write_text("\n".join(page(groups, sizes, given, pictures)) + "\n")


if __name__ == "__main__":
    main()
