// Google's own Node client on a Gemini backend.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '@google/genai';
import { collect, gemini, journal, narrowToken, png, wrongToken } from './clients.mjs';

const ask = { model: 'gemini', contents: 'Say hello.' };
const schema = { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] };
const tools = [{ functionDeclarations: [{ name: 'get_weather', description: 'the weather of a place', parametersJsonSchema: schema }] }];
const status = (expected) => (error) => error instanceof ApiError && error.status === expected;

test('a plain answer arrives whole', async () => {
  const answer = await gemini().models.generateContent(ask);
  assert.ok(answer.text);
  assert.equal(answer.candidates[0].finishReason, 'STOP');
});

test('a stream arrives event by event and ends well', async () => {
  const chunks = await collect(await gemini().models.generateContentStream(ask));
  assert.ok(chunks.map((chunk) => chunk.text ?? '').join(''));
  assert.equal(chunks.at(-1).candidates[0].finishReason, 'STOP');
});

test('a tool call arrives', async () => {
  const [call] = (await gemini().models.generateContent({ ...ask, config: { tools } })).functionCalls;
  assert.equal(call.name, 'get_weather');
  assert.ok('location' in call.args);
});

test('a streamed tool call arrives', async () => {
  const chunks = await collect(await gemini().models.generateContentStream({ ...ask, config: { tools } }));
  const [call] = chunks.flatMap((chunk) => chunk.functionCalls ?? []);
  assert.equal(call.name, 'get_weather');
});

test('an image in the prompt is taken', async () => {
  const contents = [{ inlineData: { mimeType: 'image/png', data: png.toString('base64') } }, 'What is this?'];
  assert.ok((await gemini().models.generateContent({ ...ask, contents })).text);
});

test('an answer follows a JSON schema', async () => {
  const config = { responseMimeType: 'application/json', responseJsonSchema: schema };
  assert.equal(typeof JSON.parse((await gemini().models.generateContent({ ...ask, config })).text), 'object');
});

test('tokens are counted', async () => {
  assert.ok((await gemini().models.countTokens(ask)).totalTokens > 0);
});

test('embeddings arrive as numbers', async () => {
  const answer = await gemini().models.embedContent({ model: 'gemini-embed', contents: 'one' });
  assert.ok(answer.embeddings[0].values.every(Number.isFinite));
});

test('the list of models is in the shape of Gemini', async () => {
  const models = await collect(await gemini(narrowToken).models.list());
  assert.deepEqual(models.map((model) => model.name).sort(), ['models/chat', 'models/claude', 'models/gemini']);
});

test('a wrong token is unauthenticated', async () => {
  await assert.rejects(gemini(wrongToken).models.generateContent(ask), status(401));
});

test('an unknown model is not found', async () => {
  await assert.rejects(gemini().models.generateContent({ ...ask, model: 'no-such-model' }), status(404));
});

test("the backend's own bad request arrives", async () => {
  await assert.rejects(gemini().models.generateContent({ ...ask, model: 'gemini-bad-request' }), status(400));
});

test('a rate limit that nothing could absorb is resource exhausted', async () => {
  await assert.rejects(gemini().models.generateContent({ ...ask, model: 'gemini-rate-limited' }), status(429));
});

test('a failing backend is not seen when another can answer', async () => {
  assert.ok((await gemini().models.generateContent({ ...ask, model: 'gemini-failover' })).text);
});

test('leaving a stream cancels it at the backend', async () => {
  const mark = await journal.mark();
  const abort = new AbortController();
  const stream = await gemini().models.generateContentStream({ ...ask, model: 'gemini-long', config: { abortSignal: abort.signal } });
  await stream.next();
  abort.abort();
  await assert.rejects(collect(stream));
  await journal.waitFor(mark, (entry) => entry.cancelled);
});
