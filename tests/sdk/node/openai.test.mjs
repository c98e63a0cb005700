// OpenAI's own Node client on an OpenAI backend.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { collect, journal, narrowToken, openai, png, wav, wrongToken } from './clients.mjs';

const messages = [{ role: 'user', content: 'Say hello.' }];
const parameters = { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] };
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'the weather of a place', parameters } }];
const eventSchema = {
  type: 'object',
  properties: { name: { type: 'string' }, date: { type: 'string' } },
  required: ['name', 'date'],
  additionalProperties: false,
};

test('a plain answer arrives whole', async () => {
  const answer = await openai().chat.completions.create({ model: 'chat', messages });
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.ok(answer.usage.total_tokens > 0);
});

test('a stream arrives event by event and ends well', async () => {
  const chunks = await collect(await openai().chat.completions.create({ model: 'chat', messages, stream: true }));
  assert.ok(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''));
  assert.equal(chunks.filter((chunk) => chunk.choices.length).at(-1).choices[0].finish_reason, 'stop');
});

test('events arrive while the backend still writes', async () => {
  const start = performance.now();
  const times = [];
  for await (const chunk of await openai().chat.completions.create({ model: 'chat-paced', messages, stream: true })) {
    if (chunk.choices[0]?.delta.content) times.push(performance.now() - start);
  }
  assert.ok(times.length > 3);
  assert.ok(times[0] < times.at(-1) / 2, `everything came at the end: ${times}`);
});

test('a tool call arrives', async () => {
  const answer = await openai().chat.completions.create({ model: 'chat', messages, tools });
  const call = answer.choices[0].message.tool_calls[0];
  assert.equal(call.function.name, 'get_weather');
  assert.ok('location' in JSON.parse(call.function.arguments));
});

test('a streamed tool call can be put together', async () => {
  const answer = await openai().chat.completions.stream({ model: 'chat', messages, tools }).finalChatCompletion();
  const call = answer.choices[0].message.tool_calls[0];
  assert.equal(call.function.name, 'get_weather');
  assert.ok('location' in JSON.parse(call.function.arguments));
});

test('an image in the prompt is taken', async () => {
  const content = [
    { type: 'text', text: 'What is this?' },
    { type: 'image_url', image_url: { url: `data:image/png;base64,${png.toString('base64')}` } },
  ];
  const answer = await openai().chat.completions.create({ model: 'chat', messages: [{ role: 'user', content }] });
  assert.ok(answer.choices[0].message.content);
});

test('an answer follows a JSON schema', async () => {
  const answer = await openai().chat.completions.parse({
    model: 'chat',
    messages,
    response_format: { type: 'json_schema', json_schema: { name: 'event', strict: true, schema: eventSchema } },
  });
  assert.ok(answer.choices[0].message.parsed.name);
});

test('a response arrives', async () => {
  const answer = await openai().responses.create({ model: 'chat', input: 'Say hello.' });
  assert.equal(answer.status, 'completed');
  assert.ok(answer.output_text);
});

test('a streamed response arrives in order and completes', async () => {
  const events = await collect(await openai().responses.create({ model: 'chat', input: 'Say hello.', stream: true }));
  assert.equal(events[0].type, 'response.created');
  assert.ok(events.some((event) => event.type === 'response.output_text.delta'));
  assert.equal(events.at(-1).type, 'response.completed');
});

test('embeddings arrive as numbers', async () => {
  const answer = await openai().embeddings.create({ model: 'embed', input: ['one', 'two', 'three'], encoding_format: 'float' });
  assert.equal(answer.data.length, 3);
  assert.ok(answer.data.every((row) => row.embedding.length > 0 && row.embedding.every(Number.isFinite)));
});

test('an uploaded recording is transcribed', async () => {
  const mark = await journal.mark();
  const file = await toFile(wav, 'speech.wav', { type: 'audio/wav' });
  assert.ok((await openai().audio.transcriptions.create({ model: 'transcribe', file })).text);
  assert.equal((await journal.since(mark)).at(-1).model, 'whisper-1');
});

test('an uploaded image is edited', async () => {
  const mark = await journal.mark();
  const image = await toFile(png, 'dot.png', { type: 'image/png' });
  assert.ok((await openai().images.edit({ model: 'image', image, prompt: 'Make it blue.' })).data.length);
  assert.equal((await journal.since(mark)).at(-1).model, 'gpt-image-1');
});

test('the list of models is what the user may call', async () => {
  const ids = (await collect(openai(narrowToken).models.list())).map((model) => model.id);
  assert.deepEqual(ids.sort(), ['chat', 'claude', 'gemini']);
});

test('a wrong token is an authentication error', async () => {
  await assert.rejects(openai(wrongToken).chat.completions.create({ model: 'chat', messages }), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, 'auth_missing_or_invalid');
    return true;
  });
});

test('an unknown model is not found', async () => {
  await assert.rejects(openai().chat.completions.create({ model: 'no-such-model', messages }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
    return true;
  });
});

test("the backend's own bad request arrives", async () => {
  await assert.rejects(openai().chat.completions.create({ model: 'chat-bad-request', messages }), OpenAI.BadRequestError);
});

test('a rate limit that nothing could absorb is a rate limit error', async () => {
  await assert.rejects(openai().chat.completions.create({ model: 'chat-rate-limited', messages }), OpenAI.RateLimitError);
});

test('a failing backend is not seen when another can answer', async () => {
  const { data, response } = await openai().chat.completions.create({ model: 'chat-failover', messages }).withResponse();
  assert.ok(data.choices[0].message.content);
  assert.equal(response.headers.get('berry-backend'), 'openai/gpt-4o-mini');
});

test('closing a stream cancels it at the backend', async () => {
  const mark = await journal.mark();
  const stream = await openai().chat.completions.create({ model: 'chat-long', messages, stream: true });
  for await (const _ of stream) break;
  stream.controller.abort();
  await journal.waitFor(mark, (entry) => entry.cancelled);
});

test('aborting a request before its answer cancels it at the backend', async () => {
  const mark = await journal.mark();
  const abort = new AbortController();
  const pending = openai().chat.completions.create({ model: 'chat-slow', messages }, { signal: abort.signal });
  await journal.waitFor(mark, (entry) => entry.model === 'mock-slow-5000');
  abort.abort();
  await assert.rejects(pending, OpenAI.APIUserAbortError);
  await journal.waitFor(mark, (entry) => entry.cancelled);
});
