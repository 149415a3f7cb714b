// The openai package, in front of a backend of its own dialect: bytes are spliced.

import assert from 'node:assert/strict';
import OpenAI, { toFile } from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { MODELS, SILENCE, brokenOff, scenario } from './harness.mjs';

const ask = (text = 'Say something.') => [{ role: 'user', content: text }];

const tools = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'The weather of a city.',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    },
  },
];

const client = (gateway, options = {}) =>
  new OpenAI({ baseURL: gateway.openaiUrl, apiKey: 'client-key', maxRetries: 0, timeout: 10_000, ...options });

const chat = (gateway, asked) => client(gateway).chat.completions.create({ messages: ask(), ...asked });

async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

scenario('chat', async ({ gateway }) => {
  const completion = await chat(gateway, { model: MODELS.gpt });
  assert.ok(completion.choices[0].message.content);
  assert.equal(completion.choices[0].finish_reason, 'stop');
  assert.ok(completion.usage.prompt_tokens > 0);
  assert.ok(completion._request_id);
});

scenario('a stream arrives in pieces and says the same', async ({ gateway }) => {
  const whole = await chat(gateway, { model: MODELS.gpt });
  const chunks = await collect(await chat(gateway, { model: MODELS.gpt, stream: true }));
  const pieces = chunks.map((chunk) => chunk.choices[0].delta.content).filter(Boolean);
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(''), whole.choices[0].message.content);
  assert.ok(chunks.every((chunk) => !chunk.usage));
});

scenario('a stream ends with usage when asked', async ({ gateway }) => {
  const asked = { model: MODELS.gpt, stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(await chat(gateway, asked));
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
});

scenario('a tool call and its result make a round trip', async ({ gateway, mock }) => {
  const messages = ask('What is the weather in Paris?');
  const called = await chat(gateway, { model: MODELS.gptTool, messages, tools });
  const message = called.choices[0].message;
  assert.equal(called.choices[0].finish_reason, 'tool_calls');
  assert.equal(message.tool_calls[0].function.name, 'get_weather');
  JSON.parse(message.tool_calls[0].function.arguments);

  const told = { role: 'tool', tool_call_id: message.tool_calls[0].id, content: '18 degrees' };
  const answer = await chat(gateway, { model: MODELS.gpt, messages: [...messages, message, told], tools });
  assert.ok(answer.choices[0].message.content);
  const seen = (await mock.requests()).at(-1).json.messages;
  assert.deepEqual(seen.map((each) => each.role), ['user', 'assistant', 'tool']);
});

scenario('parallel tool calls, whole and streamed', async ({ gateway }) => {
  const whole = await chat(gateway, { model: MODELS.gptTools, tools });
  const stream = client(gateway).chat.completions.stream({ model: MODELS.gptTools, messages: ask(), tools });
  const streamed = await stream.finalChatCompletion();
  const calls = (completion) => completion.choices[0].message.tool_calls.map((call) => call.function.arguments);
  assert.equal(calls(whole).length, 2);
  assert.deepEqual(calls(streamed), calls(whole));
});

scenario('structured output is parsed', async ({ gateway }) => {
  const answer = z.object({ city: z.string(), degrees: z.number() });
  const completion = await client(gateway).chat.completions.parse({
    model: MODELS.gptJson,
    messages: ask(),
    response_format: zodResponseFormat(answer, 'answer'),
  });
  assert.equal(typeof completion.choices[0].message.parsed.city, 'string');
});

scenario('embeddings', async ({ gateway }) => {
  const vectors = await client(gateway).embeddings.create({ model: MODELS.embed, input: ['one', 'two'] });
  assert.equal(vectors.data.length, 2);
  assert.ok(vectors.data[0].embedding.length > 0);
});

scenario('responses, whole and streamed', async ({ gateway }) => {
  const asked = { model: MODELS.gpt, input: 'Say something.' };
  const whole = await client(gateway).responses.create(asked);
  assert.ok(whole.output_text);
  const events = await collect(await client(gateway).responses.create({ ...asked, stream: true }));
  const pieces = events.filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta);
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(''), whole.output_text);
});

scenario('transcription of an upload', async ({ gateway }) => {
  const file = await toFile(SILENCE, 'silence.wav', { type: 'audio/wav' });
  const { text } = await client(gateway).audio.transcriptions.create({ model: MODELS.whisper, file });
  assert.ok(text);
});

scenario('images', async ({ gateway }) => {
  const images = await client(gateway).images.generate({ model: MODELS.image, prompt: 'a square' });
  assert.ok(images.data[0].b64_json || images.data[0].url);
});

scenario('models are those of the configuration', async ({ gateway }) => {
  const listed = (await collect(await client(gateway).models.list())).map((model) => model.id);
  assert.ok(listed.includes(MODELS.gpt) && listed.includes(MODELS.claude));
});

scenario('across to the other dialect: chat, stream and tools', async ({ gateway }) => {
  const whole = await chat(gateway, { model: MODELS.claude });
  const chunks = await collect(await chat(gateway, { model: MODELS.claude, stream: true }));
  const pieces = chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean);
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(''), whole.choices[0].message.content);
  const called = await chat(gateway, { model: MODELS.claudeTools, tools });
  assert.equal(called.choices[0].finish_reason, 'tool_calls');
  assert.equal(called.choices[0].message.tool_calls.length, 2);
});

scenario('errors have their classes', async ({ gateway }) => {
  await assert.rejects(client(gateway).post('/chat/completions', { body: { messages: ask() } }), OpenAI.BadRequestError);
  await assert.rejects(chat(gateway, { model: MODELS.refused }), OpenAI.AuthenticationError);
  await assert.rejects(chat(gateway, { model: MODELS.limited }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.ok(Number(error.headers.get('retry-after')) > 0);
    return true;
  });
  await assert.rejects(chat(gateway, { model: MODELS.failing }), OpenAI.InternalServerError);
  await assert.rejects(chat(gateway, { model: 'no-such-model' }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.match(error.message, new RegExp(MODELS.gpt));
    assert.ok(error.requestID);
    return true;
  });
});

scenario('a stream that breaks is an error', async ({ gateway }) => {
  const stream = await chat(gateway, { model: MODELS.cut, stream: true });
  const pieces = [];
  await assert.rejects(async () => {
    for await (const chunk of stream) pieces.push(chunk.choices[0]?.delta.content);
  }, brokenOff(OpenAI.APIError));
  assert.ok(pieces.length > 0);
});

scenario('the client tries again as often as it is told', async ({ gateway, mock }) => {
  const completion = await client(gateway, { maxRetries: 2 }).chat.completions.create({
    model: MODELS.flaky,
    messages: ask(),
  });
  assert.ok(completion.choices[0].message.content);
  assert.equal((await mock.requests()).length, 3);
});

scenario('the gateway tries again where it is told to', async ({ gateway, mock }) => {
  assert.ok((await chat(gateway, { model: MODELS.retried })).choices[0].message.content);
  assert.equal((await mock.requests()).length, 2);
});

scenario('a client that hangs up is told to the backend and counted', async ({ gateway, mock }) => {
  const stream = await chat(gateway, { model: MODELS.slow, stream: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
  stream.controller.abort();
  await mock.sawClientLeave(1_000);
  await gateway.counted('client_gone', 2_000);
});
