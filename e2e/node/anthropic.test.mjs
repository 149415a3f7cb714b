// The @anthropic-ai/sdk package, in front of a backend of its own dialect and of the other one.

import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';

import { MODELS, PIXEL, scenario } from './harness.mjs';

const ask = (text = 'Say something.') => [{ role: 'user', content: text }];

const tools = [
  {
    name: 'get_weather',
    description: 'The weather of a city.',
    input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
];

const client = (gateway, options = {}) =>
  new Anthropic({ baseURL: gateway.url, apiKey: 'client-key', maxRetries: 0, timeout: 10_000, ...options });

const send = (gateway, asked) => client(gateway).messages.create({ max_tokens: 100, messages: ask(), ...asked });
const stream = (gateway, asked) => client(gateway).messages.stream({ max_tokens: 100, messages: ask(), ...asked });

const used = (message) => message.content.filter((block) => block.type === 'tool_use');

for (const [where, model, modelTools] of [
  ['in its own dialect', MODELS.claude, MODELS.claudeTools],
  ['across to the other dialect', MODELS.gpt, MODELS.gptTools],
]) {
  scenario(`a message ${where}`, async ({ gateway }) => {
    const message = await send(gateway, { model });
    assert.equal(message.type, 'message');
    assert.ok(message.content[0].text);
    assert.equal(message.stop_reason, 'end_turn');
    assert.ok(message.usage.input_tokens > 0);
  });

  scenario(`a stream ${where}`, async ({ gateway }) => {
    const whole = await send(gateway, { model });
    const pieces = [];
    const message = await stream(gateway, { model })
      .on('text', (text) => pieces.push(text))
      .finalMessage();
    assert.ok(pieces.length > 1);
    assert.equal(pieces.join(''), whole.content[0].text);
    assert.equal(message.stop_reason, 'end_turn');
    assert.equal(message.usage.output_tokens, whole.usage.output_tokens);
  });

  scenario(`parallel tool use ${where}`, async ({ gateway }) => {
    const whole = await send(gateway, { model: modelTools, tools });
    const streamed = await stream(gateway, { model: modelTools, tools }).finalMessage();
    assert.equal(whole.stop_reason, 'tool_use');
    assert.equal(used(whole).length, 2);
    assert.deepEqual(used(streamed).map((block) => block.input), used(whole).map((block) => block.input));
  });

  scenario(`a tool result ${where}`, async ({ gateway }) => {
    const message = await send(gateway, { model: modelTools, tools });
    const results = used(message).map((block) => ({ type: 'tool_result', tool_use_id: block.id, content: '18' }));
    const messages = [...ask(), { role: 'assistant', content: message.content }, { role: 'user', content: results }];
    assert.ok((await send(gateway, { model, messages, tools })).content[0].text);
  });

  scenario(`an image ${where}`, async ({ gateway }) => {
    const source = { type: 'base64', media_type: 'image/png', data: PIXEL };
    const content = [{ type: 'image', source }, { type: 'text', text: 'What is it?' }];
    assert.ok((await send(gateway, { model, messages: [{ role: 'user', content }] })).content[0].text);
  });
}

scenario('thinking keeps its signature', async ({ gateway }) => {
  const asked = { model: MODELS.claudeThinking, max_tokens: 2048, thinking: { type: 'enabled', budget_tokens: 1024 } };
  const whole = await send(gateway, asked);
  const streamed = await stream(gateway, asked).finalMessage();
  assert.equal(whole.content[0].type, 'thinking');
  assert.ok(whole.content[0].signature);
  assert.equal(streamed.content[0].signature, whole.content[0].signature);
});

scenario('tokens are counted', async ({ gateway }) => {
  const counted = await client(gateway).messages.countTokens({ model: MODELS.claude, messages: ask() });
  assert.ok(counted.input_tokens > 0);
});

scenario('errors have their classes', async ({ gateway }) => {
  await assert.rejects(send(gateway, { model: undefined }), Anthropic.BadRequestError);
  await assert.rejects(send(gateway, { model: MODELS.claudeRefused }), Anthropic.AuthenticationError);
  await assert.rejects(send(gateway, { model: MODELS.claudeLimited }), Anthropic.RateLimitError);
  await assert.rejects(send(gateway, { model: MODELS.claudeFailing }), Anthropic.InternalServerError);
  await assert.rejects(send(gateway, { model: 'no-such-model' }), (error) => {
    assert.ok(error instanceof Anthropic.NotFoundError);
    assert.match(error.message, new RegExp(MODELS.claude));
    assert.equal(error.error.error.type, 'not_found_error');
    return true;
  });
});

scenario('a stream that breaks is an error', async ({ gateway }) => {
  const pieces = [];
  const broken = stream(gateway, { model: MODELS.claudeCut }).on('text', (text) => pieces.push(text));
  await assert.rejects(broken.finalMessage(), Anthropic.AnthropicError);
  assert.ok(pieces.length > 0);
});
