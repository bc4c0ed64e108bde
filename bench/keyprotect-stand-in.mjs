#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// node keyprotect-stand-in.mjs CERTIFICATE KEY [--port N] [--latency MILLISECONDS] [--token-latency MS]
//
// A stand-in for Key Protect and IAM for measurements: answers after the latency that is asked for,
// and keeps everything in memory. Prints "port N" when it serves. It checks a token and the instance,
// and wraps with AES-GCM, so that what comes back is what was wrapped; faults are the business of
// tests/support/keyprotect.py. Standard input: "latency MILLISECONDS" changes it, "counts" asks for the
// number of each action so far; both are answered by one line of JSON with these numbers.
import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
let latency = option("latency", 20);
const tokenLatency = option("token-latency", latency);
const token = `stand-in.${randomBytes(600).toString("base64url")}.signature`;
const keys = new Map();
const counts = { wrap: 0, unwrap: 0, rewrap: 0 };
const KEY = "application/vnd.ibm.kms.key+json";

const envelope = (resources, more = {}) => ({
  metadata: { collectionType: KEY, collectionTotal: resources.length, ...more },
  resources,
});

const refusal = (status, code) => [
  status,
  {
    metadata: { collectionType: "application/vnd.ibm.kms.error+json", collectionTotal: 1 },
    resources: [{ errorMsg: `Error (${code})`, reasons: [{ code, message: code, status }] }],
  },
];

const said = (key) => ({
  type: KEY, id: key.id, name: key.name, description: key.description, state: key.state,
  extractable: key.extractable, creationDate: key.created, imported: false,
  ...(key.extractable ? {} : { keyVersion: { id: key.versions.at(-1).id } }),
});

const seal = (key, plaintext, aad) => {
  const { id, material } = key.versions.at(-1);
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", material, iv);
  cipher.setAAD(Buffer.from(JSON.stringify(aad ?? [])));
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  const outer = { ciphertext: sealed.toString("base64"), iv: iv.toString("base64"), version: "4.0.0", handle: id };
  return { ciphertext: Buffer.from(JSON.stringify(outer)).toString("base64"), keyVersion: { id } };
};

const open = (key, ciphertext, aad) => {
  const outer = JSON.parse(Buffer.from(ciphertext, "base64"));
  const version = key.versions.find((one) => one.id === outer.handle);
  const sealed = Buffer.from(outer.ciphertext, "base64");
  const cipher = createDecipheriv("aes-256-gcm", version.material, Buffer.from(outer.iv, "base64"));
  cipher.setAAD(Buffer.from(JSON.stringify(aad ?? [])));
  cipher.setAuthTag(sealed.subarray(-16));
  return [version.id, Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()])];
};

const actions = {
  wrap: (key, body) => [200, seal(key, Buffer.from(body.plaintext, "base64"), body.aad)],
  unwrap: (key, body) => {
    const [id, plaintext] = open(key, body.ciphertext, body.aad);
    const answer = { plaintext: plaintext.toString("base64"), keyVersion: { id } };
    if (id !== key.versions.at(-1).id) {
      const newer = seal(key, plaintext, body.aad);
      Object.assign(answer, { ciphertext: newer.ciphertext, rewrappedKeyVersion: newer.keyVersion });
    }
    return [200, answer];
  },
  rewrap: (key, body) => {
    const [id, plaintext] = open(key, body.ciphertext, body.aad);
    const newer = seal(key, plaintext, body.aad);
    return [200, { ciphertext: newer.ciphertext, keyVersion: { id }, rewrappedKeyVersion: newer.keyVersion }];
  },
  rotate: (key) => {
    key.versions.push({ id: randomUUID(), material: randomBytes(32) });
    return [204];
  },
  disable: (key) => ((key.state = 2), [204]),
  enable: (key) => ((key.state = 1), [204]),
};

const create = (body) => {
  const [wish] = body.resources;
  const id = randomUUID();
  const key = {
    id, name: wish.name, description: wish.description, extractable: wish.extractable, state: 1,
    created: new Date().toISOString().replace(/\.\d+/, ""), payload: wish.payload,
    versions: [{ id, material: randomBytes(32) }],
  };
  keys.set(id, key);
  return [201, envelope([said(key)])];
};

const list = (query) => {
  const search = (query.get("search") ?? "").toLowerCase();
  const states = (query.get("state") ?? "0,1,2,3").split(",").map(Number);
  const found = [...keys.values()]
    .filter((key) => (!query.has("extractable") || String(key.extractable) === query.get("extractable"))
      && states.includes(key.state) && key.name.toLowerCase().includes(search))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const start = Number(query.get("offset") ?? 0);
  return [200, envelope(found.slice(start, start + Number(query.get("limit") ?? 200)).map(said))];
};

const byKey = (method, key, rest, body) => {
  if (rest.startsWith("actions/") && method === "POST") {
    if (key.state !== 1) return refusal(409, "KEY_ACTION_INVALID_STATE_ERR");
    const action = rest.slice("actions/".length);
    counts[action] += 1;
    try {
      return actions[action](key, body);
    } catch {
      return refusal(422, "UNPROCESSABLE_CIPHERTEXT_ERR");
    }
  }
  if (method === "DELETE") return ((key.state = 5), [204]);
  if (rest === "versions")
    return [200, envelope([{ id: key.versions.at(-1).id }], { totalCount: key.versions.length })];
  return [200, envelope([{ ...said(key), ...(rest === "" && key.extractable ? { payload: key.payload } : {}) }])];
};

const answer = (request, body) => {
  const url = new URL(request.url, "https://stand-in");
  if (url.pathname.endsWith("/token"))
    return [200, { access_token: token, token_type: "Bearer", expires_in: 3600, expiration: Math.floor(Date.now() / 1000) + 3600 }];
  if (request.headers.authorization !== `Bearer ${token}` || !request.headers["bluemix-instance"])
    return refusal(401, "UNAUTHORIZED_ERR");
  const parsed = body.length > 0 ? JSON.parse(body) : {};
  if (url.pathname === "/api/v2/keys")
    return request.method === "POST" ? create(parsed) : list(url.searchParams);
  const [, , , , id, ...rest] = url.pathname.split("/");
  const key = keys.get(id);
  return key === undefined ? refusal(404, "KEY_NOT_FOUND_ERR") : byKey(request.method, key, rest.join("/"), parsed);
};

const [certificate, key] = process.argv.slice(2);
const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const [status, said] = answer(request, Buffer.concat(parts));
    const delay = request.url.endsWith("/token") ? tokenLatency : latency;
    setTimeout(() => {
      const text = said === undefined ? "" : JSON.stringify(said);
      response.writeHead(status, text ? { "Content-Type": KEY, "Content-Length": Buffer.byteLength(text) } : {});
      response.end(text);
    }, delay);
  });
});
server.keepAliveTimeout = 120000;
server.listen(option("port", 0), "localhost", () => console.log(`port ${server.address().port}`));

createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, value] = line.split(" ");
  if (command === "latency") latency = Number(value);
  console.log(JSON.stringify({ latency, ...counts }));
});
