#!/usr/bin/env python3
"""Makes fuzz/seeds/ from tests/vectors/: small inputs in the form each target reads."""

import hashlib
import json
import pathlib
import shutil
import struct

FUZZ = pathlib.Path(__file__).parent
VECTORS = FUZZ.parent / "tests" / "vectors"
SEEDS = FUZZ / "seeds"
LONGEST = 2000
ID = "5941b202b42fcbc707170d5b597491d9"
NOW_MS = 1767323045000


def cases(file, *lists):
    document = json.loads((VECTORS / file).read_text())
    return [case for name in lists for case in document[name]]


def write(target, inputs):
    (SEEDS / target).mkdir(parents=True)
    inputs = {text if isinstance(text, bytes) else text.encode() for text in inputs}
    for number, seed in enumerate(sorted(seed for seed in inputs if len(seed) <= LONGEST)):
        (SEEDS / target / f"{number:02}").write_bytes(seed)


def rows():
    """One row of each kind and more, as src/store/record.rs lays them out."""

    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def option(value):
        return b"\0" if value is None else b"\1" + value

    def items(values):
        return struct.pack("<Q", len(values)) + b"".join(values)

    def wide(value):
        return value.to_bytes(16, "little")

    ident, time = bytes.fromhex(ID), struct.pack("<q", NOW_MS)
    renewals = struct.pack("<I", 0), struct.pack("<IQ", 1, 3600), struct.pack("<I", 2)
    limits = text("hteth") + option(None) + wide(0), text("tbtc") + option(wide(5 << 20)) + wide(2**53 + 1)
    wallets = items([ident, ident])
    scopes = items([text("openid"), text("wallet_spend:" + ID), text("Odd One")])
    spare = text("desk") + option(text("user-1")), text("") + option(None)
    full = ident + b"\1" + scopes + option(ident) + option(wallets) + option(time) + option(time)
    full += b"\0" + items([text("203.0.113.0/28")]) + items(limits) + option(None) + b"\0"
    least = ident + b"\0" + items([]) + option(None) * 4 + b"\1" + items([]) * 2 + option(None) + b"\1"
    none = struct.pack("<Q", 0) + option(None)
    period = struct.pack("<QI", 86400, 0)
    strict = b"\1\0" + option(items([b"\0", b"\2"])) + option(wallets) + option(items([text("a")]))
    strict += items([text("tbtc") + option(wide(5)) + option(None) + option(wide(7))])
    strict += items([b"\0" + text("tbtc") + period + option(wide(9)) + option(struct.pack("<I", 3))])
    strict += option(option(items([text("TBTC-TUSD*")])) + items([text("tbtc") + wide(5)]) + b"\1")
    strict += option(period * 2) + items([text("newcoin") + b"\3\1"])
    rules = struct.pack("<Q", 2) + option(strict)
    token = spare[0] + renewals[0] + rules + full
    counter = option(wide(9)) + wide(1) + wide(2) + wide(3) + wide(0) + wide(4)
    yield token
    yield token[:-1] + b"\2"
    yield spare[1] + renewals[1] + none + least
    yield spare[0] + renewals[2] + none + least
    yield text("https://app.bitgo-test.com") + text("xpub661MyMwAqRbcF")
    for case in cases("token_issuance.json", "valid")[:2]:
        yield text("user-1") + text(case["ecdhXprv"])
    for case in cases("extend_token.json", "valid")[:2]:
        yield text("desk") + text(case["token"]) + option(text(case["wif"]))
        yield text("") + text(case["token"]) + option(None)
    yield b"\0\1" + items([text("tbtc") + counter])
    yield b"\1\0" + items([text("tbtc") + counter, text("hteth") + counter])
    yield struct.pack("<Q", 5) + time + b"\0" + ident + bytes(32)
    total = struct.pack("<Q", 3) + bytes(range(32))
    yield struct.pack("<Q", 9) + bytes(32) + struct.pack("<Q", 2) + bytes(32) + total * 6
    yield struct.pack("<Q", 2**63)


def requests():
    """Choices of the grammar, and requests written out."""
    for route in range(11):
        yield bytes([0, route])
        yield bytes([0, route, 1, 2, 1, 1, 0, 1, 2, 3, 2, 1, 0, 1])
    wallet, trading = "/api/v2/%s/wallet/" + ID, "/api/prime/trading/v1/accounts/" + ID
    to = '{"recipients":[{"address":"tb1qexample","amount":"20000"}]'
    for target, body in (
        (wallet % "tbtc" + "/tx/initiate", to + "}"),
        (wallet % "tbtc" + "/tx/build", to + ',"minConfirms":2,"comment":"x"}'),
        (wallet % "hteth" + "/sendmany", to + ',"tokenName":"terc","gasLimit":21000,"gasPrice":"5"}'),
        (wallet % "tbtc" + "/tx/send", '{"txHex":"00"}'),
        (wallet % "tbtc" + "/sendcoins", '{"address":"tb1qexample","amount":1,"walletPassphrase":"p"}'),
        (wallet % "txrp" + "/sendmany", to + ',"memo":{"type":"id","value":"7"}}'),
        (
            "/api/v2/wallet/" + ID + "/txrequests",
            '{"intent":{"intentType":"payment","recipients":[{"address":{"address":"a"},'
            '"amount":{"value":"1","symbol":"tbtc"}}]}}',
        ),
        (
            trading + "/orders",
            '{"product":"TBTC-TUSD*","type":"limit","side":"buy","quantity":"0.05",'
            '"quantityCurrency":"TBTC","limitPrice":"20123.45"}',
        ),
    ):
        yield b"\x82" + (target + "\n" + body).encode()
    yield b"\x80" + (trading + "/orders?limit=2").encode()
    yield b"\x81" + (trading + "/orders/00000000-aaaa-4bbb-8ccc-0123456789ab/cancel").encode()


def headers():
    """Headers as src/store/header.rs draws them, whole and not."""

    def header(version=1, costs=(65536, 3, 4), magic=b"BGVAULT\0", epochs=(0,), more=b""):
        bound = magic + struct.pack(">HQ", version, 1) + bytes(range(16))
        bound += struct.pack(">III", *costs) + bytes(range(16)) + struct.pack(">IQ", epochs[0], 1024)
        wrapped = b"".join(struct.pack(">I", epoch) + bytes(60) for epoch in epochs)
        content = bound + bytes([len(epochs)]) + wrapped + more
        return content + hashlib.sha256(content).digest()

    yield header()
    yield header(costs=(8, 1, 1))
    yield header(costs=(2**32 - 1,) * 3)
    yield header(epochs=(7, 6))
    yield header(epochs=(7, 7))
    yield header(version=2)
    yield header(version=2, more=b"later")
    yield header(magic=b"SQLite f")
    yield header()[:-1]
    yield header()[:40]
    yield bytes([8, 2, 26, 255, 70, 1])


def files():
    """Slots of an anchor as src/store/anchor.rs draws them, and the LOCK file's text."""
    slot = b"BGANCHOR" + struct.pack(">HQ", 1, 9) + bytes(range(16)) + struct.pack(">Q", 42)
    slot += bytes(32) + struct.pack(">QI", 3, 1) + bytes(32) + bytes(range(32))
    yield slot + bytes(4096 - len(slot))
    yield slot + bytes(4095 - len(slot)) + b"x"
    yield slot.replace(b"ANCHOR", b"anchor") + bytes(4096 - len(slot))
    yield slot
    yield b"desk-1\n7\n1970-01-01T00:00:00Z\n"
    yield b"desk-1\n4294967295\n2026-11-22T09:30:00+01:00\n"
    yield b"\x1b[2J\n7\n1970-01-01T00:00:00Z\n"


def backups():
    """Backups, what stands in them, and records for new ones, as src/store/backup/mod.rs draws them."""

    def header(version=1, costs=(65536, 3, 4), magic=b"BGBACKUP"):
        bound = magic + struct.pack(">H", version) + bytes(range(16)) + struct.pack(">Q", 42)
        content = bound + struct.pack(">III", *costs) + bytes(range(16)) + bytes(60)
        return content + hashlib.sha256(content).digest()

    def frame(tree, key, row):
        return struct.pack(">BH", tree, len(key)) + key + struct.pack(">I", len(row)) + row

    def trailer(*counts):
        return frame(255, b"", b"".join(struct.pack(">BQ", *count) for count in counts))

    yield header() + bytes(64)
    yield header(costs=(2**32 - 1,) * 3)
    yield header(version=2)
    yield header(magic=b"BGVAULT\0")
    yield header()[:100]
    yield trailer()
    yield frame(0, b"", b"") + trailer((0, 1))
    yield frame(1, bytes(16), b"v2x secret") + frame(4, b"k", b"") + frame(4, b"l", b"row") + trailer((1, 1), (4, 2))
    yield frame(1, b"k", b"row") + trailer((1, 2))
    yield trailer() + frame(1, b"k", b"row")
    yield frame(1, b"k", b"row")
    yield struct.pack(">BHI", 0, 0, 2**32 - 1)
    yield struct.pack(">BH", 0, 513)
    yield bytes([2, 1, 3]) + b"krow" + bytes([254, 0, 255]) + bytes(255)
    yield (bytes([2, 1, 251]) + bytes(252)) * 3


def answers():
    """Answers as the emulator words them, for each of the client's calls and each refusal."""

    def answer(body, status=200, **headers):
        lines = [str(status)] + [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        return "\n".join(lines) + "\n\n" + text

    record = {
        "id": ID,
        "label": "desk",
        "user": "user-1",
        "client": "bitgo",
        "created": "2026-01-02T03:04:05.678Z",
        "expires": "2026-02-02T03:04:05.678Z",
        "isExtensible": False,
        "ipRestrict": ["203.0.113.0/28"],
        "scope": ["openid", "wallet_spend:" + ID],
        "permittedWallets": [ID],
        "adminScope": "read",
        "oauth": {"oauthRequired": True, "expires": None},
        "unlock": {
            "txCount": 1,
            "txValueLimit": 3,
            "spendingLimits": {
                "tbtc": {"txCount": 3, "txValue": 2**53 + 1, "txValueLimit": str(2**53 + 3)},
                "hteth": {"txValue": 0, "txValueLimit": 1.5e21},
                "tsol": {"txValue": 7, "maxLimit": True},
            },
            "allErc20TokensLimit": {"enabled": True, "txValueLimitInSmallUnits": "99"},
        },
    }
    plain = {"id": ID, "isExtensible": True, "futureField": {"n": [1, 2]}}
    cheap = [case for case in cases("token_issuance.json", "valid") if len(case["encryptedToken"]) < 400]
    for case in cheap[:3]:
        issued = {"encryptedToken": case["encryptedToken"], "derivationPath": case["derivationPath"]}
        login = {"expires_at": 1767326645, "expires_in": 3600, "token_id": ID, "scope": ["openid"]}
        login |= issued | {"encryptedECDHXprv": case["encryptedECDHXprv"]}
        yield answer(login | {"user": {"id": "user-1", "username": "a@b"}}, content_type="application/json")
        yield answer(plain | issued, timestamp=NOW_MS)
    token = cases("extend_token.json", "valid")[0]["token"]
    yield answer({"access_token": token, "expires_at": 1.7e9, "noECDHKeychain": True, "user": None})
    yield answer(plain | {"token": token})
    yield answer(record, timestamp=NOW_MS)
    yield answer({"session": record}, timestamp=NOW_MS - 300_000)
    yield answer({"session": plain}, timestamp=NOW_MS - 300_001)
    metadata = {"userId": "user-1", "userContext": {}}
    yield answer({"accessToken": record, "authenticationMetadata": metadata}, timestamp=NOW_MS)
    yield answer({"accessToken": plain, "authenticationMetadata": metadata | {"spooferContext": {}}})
    yield answer({"accessTokens": [plain, plain], "nextBatchPrevId": ID})
    yield answer({"accessTokens": []}, timestamp=NOW_MS + 60_000)
    yield answer({"accessTokens": [{"": 1}] * 250})
    yield answer("{}", 202)
    yield answer("<!doctype html><title>BitGo</title>", content_type="text/html")
    for case in cases("hmac.json", "v2v3")[::9]:
        signed = {"hmac": case["responseHmac"], "timestamp": case["timestampMs"]}
        yield answer(case["responseBody"], case["statusCode"], **signed)
    for status, name, error, more in [
        (400, "Invalid", "invalid body", {}),
        (401, "Unauthorized", "session expired", {}),
        (401, "InvalidToken", "invalid token", {"requestId": ID}),
        (401, "NeedsOTP", "needs OTP", {"needsOTP": True}),
        (401, "NeedsUnlock", "needs unlock", {"needsUnlock": True}),
        (401, "Unauthorized", "IP address not allowed", {"context": {"ip": "203.0.113.7"}}),
        (401, "Sso", "sso", {"context": {"oauth": {"oauthRequired": True}}}),
        (403, "Forbidden", "token lacks required scope", {}),
        (404, "NotFound", "not found", {}),
        (503, "<script>", "later", {}),
    ]:
        yield answer({"error": error, "name": name, "context": {}} | more, status, timestamp=NOW_MS)
    yield answer("{}", 401, x_auth_required="true")
    yield answer("{}", 429, retry_after=120)
    yield answer("{}", 429, retry_after="Thu, 01 Jan 1970 00:02:00 GMT")
    yield answer("", 302, location="/login")
    for number in (2**53 + 1, 2**128 - 1, 2**128, "1.5e+21", '"1200e-2"', "0.5", "-1", "1e32767", '"0.0"'):
        yield answer(str(number))


def scripts():
    """Scripts of record_model: put 0, move 2, swap 3, replay 4, cut 5, flip 6, grow 7, remove 8."""
    put = lambda at, text: bytes([0, at, len(text)]) + text
    one, two = put(0, b"v2x secret"), put(13, b"")
    yield one + two
    yield one + bytes([2, 1, 0])
    yield one + two + bytes([3, 0, 13]) + bytes([3, 0, 13])
    yield one + put(0, b"later") + bytes([4, 0, 0, 0])
    yield one + bytes([4, 18, 0, 0])
    yield one + bytes([5, 0, 0, 20])
    yield one + bytes([6, 0, 0, 3, 1]) * 2
    yield one + bytes([7, 0, 0]) + bytes([5, 0, 0, 39])
    yield one + bytes([8, 0]) + put(0, b"anew")


def ledgers():
    """Scripts of ledger_model: lease 0, end 9, post 16, return 17, crash 18, close 19, foreign 20, sample 21, change 22, rules 23."""
    lease = lambda units, after=0, durable=1: bytes([0, units, after, durable])
    end = lambda how, which=0: bytes([9, 0, which, how])
    spend = lambda units, how: lease(units) + end(1) + end(how)
    crash, close, sample = bytes([18, 0, 0]), bytes([19]), bytes([21])
    yield spend(80, 3) * 6 + lease(90)
    yield lease(10) * 12 + crash + lease(90) * 10
    yield lease(10) * 12 + close + lease(90) * 11
    yield lease(50) + end(2) + end(0) + sample + lease(90) * 9
    yield lease(60, durable=0) + lease(60) + end(0)
    yield spend(70, 3) + bytes([22, 0]) + spend(70, 3) + bytes([22, 1]) + lease(90) * 9
    yield lease(90) * 5 + bytes([23, 50]) + lease(90, after=250) * 3
    yield bytes([20, 200]) + sample + lease(90) * 10 + bytes([16, 17]) + crash


shutil.rmtree(SEEDS, ignore_errors=True)
for version in ("envelope_v1", "envelope_v2"):
    write(version, [case["envelope"] for case in cases(f"{version}.json", "valid", "invalid")])
issuance = cases("token_issuance.json", "valid", "invalid")
write("derivation_path", [case["derivationPath"] for case in issuance])
write(
    "token_issuance",
    [
        "\n".join(case[field] for field in ("derivationPath", "serverXpub", "ecdhXprv", "encryptedToken"))
        for case in issuance
    ],
)
write(
    "request_subject",
    ["\n".join((case["method"], case["url"], case["body"])) for case in cases("hmac.json", "v2v3")],
)
write("request_policy", requests())
write("sealed_record", [bytes([at, 0, at, 0xFF]) + row for at, row in enumerate(rows())])
write("store_header", headers())
write("store_files", files())
write("backup", backups())
write("wire_answers", answers())
write("record_model", scripts())
write("ledger_model", ledgers())
