// SPDX-License-Identifier: Apache-2.0
// IBM's Key Protect client, driven from outside: reads {"operation", "parameters"} a line from
// standard input, calls the client, and writes {"ok", "status", "result", "headers"} or
// {"ok", "status", "body", "message"} a line. The first line is {"url", "apikey"}.
'use strict';

const readline = require('readline');
const KeyProtectV2 = require('@ibm-cloud/ibm-key-protect/ibm-key-protect-api/v2');
const { IamAuthenticator } = require('@ibm-cloud/ibm-key-protect/auth');

async function text(value) {
  // Some operations of this client ask for a stream.
  if (value === null || typeof value !== 'object' || typeof value.pipe !== 'function') return value;
  const parts = [];
  for await (const part of value) parts.push(part);
  const whole = Buffer.concat(parts).toString();
  return whole === '' ? null : JSON.parse(whole);
}

async function call(client, { operation, parameters }) {
  try {
    const answer = await client[operation](parameters);
    return {
      ok: true,
      status: answer.status,
      result: await text(answer.result),
      headers: { ...answer.headers },
    };
  } catch (error) {
    let body = error.body;
    try {
      body = JSON.parse(body);
    } catch {
      // What is no JSON is passed on as it is.
    }
    return { ok: false, status: error.status, body, message: String(error.message) };
  }
}

async function main() {
  let client = null;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (client === null) {
      const authenticator = new IamAuthenticator({ apikey: request.apikey, url: request.url });
      client = new KeyProtectV2({ authenticator, serviceUrl: request.url });
      continue;
    }
    process.stdout.write(`${JSON.stringify(await call(client, request))}\n`);
  }
}

main();
