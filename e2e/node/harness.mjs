// What the tests share: the gateway and the mock server as processes, and the names of models.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

// Nothing here waits longer than this, in milliseconds.
const PATIENCE = 10_000;

// The tests run from a copy under target/, so the root is wherever the resources are.
function root() {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'e2e', 'gateway.yaml'))) folder = dirname(folder);
  return folder;
}

const ROOT = root();
const GATEWAY = join(ROOT, 'target', 'dist', 'tollgate');
const TESTKIT = join(ROOT, 'target', 'release', 'tollgate-testkit');

// A PNG of one pixel.
export const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

// A tenth of a second of silence as WAV: 8 kHz, 8 bits, one channel.
function silence() {
  const samples = Buffer.alloc(800, 0x80);
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + samples.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(8000, 24);
  header.writeUInt32LE(8000, 28);
  header.writeUInt16LE(1, 32);
  header.writeUInt16LE(8, 34);
  header.write('data', 36);
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

export const SILENCE = silence();

const gpt = 'gpt-4o-mini';
const claude = 'claude-sonnet-5';

// The mock server reads what follows `--` as a wish.
export const MODELS = {
  gpt,
  gptTool: `${gpt}--tool`,
  gptTools: `${gpt}--tools`,
  gptJson: gpt,
  refused: `${gpt}--401`,
  limited: `${gpt}--429`,
  failing: `${gpt}--500`,
  flaky: `${gpt}--flaky2`,
  cut: `${gpt}--cut`,
  slow: `${gpt}--slow`,
  claude,
  claudeTools: `${claude}--tools`,
  claudeThinking: `${claude}--thinking`,
  claudeRefused: `${claude}--401`,
  claudeLimited: `${claude}--429`,
  claudeFailing: `${claude}--500`,
  claudeCut: `${claude}--cut`,
  embed: 'text-embedding-3-small',
  image: 'gpt-image-1',
  whisper: 'whisper-1',
  retried: 'retried',
};

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function until(condition, milliseconds, what) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < end, `not within ${milliseconds} ms: ${what}`);
    await sleep(20);
  }
}

// What children get of our environment: the path, and which data plane it is about.
function inherited() {
  const names = ['PATH', 'TOLLGATE_DATA_PLANE', 'TOLLGATE_ENVOY'];
  return Object.fromEntries(names.filter((name) => name in process.env).map((name) => [name, process.env[name]]));
}

// What an SDK raises when a backend breaks a stream off. Envoy's filters do not hear of it, so there the client sees no error event, but
// a body that is not complete: the error of its HTTP library.
export function brokenOff(error) {
  return process.env.TOLLGATE_DATA_PLANE === 'envoy' ? Error : error;
}

function start(program, args, env = {}) {
  const child = spawn(program, args, { env: { ...inherited(), ...env } });
  child.told = '';
  child.stderr.on('data', (data) => (child.told += data));
  child.ended = new Promise((resolve) => child.on('exit', resolve));
  return child;
}

async function end(child) {
  child.kill('SIGTERM');
  const killer = setTimeoutUnref(() => child.kill('SIGKILL'), PATIENCE);
  await child.ended;
  clearTimeout(killer);
}

function setTimeoutUnref(action, milliseconds) {
  const timer = globalThis.setTimeout(action, milliseconds);
  timer.unref();
  return timer;
}

async function startMock() {
  const child = start(TESTKIT, ['mock']);
  const [line] = await new Promise((resolve) => child.stdout.once('data', (data) => resolve(String(data).split('\n'))));
  const address = line.replace('listening on ', '');
  const url = `http://${address}/_oracle/requests`;
  const requests = async () => (await fetch(url)).json();
  return {
    child,
    port: Number(address.split(':')[1]),
    requests,
    clear: () => fetch(url, { method: 'DELETE' }),
    sawClientLeave: (milliseconds) =>
      until(async () => (await requests()).some((seen) => seen.left_early), milliseconds, 'the client is gone'),
  };
}

async function startGateway(mock) {
  const [port, adminPort] = [await freePort(), await freePort()];
  const child = start(
    GATEWAY,
    ['run', `--admin-address=127.0.0.1:${adminPort}`, '--access-log=off', join(ROOT, 'e2e', 'gateway.yaml')],
    { E2E_GATEWAY_PORT: String(port), E2E_MOCK_PORT: String(mock.port) },
  );
  const admin = `http://127.0.0.1:${adminPort}`;
  const isReady = async () => {
    assert.equal(child.exitCode, null, `the gateway has ended:\n${child.told}`);
    return fetch(`${admin}/readyz`).then((answer) => answer.ok, () => false);
  };
  await until(isReady, PATIENCE, 'the gateway is ready');
  const metrics = async () => (await fetch(`${admin}/metrics`)).text();
  const total = (text, word) =>
    text
      .split('\n')
      .filter((line) => line.includes(word) && !line.startsWith('#'))
      .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  let marked = '';
  return {
    child,
    url: `http://127.0.0.1:${port}`,
    openaiUrl: `http://127.0.0.1:${port}/v1`,
    mark: async () => (marked = await metrics()),
    // Waits until counters with `word` in name or labels have grown.
    counted: (word, milliseconds) =>
      until(async () => total(await metrics(), word) > total(marked, word), milliseconds, `${word} in the metrics`),
  };
}

let mock;
let gateway;

before(async () => {
  mock = await startMock();
  gateway = await startGateway(mock);
});

after(async () => {
  if (gateway) await end(gateway.child);
  if (mock) await end(mock.child);
});

// One test; what the mock has seen is forgotten before it.
export function scenario(name, run) {
  test(name, { timeout: 30_000 }, async () => {
    await mock.clear();
    await gateway.mark();
    await run({ gateway, mock });
  });
}
