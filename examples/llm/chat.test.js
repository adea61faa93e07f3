// Calls an LLM API through the gateway with the vendor's own SDK. GATEWAY is the gateway's
// address; APP_KEY the key that this application has for it. It has no other.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";

const { GATEWAY = "http://127.0.0.1:8080", APP_KEY } = process.env;
assert.ok(APP_KEY, "APP_KEY is not set; take it from example.env");

const client = (apiKey) => new OpenAI({ apiKey, baseURL: `${GATEWAY}/v1`, maxRetries: 0, timeout: 10_000 });
const openai = client(APP_KEY);
const model = "gpt-fake";
const messages = [{ role: "user", content: "streams pass through the gateway untouched" }];

test("models are listed", async () => {
  const ids = [];
  for await (const m of openai.models.list()) ids.push(m.id);
  assert.deepEqual(ids, [model]);
});

test("a completion comes back whole", async () => {
  const done = await openai.chat.completions.create({ model, messages });
  assert.equal(done.choices[0].message.content, messages[0].content);
  assert.equal(done.usage.completion_tokens, 6);
});

test("a streamed completion comes word by word, as the vendor sends it", async () => {
  const stream = await openai.chat.completions.create({
    model, messages, stream: true, stream_options: { include_usage: true },
  });
  const words = [], times = [];
  let finish, usage;
  for await (const chunk of stream) {
    const delta = chunk.choices[0]?.delta?.content;
    if (delta) { words.push(delta); times.push(performance.now()); }
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  assert.equal(words.join(""), messages[0].content);
  assert.equal(words.length, 6);
  assert.equal(finish, "stop");
  assert.equal(usage.completion_tokens, 6);
  // the vendor pauses before each word; a gateway that buffers would deliver all at once
  assert.ok(times.at(-1) - times[0] > 100, `all words came within ${times.at(-1) - times[0]} ms`);
});

test("a stream can be left early", async () => {
  const stream = await openai.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta?.content) break;
  }
  const done = await openai.chat.completions.create({ model, messages });
  assert.equal(done.choices[0].finish_reason, "stop");
});

test("a model that no rule allows is refused by the gateway", async () => {
  await assert.rejects(openai.chat.completions.create({ model: "gpt-expensive", messages }), (err) => {
    assert.ok(err instanceof OpenAI.PermissionDeniedError, String(err));
    assert.equal(err.headers.get("rr-proxy-code"), "proxy-access-denied");
    return true;
  });
});

test("an endpoint that no rule allows is refused by the gateway", async () => {
  await assert.rejects(openai.embeddings.create({ model, input: "x" }), OpenAI.PermissionDeniedError);
});

test("an error of the vendor reaches the caller as it is", async () => {
  await assert.rejects(openai.models.retrieve("other"), (err) => {
    assert.ok(err instanceof OpenAI.NotFoundError, String(err));
    assert.equal(err.code, "model_not_found");
    assert.equal(err.headers.get("rr-proxy-code"), "proxy-access-granted");
    return true;
  });
});

test("another key is refused by the gateway", async () => {
  await assert.rejects(client("vendor-demo-key-0815").models.list(), (err) => {
    assert.ok(err instanceof OpenAI.AuthenticationError, String(err));
    assert.equal(err.headers.get("rr-proxy-code"), "proxy-access-denied");
    return true;
  });
});
