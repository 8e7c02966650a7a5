#!/usr/bin/env python3
"""Writes BENCHMARKS.md from what `cargo bench` left in target/criterion.

    cargo bench && benches/tables.py [SDK.json] [PEERS.md] > BENCHMARKS.md
    benches/tables.py --peers PEERS.md      the sections of benches/peers alone, in the page that is there

SDK.json is what `benches/sdk/issuance.mjs` printed on the same machine, PEERS.md what
`benches/peers` did; without them the rows of BitGo's SDK and the sections on SQLCipher, size and
memory are left out. No figure is written by hand: those that are not there are not shown.
"""

import datetime
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What a group is about, in the order of the page; a group that is not named here comes last.
ABOUT = {
    "lease and sign": "What a bot pays for a request, with its own HTTP client: version 3, 200 bytes of "
    "body or as long a query, the budget allotted. The floor opens the token each time, hashes it, "
    "keys the HMAC, and writes the headers' strings.",
    "lease, and give back": "The same without the signature.",
    "lease and hand out": "The token itself, but for the audit log and the charge, which wait for the "
    "disk. The floor looks up a label, checks a bit, and opens the token into its own buffer.",
    "open": "A record, opened: once for each token that is first used, or handed out. The store then "
    "wipes the stack, on which AES leaves its keys; that row has it in. Sizes are of the plaintext, in "
    "bytes.",
    "seal": "A record, sealed, with a nonce drawn for it; the store's row as above.",
    "sign a request": "The HMAC of a request, version 3; the subject has as many bytes as said.",
    "check a request": "The same for one that came.",
    "ready a token to sign": "Once for each token that is opened.",
    "open an issued token": "From derivation path and sealed token to the token, on the vectors "
    "with envelopes v1. A login's own token also opens the account's key.",
    "parse and open an envelope v1": "With as many rounds of PBKDF2 as said.",
    "parse and open an envelope v2": "With BitGo's usual costs of Argon2id.",
    "open an envelope v2 in a session": "Argon2id runs for another salt, in memory that is kept; "
    "for the session's own it does not.",
    "derive the vault's key": "The wait at `unlock`; the memory is wiped after it.",
    "PBKDF2-HMAC-SHA256, in an envelope": "With as many rounds as said.",
    "unlock, without the key derivation": "The rest of the wait at `unlock`, by the number of "
    "tokens, each with an account of its own: until all are in memory, sealed. sled has a snapshot "
    "of its log here; the first opening after many writes takes longer, see below.",
    "read one record of 1000": "In scattered order. A token is sealed in memory; an "
    "account's key is got from sled, under a keyed hash of its name. The floor is sled's `get` and the "
    "bare cipher, over as many bytes.",
    "write durably": "A reservation is on disk before the secret leaves; `32 writers` is the time "
    "of one reservation where so many wait together.",
}
# Where the sections of benches/peers begin.
PEERS = "<!-- benches/peers -->"
# Seconds: all benches take half an hour.
ONE_RUN = 3600
# Where the SDK's medians (in ms) belong: group, value, field.
SDK = [
    ("open an issued token", "with the account's key", "v1"),
    ("open an issued token", "with the login password", "v1_with_login_password"),
]


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


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def versions():
    wanted = "aes-gcm argon2 bip32 ccm hmac k256 pbkdf2 ring sha2 sled".split()
    packages = json.loads(output("cargo", "metadata", "--format-version", "1", "--locked"))
    direct = {(p["name"], p["version"]) for p in packages["packages"] if p["name"] in wanted}
    # Of two generations, ours is the newer.
    number = lambda version: [int(part) for part in version.split("+")[0].split(".")]
    newest = dict(sorted(direct, key=lambda package: (package[0], number(package[1]))))
    return ", ".join(f"{name} {newest[name]}" for name in wanted)


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    field = lambda name: next(l.split(":")[1] for l in info.splitlines() if l.startswith(name))
    flags = set(field("flags").split())
    notable = [f for f in "aes vaes pclmulqdq vpclmulqdq sha_ni avx2 avx512f".split() if f in flags]
    return f"{field('model name').strip()}, {os.cpu_count()} cores ({', '.join(notable)})"


def run():
    commit = output("git", "describe", "--always", "--dirty").strip()
    return f"{datetime.date.today()}, commit {commit}"


def peers(sections):
    """What stands at the end of the page: with its own date, since it may be of a run of its own."""
    return f"\n{PEERS}\n\nFrom here on: `benches/peers`, {run()}.\n\n{sections.strip()}"


def replace_peers(sections):
    page = ROOT / "BENCHMARKS.md"
    before = page.read_text().split(PEERS)[0].rstrip()
    page.write_text(f"{before}\n{peers(sections)}\n")


def main():
    if sys.argv[1:2] == ["--peers"]:
        return replace_peers(pathlib.Path(sys.argv[2]).read_text())
    groups, sizes = measured()
    given = {path.suffix: path.read_text() for path in map(pathlib.Path, sys.argv[1:])}
    sdk = json.loads(given[".json"]) if ".json" in given else None
    for group, value, field in SDK if sdk else []:
        if group in groups and field in sdk:
            nanoseconds = sdk[field]["median_ms"] * 1e6
            name = f"BitGo's SDK ({sdk['package']} {sdk['version']}, Node {sdk['node']})"
            groups[group].setdefault(value, {})[name] = (nanoseconds, 0, 0)

    print("# Benchmarks\n")
    print("Written by `benches/tables.py` from criterion's medians; do not edit. All rows of a")
    print("table come from one run on one machine, but for BitGo's SDK, which ran after it. The last")
    print("column is the vault's median divided by that row's: below 1 the vault is the faster one.")
    print("The sections on SQLCipher, on size and on memory are of `benches/peers`.\n")
    print(f"- machine: {machine()}; shared with others, so look at ratios rather than at times")
    print(f"- compiler: {output('rustc', '--version').strip()}, `[profile.bench]`: thin LTO, one")
    print("  codegen unit, no `target-cpu`")
    print(f"- crates: {versions()}")
    print(f"- date: {run()}")
    names = sorted(groups, key=lambda name: (list(ABOUT).index(name) if name in ABOUT else 99, name))
    for name in names:
        print(f"\n## {name}\n")
        if name in ABOUT:
            print(ABOUT[name] + "\n")
        print("\n".join(table(groups[name], {v: sizes.get((name, v)) for v in groups[name]})))
    if ".md" in given:
        print(peers(given[".md"]))


if __name__ == "__main__":
    main()
