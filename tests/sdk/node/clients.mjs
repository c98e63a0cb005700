// The clients, set up as their vendors' documentation says, and a look into what the simulated provider received.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';

const { BERRY_URL, BERRY_TOKEN, BERRY_NARROW_TOKEN, MOCK_URL } = process.env;
assert.ok(BERRY_URL && BERRY_TOKEN && MOCK_URL, 'run.py starts these tests, with Berry and a simulated provider behind them');

export const narrowToken = BERRY_NARROW_TOKEN;
export const wrongToken = 'berry-no-such-token-at-all';

// Clients repeat failed requests by themselves. Here each failure must be seen.
export const openai = (apiKey = BERRY_TOKEN) => new OpenAI({ baseURL: `${BERRY_URL}/v1`, apiKey, maxRetries: 0, timeout: 20_000 });
export const anthropic = (apiKey = BERRY_TOKEN) => new Anthropic({ baseURL: BERRY_URL, apiKey, maxRetries: 0, timeout: 20_000 });
export const gemini = (apiKey = BERRY_TOKEN) =>
  new GoogleGenAI({ apiKey, httpOptions: { baseUrl: BERRY_URL, timeout: 20_000, retryOptions: { attempts: 1 } } });

// A valid PNG of one pixel, and a valid WAV of silence: small, but what the names say.
export const png = Buffer.from(
  '89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0' +
    '0000000049454e44ae426082',
  'hex',
);
export const wav = Buffer.from('524946462400000057415645666d74201000000001000100401f0000803e0000020010006461746100000000', 'hex');

export const journal = {
  async entries() {
    return (await fetch(`${MOCK_URL}/__journal`)).json();
  },
  async mark() {
    return (await this.entries()).length;
  },
  async since(mark) {
    return (await this.entries()).slice(mark);
  },
  /** A cancelled request is noted a moment after it was cancelled. */
  async waitFor(mark, holds, milliseconds = 3000) {
    const end = Date.now() + milliseconds;
    for (;;) {
      const seen = await this.since(mark);
      if (seen.some(holds)) return;
      assert.ok(Date.now() < end, `no such entry in the provider's journal: ${JSON.stringify(seen)}`);
      await sleep(20);
    }
  },
};

export async function collect(iterable) {
  const all = [];
  for await (const one of iterable) all.push(one);
  return all;
}
