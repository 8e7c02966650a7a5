// BitGo's own JavaScript SDK, unchanged, against the emulator: node interop.mjs PATH-OF-BITGO-VAULT
//
// Every step asserts and prints one line. The SDK checks the HMAC of each answer by itself and
// throws where it does not fit; it opens what is sealed with its own code.
import assert from 'node:assert/strict';
import sdk from '@bitgo/sdk-api';
import { start } from './program.mjs';

const [path] = process.argv.slice(2);
assert(path, 'usage: node interop.mjs PATH-OF-BITGO-VAULT');
const COIN = 'tbtc';
let steps = 0;

async function step(what, make) {
  const seen = await make();
  steps += 1;
  console.log(`ok ${steps} ${what}${seen === undefined ? '' : `: ${seen}`}`);
}

/** That a call is refused so; its error. */
async function refused(call, status, expected = {}) {
  const error = await call.then(
    () => assert.fail(`it was not refused with ${status}`),
    (error) => error,
  );
  assert.equal(error.status, status, error.message);
  for (const [name, value] of Object.entries(expected)) assert.equal(error.result[name], value, name);
  return error;
}

/** All that is done with one version of the request authentication. */
async function walk(emulator, authVersion) {
  const { url, serverXpub, email, password, otp } = emulator;
  const api = (more = {}) =>
    new sdk.BitGoAPI({ env: 'custom', customRootURI: url, serverXpub, authVersion, ...more });
  const login = (more = {}) => ({ username: email, password, otp, ...more });
  const bitgo = api();
  const { id: wallet } = await emulator.control('wallets', { coin: COIN });
  const spend = (as, amount) =>
    as.post(as.url(`/${COIN}/wallet/${wallet}/sendcoins`, 2)).send({ address: 'tb1q', amount }).result();

  await step('ping', async () => (await bitgo.ping()).status);
  await step('constants', async () => void (await bitgo.fetchConstants()));
  await step('a login without OTP is asked for it', async () => {
    const error = await refused(bitgo.authenticate(login({ otp: undefined })), 401, { needsOTP: true });
    assert(error.needsOTP);
  });
  await step('a wrong password is refused', async () => {
    await refused(bitgo.authenticate(login({ password: 'wrong' })), 401);
  });
  await step('authenticate with OTP', async () => {
    const answer = await bitgo.authenticate(login());
    assert.match(answer.access_token, /^v2x[0-9a-f]{64}$/);
    assert.equal((await bitgo.me()).username, email);
  });

  const limited = (label) => ({
    label,
    otp,
    duration: 3600,
    scope: ['wallet_view_all', 'wallet_spend_all'],
    spendingLimits: [{ coin: COIN, txValueLimit: '1000' }],
  });
  let token;
  await step('addAccessToken with a limit', async () => {
    token = await bitgo.addAccessToken(limited('bot 0'));
    assert.match(token.token, /^v2x[0-9a-f]{64}$/);
    assert.equal(token.unlock.spendingLimits[COIN].txValueLimit, 1000);
  });
  await step('addAccessToken with a wrong OTP is refused', async () => {
    await refused(bitgo.addAccessToken({ ...limited('bot x'), otp: '1111111' }), 401);
  });

  const bot = api({ accessToken: token.token });
  await step('the token is used', async () => {
    assert.equal((await bot.session()).id, token.id);
  });
  await step('it spends', async () => (await spend(bot, 600)).status);
  await step('it meets its limit', async () => {
    await refused(spend(bot, 401), 401, { needsUnlock: true });
    await spend(bot, 400);
    const counted = (await bot.session()).unlock.spendingLimits[COIN];
    assert.deepEqual(counted, { txCount: 2, txValue: 1000, txValueLimit: 1000 });
  });
  await step('unlock lets it spend, and deletes the limit', async () => {
    await refused(bot.unlock({ otp: '1111111' }), 401);
    const { session } = await bot.unlock({ otp, duration: 60 });
    assert(Date.parse(session.unlock.expires) > Date.now());
    assert.deepEqual(session.unlock.spendingLimits, {});
    await spend(bot, 5000);
  });
  await step('lock ends that', async () => {
    await bot.lock();
    await refused(spend(bot, 1), 401, { needsUnlock: true });
  });
  await step('a token may not list', async () => {
    const error = await refused(bot.listAccessTokens(), 403);
    assert.match(error.message, /lacks required scope/);
  });

  const more = [];
  for (const number of [1, 2, 3, 4]) more.push(await bitgo.addAccessToken(limited(`bot ${number}`)));
  await step('list in pages, both ways', async () => {
    for (const [sort, labels] of [
      ['ASC', ['bot 0', 'bot 1', 'bot 2', 'bot 3', 'bot 4']],
      ['DESC', ['bot 4', 'bot 3', 'bot 2', 'bot 1', 'bot 0']],
    ]) {
      const seen = [];
      let prevId;
      do {
        const page = await bitgo
          .get(bitgo.url('/user/accesstoken', 2))
          .query({ limit: 2, sort, ...(prevId && { prevId }) })
          .result();
        assert(page.accessTokens.length <= 2);
        seen.push(...page.accessTokens.map(({ label }) => label));
        prevId = page.nextBatchPrevId;
      } while (prevId);
      assert.deepEqual(seen, labels);
    }
    assert.equal((await bitgo.listAccessTokens()).length, 5);
    return '5 tokens in 3 pages';
  });
  await step('removeAccessToken by id', async () => {
    assert.equal((await bitgo.removeAccessToken({ id: more[0].id })).id, more[0].id);
    await refused(api({ accessToken: more[0].token }).session(), 401);
  });
  await step('removeAccessToken by label', async () => {
    assert.equal((await bitgo.removeAccessToken({ label: 'bot 2' })).id, more[1].id);
    const left = (await bitgo.listAccessTokens()).map(({ label }) => label);
    assert.deepEqual(left, ['bot 0', 'bot 3', 'bot 4']);
    await assert.rejects(bitgo.removeAccessToken({ label: 'bot 2' }), /does not exist/);
  });

  await step('extendToken, its duration as a number and as a string', async () => {
    const session = api();
    await session.authenticate(login({ extensible: true }));
    for (const duration of [7200, '14400']) {
      await session.extendToken({ duration });
      const left = Date.parse((await session.session()).expires) - Date.now();
      assert(Math.abs(left - duration * 1000) < 60_000, `${left} ms are left`);
    }
    await assert.rejects(bitgo.extendToken({ duration: 60 }), /_extensionKey/);
  });
  await step('the internal token is opened and used', async () => {
    const url = bitgo.url('/user/internalaccesstoken', 2);
    const sealed = await bitgo.get(url).result();
    assert.equal(sealed.token, undefined, 'it comes sealed only');
    const { token } = await bitgo.handleTokenIssuanceAsync(sealed);
    const internal = await api({ accessToken: token }).session();
    assert.equal(internal.id, sealed.id);
    assert.equal(internal.internal, true);
    assert.equal((await bitgo.get(url).result()).id, sealed.id, 'not renewed yet');
  });
  await step('refreshToken, twice, and not with the old one', async () => {
    const client = api(await emulator.control('oauth'));
    const first = await client.refreshToken();
    assert.notEqual((await client.refreshToken()).refresh_token, first.refresh_token);
    assert.equal((await client.me()).username, email);
    await refused(client.refreshToken({ refreshToken: first.refresh_token }), 400);
  });
  await step('logout', async () => {
    const session = api();
    const { access_token } = await session.authenticate(login());
    await session.logout();
    const error = await refused(api({ accessToken: access_token }).session(), 401);
    assert(error.invalidToken);
  });
  await step('an answer that is not signed so is refused by the SDK', async () => {
    await emulator.control('faults', { kind: 'badHmac', path: '/user/session' });
    const error = await refused(bitgo.session(), 511);
    assert.match(error.message, /HMAC/);
    await emulator.control('faults', { kind: 'answeredAt', ms: -600_000, path: '/user/session' });
    // Version 2 of the authentication has no window in the SDK.
    if (authVersion === 3) await refused(bitgo.session(), 511);
    else await bitgo.session();
  });
}

/** An account without an ECDH key: the SDK falls back to tokens in clear. */
async function walkInClear({ url, serverXpub, email, password, otp }) {
  const api = () => new sdk.BitGoAPI({ env: 'custom', customRootURI: url, serverXpub });
  await step('an account without an ECDH key: login, token, session', async () => {
    const bitgo = api();
    await bitgo.authenticate({ username: email, password, otp });
    const token = await bitgo.addAccessToken({ label: 'old', otp, duration: 60, scope: ['openid'] });
    assert.match(token.warning, /legacy/);
    const bot = api();
    bot.authenticateWithAccessToken({ accessToken: token.token });
    assert.equal((await bot.session()).id, token.id);
  });
}

async function against(options, walked) {
  console.log(`# emulator ${options.join(' ')}`);
  const emulator = await start(path, options);
  await walked(emulator);
  assert.equal(await emulator.stop(), 0, 'the emulator ends cleanly');
}

for (const envelope of ['1', '2']) {
  for (const authVersion of [2, 3]) {
    console.log(`# authVersion ${authVersion}`);
    await against(['--envelope', envelope], (emulator) => walk(emulator, authVersion));
  }
}
await against(['--in-clear'], walkInClear);
console.log(`all ${steps} steps passed`);
