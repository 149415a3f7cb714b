// The ai package with its OpenAI provider, which speaks Responses by default and Chat when asked.

import assert from 'node:assert/strict';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, Output, embed, embedMany, generateObject, generateText, isStepCount, streamText, tool } from 'ai';
import { z } from 'zod';

import { MODELS, scenario } from './harness.mjs';

const prompt = 'Say something.';
const provider = (gateway) => createOpenAI({ baseURL: gateway.openaiUrl, apiKey: 'client-key' });
const weather = () =>
  tool({
    description: 'The weather of a city.',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `18 degrees in ${city}`,
  });

async function pieces(stream) {
  const found = [];
  for await (const piece of stream) found.push(piece);
  return found;
}

for (const [api, model] of [
  ['chat', (gateway) => provider(gateway).chat(MODELS.gpt)],
  ['responses', (gateway) => provider(gateway).responses(MODELS.gpt)],
  ['chat across to the other dialect', (gateway) => provider(gateway).chat(MODELS.claude)],
]) {
  scenario(`text by ${api}`, async ({ gateway }) => {
    const { text, usage } = await generateText({ model: model(gateway), prompt, maxRetries: 0 });
    assert.ok(text);
    assert.ok(usage.inputTokens > 0);
    const streamed = streamText({ model: model(gateway), prompt, maxRetries: 0 });
    const found = await pieces(streamed.textStream);
    assert.ok(found.length > 1);
    assert.equal(found.join(''), text);
  });
}

scenario('tools run until there is an answer', async ({ gateway, mock }) => {
  const { steps, text } = await generateText({
    model: provider(gateway).chat(MODELS.gptTool),
    prompt,
    tools: { get_weather: weather() },
    stopWhen: isStepCount(3),
    maxRetries: 0,
  });
  assert.equal(steps[0].toolCalls[0].toolName, 'get_weather');
  assert.ok(steps.length >= 2, text);
  assert.ok((await mock.requests()).at(-1).json.messages.some((message) => message.role === 'tool'));
});

const schema = z.object({ city: z.string(), degrees: z.number() });

scenario('an object', async ({ gateway }) => {
  const { object } = await generateObject({ model: provider(gateway).chat(MODELS.gptJson), schema, prompt });
  assert.equal(typeof object.city, 'string');
});

scenario('an object as output of text', async ({ gateway }) => {
  const output = Output.object({ schema });
  const result = await generateText({ model: provider(gateway).chat(MODELS.gptJson), output, prompt });
  assert.equal(typeof result.output.degrees, 'number');
});

scenario('embeddings', async ({ gateway }) => {
  const model = provider(gateway).embedding(MODELS.embed);
  const { embedding } = await embed({ model, value: 'one' });
  const { embeddings } = await embedMany({ model, values: ['one', 'two'] });
  assert.ok(embedding.length > 0);
  assert.equal(embeddings.length, 2);
});

scenario('errors tell status and whether to try again', async ({ gateway }) => {
  const rejected = (model) => generateText({ model: provider(gateway).chat(model), prompt, maxRetries: 0 });
  for (const [model, statusCode, isRetryable] of [
    ['no-such-model', 404, false],
    [MODELS.limited, 429, true],
    [MODELS.failing, 500, true],
  ]) {
    await assert.rejects(rejected(model), (error) => {
      assert.ok(APICallError.isInstance(error), String(error));
      assert.deepEqual([error.statusCode, error.isRetryable], [statusCode, isRetryable]);
      return true;
    });
  }
});

scenario('the client tries again', async ({ gateway, mock }) => {
  const { text } = await generateText({ model: provider(gateway).chat(MODELS.flaky), prompt, maxRetries: 2 });
  assert.ok(text);
  assert.equal((await mock.requests()).length, 3);
});
