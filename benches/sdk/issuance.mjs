// What BitGo's own SDK takes to open an issued token and to sign a request, on the vectors that the
// crate is timed on. Prints one JSON object. README.md says how to run it.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const { BitGoAPI } = require('@bitgo/sdk-api');
const { common } = require('@bitgo/sdk-core');
const {
  calculateHMACSubject,
  calculateRequestHMAC,
  calculateRequestHeaders,
} = require('@bitgo/sdk-hmac');
const sjcl = require('@bitgo/sjcl');

const N = Number(process.argv[2] ?? 120);
if (!Number.isInteger(N) || N < 60) {
  throw new Error('N, a whole number from 60');
}
const WARM_UP = 24;
const json = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
const installed = (name) => ({
  package: name,
  version: json(`node_modules/${name}/package.json`).version,
});
const { valid: cases } = json('../../tests/vectors/token_issuance.json');

// SJCL keeps each key it derived, by password and salt: a second opening of an envelope would
// skip PBKDF2, which a login never can. The cache is the one property of sjcl.misc that is a
// plain object; its name is the minifier's.
const cacheName = Object.keys(sjcl.misc).find((name) => typeof sjcl.misc[name] === 'object');
const forgetKeys = () => {
  sjcl.misc[cacheName] = {};
};

const sealedIn = (version) => ({ encryptedToken }) => JSON.parse(encryptedToken).v === version;

function checkForgetting() {
  const { encryptedToken, sharedSecret } = cases.find(sealedIn(1));
  forgetKeys();
  sjcl.decrypt(sharedSecret, encryptedToken);
  if (Object.keys(sjcl.misc[cacheName]).length !== 1) {
    throw new Error('SJCL keeps its derived keys elsewhere');
  }
  forgetKeys();
}

// Milliseconds of each run; a run that throws ends the bench.
async function timed(n, run) {
  const times = [];
  for (let i = 0; i < WARM_UP + n; i += 1) {
    forgetKeys();
    const start = process.hrtime.bigint();
    await run(i);
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  return times.slice(WARM_UP).sort((a, b) => a - b);
}

function summary(sorted, unit, scale = 1) {
  const at = (share) => Number((sorted[Math.floor(share * (sorted.length - 1))] * scale).toFixed(3));
  return {
    [`median_${unit}`]: at(0.5),
    [`p10_${unit}`]: at(0.1),
    [`p90_${unit}`]: at(0.9),
    n: sorted.length,
  };
}

// One instance, which asks nobody for constants. The SDK reads the server's xpub from the table
// of environments when it opens a token; there each case puts its own.
const bitgo = new BitGoAPI({ customRootURI: 'http://127.0.0.1:9', clientConstants: {} });
const environment = common.Environments[bitgo.getEnv()];

// The first token after a login also opens the ECDH key with the login password; every later one
// has that key already.
async function issuance(method, version, withKey) {
  const chosen = cases.filter(sealedIn(version));
  const run = async (i) => {
    const vector = chosen[i % chosen.length];
    environment.serverXpub = vector.serverXpub;
    bitgo._ecdhXprv = withKey ? vector.ecdhXprv : undefined;
    const answer = {
      derivationPath: vector.derivationPath,
      encryptedToken: vector.encryptedToken,
      encryptedECDHXprv: vector.encryptedECDHXprv,
    };
    const { token } = await bitgo[method](answer, withKey ? undefined : vector.loginPassword);
    if (token !== vector.token) {
      throw new Error(`${vector.name}: another token`);
    }
  };
  return { method, cases: chosen.length, ...summary(await timed(N, run), 'ms') };
}

// As in benches/request_auth.rs; the body fills the subject up.
const SUBJECT_BYTES = 300;

async function headers() {
  const token = 'v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee';
  const target = '/api/v2/tbtc/wallet/5941b202b42fcbc707170d5b597491d9/tx/initiate';
  const timestamp = 1515748528011;
  const text = 'x'.repeat(SUBJECT_BYTES - `POST|${timestamp}|3.0|${target}|`.length);
  const request = { url: target, text, token, method: 'post', authVersion: 3 };
  const subject = calculateHMACSubject({ ...request, urlPath: target, timestamp });
  if (subject.length !== SUBJECT_BYTES) {
    throw new Error(`a subject of ${subject.length} bytes`);
  }
  // One call is too short for the clock.
  const BATCH = 100;
  const measure = (call) =>
    timed(N, () => {
      for (let i = 0; i < BATCH; i += 1) {
        call();
      }
    });
  const hmac = await measure(() => calculateRequestHMAC({ ...request, timestamp }));
  const whole = await measure(() => calculateRequestHeaders(request));
  return {
    subject_bytes: SUBJECT_BYTES,
    hmac: summary(hmac, 'us', 1000 / BATCH),
    headers: summary(whole, 'us', 1000 / BATCH),
  };
}

checkForgetting();
const report = {
  ...installed('@bitgo/sdk-api'),
  node: process.version,
  v1: await issuance('handleTokenIssuance', 1, true),
  v1_with_login_password: await issuance('handleTokenIssuance', 1, false),
  v1_async: await issuance('handleTokenIssuanceAsync', 1, true),
  v2_async: await issuance('handleTokenIssuanceAsync', 2, true),
  request_v3: { ...installed('@bitgo/sdk-hmac'), ...(await headers()) },
};
console.log(JSON.stringify(report, null, 1));
