// SPDX-License-Identifier: Apache-2.0
// IBM's SDK core, driven from outside: reads {"method", "path", "query", "headers", "body"} a line
// from standard input, sends it through BaseService, and writes {"ok", "status", "result"} or
// {"ok", "status", "body", "message"} a line. The first line is {"url", "apikey"}.
'use strict';

const readline = require('readline');
const { BaseService, IamAuthenticator } = require('ibm-cloud-sdk-core');

async function call(service, request) {
  const parameters = {
    options: {
      url: request.path,
      method: request.method,
      qs: request.query || {},
      body: request.body,
    },
    defaultOptions: {
      ...service.baseOptions,
      headers: { Accept: 'application/json', 'Content-Type': 'application/json', ...request.headers },
    },
  };
  try {
    const answer = await service.createRequest(parameters);
    return { ok: true, status: answer.status, result: answer.result };
  } catch (error) {
    let body = error.body || error.result;
    try {
      body = JSON.parse(body);
    } catch {
      // What is no JSON is passed on as it is.
    }
    return { ok: false, status: error.status, body, message: String(error.message) };
  }
}

async function main() {
  let service = null;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (service === null) {
      const authenticator = new IamAuthenticator({ apikey: request.apikey, url: request.url });
      service = new BaseService({ authenticator, serviceUrl: request.url });
      continue;
    }
    process.stdout.write(`${JSON.stringify(await call(service, request))}\n`);
  }
}

main();
