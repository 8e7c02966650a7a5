// The emulator as a program: started, driven, ended.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Starts it and reads its one line: how to log in, and a way to end it. */
export async function start(path, options) {
  const child = spawn(path, ['emulator', '--listen', '127.0.0.1:0', ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  // Whatever ends this script ends it as well.
  process.once('exit', () => child.kill());
  const line = await Promise.race([
    new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve)),
    ended.then((code) => Promise.reject(new Error(`the emulator ended with ${code}`))),
  ]);
  return {
    ...JSON.parse(line),
    /** Asks the emulator itself, not the BitGo it stands for. */
    async control(call, body = {}) {
      const answer = await fetch(`${JSON.parse(line).url}/_emulator/${call}`, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      if (!answer.ok) throw new Error(`${call}: ${await answer.text()}`);
      return answer.json();
    },
    /** The status it ends with. */
    stop() {
      child.kill('SIGTERM');
      return ended;
    },
  };
}
