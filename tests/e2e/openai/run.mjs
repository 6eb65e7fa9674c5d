// SPDX-License-Identifier: Apache-2.0
// run.mjs - the reference client against llmosd, as TAP:  node run.mjs BASE_URL MODEL [openai-openapi.json]
// With the third argument every body and every chunk is also checked against the published schema.
import fs from 'node:fs';
import Ajv from 'ajv/dist/2020.js';
import OpenAI from 'openai';

const [base, model, specPath] = process.argv.slice(2);
const tests = [];
const test = (name, run) => tests.push({ name, run });

function check(claim, what) {
    if (!claim)
        throw new Error(what);
}

// --- the schema ---------------------------------------------------------------------------------

// "nullable" is OpenAPI 3.0's word, "discriminator" is no validation: ajv wants plain JSON schema.
function plain(v) {
    if (Array.isArray(v))
        return v.map(plain);
    if (!v || typeof v !== 'object')
        return v;
    const { nullable, discriminator, ...rest } = v;
    const out = Object.fromEntries(Object.entries(rest).map(([k, x]) => [k, plain(x)]));
    return nullable ? { anyOf: [out, { type: 'null' }] } : out;
}

let ajv;
if (specPath) {
    ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
    ajv.addSchema({ $id: 'spec', ...plain(JSON.parse(fs.readFileSync(specPath, 'utf8'))) });
}
let validated = 0;

function conforms(name, value) {
    if (!ajv)
        return;
    const validate = ajv.getSchema(`spec#/components/schemas/${name}`);
    check(validate, `the specification has no ${name}`);
    validated++;
    check(validate(value), `${name}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value).slice(0, 400)}`);
}

// --- what is asked ------------------------------------------------------------------------------

const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'none', maxRetries: 0 });
const messages = [{ role: 'user', content: 'Hello' }];

async function raw(path, body) {
    const r = await fetch(base + path, body === undefined
        ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    return { status: r.status, headers: r.headers, text: await r.text() };
}

function events(text) {
    const all = text.split('\n\n').filter((e) => e.length).map((e) => {
        check(e.startsWith('data: '), `an event does not begin with "data: ": ${e}`);
        return e.slice(6);
    });
    check(all.pop() === '[DONE]', 'the stream does not end with [DONE]');
    return all.map((e) => JSON.parse(e));
}

test('models are listed and found', async () => {
    const list = await client.models.list();
    check(list.data.some((m) => m.id === model), `${model} is not in the list`);
    check((await client.models.retrieve(model)).id === model, 'retrieve found another model');
    conforms('ListModelsResponse', JSON.parse((await raw('/v1/models')).text));
    conforms('Model', JSON.parse((await raw(`/v1/models/${encodeURIComponent(model)}`)).text));
});

test('chat answers', async () => {
    const { data, response } = await client.chat.completions
        .create({ model, messages, max_tokens: 8, seed: 1 }).withResponse();
    check(data.choices[0].message.role === 'assistant', 'no assistant');
    check(data.usage.total_tokens === data.usage.prompt_tokens + data.usage.completion_tokens, 'usage does not add up');
    check(response.headers.get('x-request-id'), 'no x-request-id');
});

test('the same seed gives the same answer', async () => {
    const ask = () => client.chat.completions.create({ model, messages, max_tokens: 12, seed: 42, temperature: 1.5 });
    check((await ask()).choices[0].message.content === (await ask()).choices[0].message.content, 'two answers differ');
});

test('every body satisfies the schema', async () => {
    const chat = { model, messages, max_tokens: 6 };
    for (const more of [{}, { n: 2 }, { logprobs: true, top_logprobs: 3 }, { stop: ['e', 'a'] }, { logit_bias: { 5: -100 } },
                        { temperature: 0 }, { top_k: 5, min_p: 0.1, repeat_penalty: 1.1, user: 'u' }]) {
        const r = await raw('/v1/chat/completions', { ...chat, ...more });
        check(r.status === 200, `${JSON.stringify(more)}: ${r.text}`);
        conforms('CreateChatCompletionResponse', JSON.parse(r.text));
    }
    for (const more of [{}, { n: 2, best_of: 3 }, { logprobs: 2 }, { echo: true }, { prompt: ['a', 'b'] }, { prompt: [5, 6] },
                        { prompt: [[5], [6, 7]] }]) {
        const r = await raw('/v1/completions', { model, prompt: 'Once', max_tokens: 6, ...more });
        check(r.status === 200, `${JSON.stringify(more)}: ${r.text}`);
        conforms('CreateCompletionResponse', JSON.parse(r.text));
    }
});

test('every chunk satisfies the schema', async () => {
    for (const more of [{}, { n: 2 }, { logprobs: true, top_logprobs: 2 }, { stream_options: { include_usage: true } }]) {
        const r = await raw('/v1/chat/completions', { model, messages, max_tokens: 6, stream: true, ...more });
        const chunks = events(r.text);
        check(new Set(chunks.map((c) => c.id)).size === 1, 'chunks have several ids');
        chunks.forEach((c) => conforms('CreateChatCompletionStreamResponse', c));
        check(!!chunks.at(-1).usage === !!more.stream_options, 'usage is where it should not be, or missing');
    }
    const r = await raw('/v1/completions', { model, prompt: 'Once', max_tokens: 6, stream: true, logprobs: 1 });
    // The schema describes whole completions only; in a stream null means "not the end", there as here.
    events(r.text).forEach((c, i, all) => {
        check((c.choices[0].finish_reason === null) === (i < all.length - 1), 'finish_reason is not at the end');
        conforms('CreateCompletionResponse', { ...c, choices: c.choices.map((x) => ({ ...x, finish_reason: x.finish_reason ?? 'stop' })) });
    });
});

test('a stream gives the same text as a whole answer', async () => {
    const common = { model, messages, max_tokens: 24, seed: 3, temperature: 1 };
    const whole = await client.chat.completions.create(common);
    const stream = await client.chat.completions.create({ ...common, stream: true, stream_options: { include_usage: true } });
    let text = '', usage, finish;
    for await (const chunk of stream) {
        text += chunk.choices[0]?.delta?.content ?? '';
        finish = chunk.choices[0]?.finish_reason ?? finish;
        usage = chunk.usage ?? usage;
    }
    check(text === whole.choices[0].message.content, `"${text}" is not "${whole.choices[0].message.content}"`);
    check(finish === whole.choices[0].finish_reason, `finish is ${finish}`);
    check(usage.completion_tokens === whole.usage.completion_tokens, 'usage differs');
});

test('an answer has the form that was asked for', async () => {
    const schema = { type: 'object', properties: { city: { enum: ['Rome', 'Oslo'] }, year: { type: 'integer', minimum: 1000, maximum: 1999 } },
                     required: ['city', 'year'], additionalProperties: false };
    const format = (s) => ({ type: 'json_schema', json_schema: { name: 'city', strict: true, schema: s } });
    const refusal = async (more) => {
        try {
            await client.chat.completions.create({ model, messages, ...more });
        } catch (e) {
            return `${e.status} ${e.message}`;
        }
        return 'none';
    };
    for (const seed of [1, 2, 3]) {
        const a = await client.chat.completions.create({ model, messages, seed, max_tokens: 400, response_format: format(schema) });
        const said = JSON.parse(a.choices[0].message.content);
        check(a.choices[0].finish_reason === 'stop', 'it was cut');
        check(['Rome', 'Oslo'].includes(said.city) && said.year >= 1000 && said.year <= 1999, a.choices[0].message.content);
        const choice = await client.chat.completions.create({ model, messages, seed, guided_choice: ['yes', 'no'] });
        check(['yes', 'no'].includes(choice.choices[0].message.content), choice.choices[0].message.content);
    }
    check(/^400 .*keyword 'unevaluatedProperties' at '#'/.test(await refusal({ response_format: format({ unevaluatedProperties: { type: 'string' } }) })), 'a schema is not refused');
    check(/^400 .*rule 'x' is not defined/.test(await refusal({ grammar: 'root ::= x' })), 'a grammar is not refused');
});

test('functions are called and answered', async () => {
    const parameters = { type: 'object', properties: { city: { enum: ['Rome', 'Oslo'] }, days: { type: 'integer', minimum: 1, maximum: 9 } },
                         required: ['city', 'days'], additionalProperties: false };
    const tools = [{ type: 'function', function: { name: 'weather', description: 'of a city', strict: true, parameters } }];
    const common = { model, messages, tools, tool_choice: 'required', parallel_tool_calls: false, max_tokens: 600, seed: 5 };
    const checkCall = (choice) => {
        const [call, ...more] = choice.message.tool_calls;
        const said = JSON.parse(call.function.arguments);
        check(more.length === 0 && call.type === 'function' && call.function.name === 'weather' && call.id, JSON.stringify(call));
        check(['Rome', 'Oslo'].includes(said.city) && said.days >= 1 && said.days <= 9, call.function.arguments);
        check(choice.finish_reason === 'tool_calls' && choice.message.content === null, JSON.stringify(choice));
        return call;
    };
    const whole = await raw('/v1/chat/completions', common);
    conforms('CreateChatCompletionResponse', JSON.parse(whole.text));
    const call = checkCall(JSON.parse(whole.text).choices[0]);
    events((await raw('/v1/chat/completions', { ...common, stream: true, logprobs: true })).text)
        .forEach((c) => conforms('CreateChatCompletionStreamResponse', c));
    /* The client's own way to put a stream together. */
    const streamed = checkCall((await client.chat.completions.stream(common).finalChatCompletion()).choices[0]);
    check(streamed.function.arguments === call.function.arguments, 'a stream calls otherwise');
    /* Its own way to call functions, once for a named one; and a conversation in which that has happened. */
    const called = [];
    await client.chat.completions.runTools({ ...common, tool_choice: { type: 'function', function: { name: 'weather' } },
        tools: [{ type: 'function', function: { ...tools[0].function, function: (a) => { called.push(a.city); return 'sun'; }, parse: JSON.parse } }] }).done();
    check(called.length === 1 && ['Rome', 'Oslo'].includes(called[0]), `called for ${called}`);
    const { tool_choice, ...free } = common;
    const words = await client.chat.completions.create({ ...free, max_tokens: 4, messages: [...messages,
        { role: 'assistant', content: null, tool_calls: [call] }, { role: 'tool', tool_call_id: call.id, content: 'rain' }] });
    check(words.choices[0].finish_reason === 'length' && words.usage.prompt_tokens > 100, JSON.stringify(words));
});

test('errors are typed', async () => {
    const fails = async (body, type, code) => {
        try {
            await client.chat.completions.create(body);
        } catch (e) {
            check(e instanceof type, `${e.constructor.name} is not ${type.name}: ${e.message}`);
            check(code === undefined || e.code === code, `code is ${e.code}, not ${code}`);
            return;
        }
        throw new Error(`no error for ${JSON.stringify(body)}`);
    };
    await fails({ model: 'no-such-model', messages }, OpenAI.NotFoundError, 'model_not_found');
    await fails({ model, messages: [] }, OpenAI.BadRequestError);
    await fails({ model, messages, temperature: 3 }, OpenAI.BadRequestError);
    await fails({ model, messages, functions: [{ name: 'f' }] }, OpenAI.BadRequestError, 'unsupported_parameter');
    await fails({ model, messages: [{ role: 'user', content: 'long '.repeat(20000) }] }, OpenAI.BadRequestError,
                'context_length_exceeded');
    for (const [path, body] of [['/v1/chat/completions', {}], ['/nothing', {}], ['/v1/models/none', undefined],
                                ['/v1/completions', { model, prompt: '' }]]) {
        const r = await raw(path, body);
        check(r.status >= 400, `${path} is ${r.status}`);
        conforms('ErrorResponse', JSON.parse(r.text));
    }
});

test('a stream that is aborted stops the work', async () => {
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 100000, stream: true,
                                                          ignore_eos: true });
    for await (const chunk of stream)
        if (chunk.choices[0]?.delta?.content)
            break;
    stream.controller.abort();
    for (let i = 0; ; i++) {
        const metrics = (await raw('/metrics')).text;
        if (metrics.includes(`llmos_sequences_in_flight{model="${model}"} 0\n`))
            break;
        check(i < 200, 'the sequence is still in flight');
        await new Promise((r) => setTimeout(r, 10));
    }
});

test('twenty clients at once', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) =>
        client.chat.completions.create({ model, messages, max_tokens: 8, seed: i % 2, temperature: 1 })));
    for (let i = 2; i < 20; i++)
        check(all[i].choices[0].message.content === all[i % 2].choices[0].message.content, 'answers depend on their neighbours');
});

console.log(`1..${tests.length}`);
let failed = 0;
for (const [i, t] of tests.entries()) {
    try {
        await t.run();
        console.log(`ok ${i + 1} - ${t.name}`);
    } catch (e) {
        failed++;
        console.log(`# ${String(e.message).replaceAll('\n', '\n# ')}\nnot ok ${i + 1} - ${t.name}`);
    }
}
console.log(`# ${validated} bodies and chunks were checked against the specification`);
process.exit(failed ? 1 : 0);
