// Anthropic's own Node client on an Anthropic backend.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { anthropic, collect, journal, narrowToken, png, wrongToken } from './clients.mjs';

const messages = [{ role: 'user', content: 'Say hello.' }];
const ask = { model: 'claude', max_tokens: 64, messages };
const thinking = { type: 'enabled', budget_tokens: 1024 };
const tools = [
  {
    name: 'get_weather',
    description: 'the weather of a place',
    input_schema: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] },
  },
];
const kinds = (message) => message.content.map((block) => block.type);

test('a plain message arrives whole', async () => {
  const message = await anthropic().messages.create(ask);
  assert.deepEqual(kinds(message), ['text']);
  assert.equal(message.stop_reason, 'end_turn');
});

test('a stream arrives event by event and ends well', async () => {
  const events = await collect(await anthropic().messages.create({ ...ask, stream: true }));
  assert.equal(events[0].type, 'message_start');
  assert.ok(events.some((event) => event.type === 'content_block_delta'));
  assert.equal(events.at(-1).type, 'message_stop');
});

test('streamed thinking keeps its signature', async () => {
  const message = await anthropic().messages.stream({ ...ask, max_tokens: 2048, thinking }).finalMessage();
  assert.deepEqual(kinds(message), ['thinking', 'text']);
  assert.ok(message.content[0].signature);
});

test('a tool call arrives', async () => {
  const message = await anthropic().messages.create({ ...ask, tools });
  const call = message.content.find((block) => block.type === 'tool_use');
  assert.equal(call.name, 'get_weather');
  assert.ok('location' in call.input);
});

test('a streamed tool call can be put together', async () => {
  const message = await anthropic().messages.stream({ ...ask, tools }).finalMessage();
  const call = message.content.find((block) => block.type === 'tool_use');
  assert.equal(call.name, 'get_weather');
  assert.ok('location' in call.input);
});

test('an image in the prompt is taken', async () => {
  const source = { type: 'base64', media_type: 'image/png', data: png.toString('base64') };
  const content = [{ type: 'image', source }, { type: 'text', text: 'What is this?' }];
  assert.ok((await anthropic().messages.create({ ...ask, messages: [{ role: 'user', content }] })).content.length);
});

test('tokens are counted', async () => {
  assert.ok((await anthropic().messages.countTokens({ model: 'claude', messages })).input_tokens > 0);
});

test('the list of models is in the shape of Anthropic', async () => {
  const models = await collect(anthropic(narrowToken).models.list());
  assert.deepEqual(models.map((model) => model.id).sort(), ['chat', 'claude', 'gemini']);
  assert.ok(models.every((model) => model.type === 'model'));
});

test('a wrong token is an authentication error', async () => {
  await assert.rejects(anthropic(wrongToken).messages.create(ask), Anthropic.AuthenticationError);
});

test('an unknown model is not found', async () => {
  await assert.rejects(anthropic().messages.create({ ...ask, model: 'no-such-model' }), Anthropic.NotFoundError);
});

test("the backend's own bad request arrives", async () => {
  await assert.rejects(anthropic().messages.create({ ...ask, model: 'claude-bad-request' }), Anthropic.BadRequestError);
});

test('a rate limit that nothing could absorb is a rate limit error', async () => {
  await assert.rejects(anthropic().messages.create({ ...ask, model: 'claude-rate-limited' }), Anthropic.RateLimitError);
});

test('a failing backend is not seen when another can answer', async () => {
  assert.deepEqual(kinds(await anthropic().messages.create({ ...ask, model: 'claude-failover' })), ['text']);
});

test('closing a stream cancels it at the backend', async () => {
  const mark = await journal.mark();
  const stream = await anthropic().messages.create({ ...ask, model: 'claude-long', stream: true });
  for await (const event of stream) if (event.type === 'content_block_delta') break;
  stream.controller.abort();
  await journal.waitFor(mark, (entry) => entry.cancelled);
});
