// A certified OpenID provider as a process of its own, for tests: it signs access tokens
// by client_credentials, and its keys can be rotated while it runs.
//
// Environment:
//   PORT         where it listens, on 127.0.0.1; its issuer is http://127.0.0.1:PORT
//   KEYS         a file with its private keys, made when it is not there: a provider that
//                is started again has the keys that it had
//   CLIENT_JWKS  the public key set of the client gateway-jwt, in JSON (optional)
//   TLS_PORT     where it listens over https too, as another issuer (optional), with the
//                certificate TLS_CERT, its key TLS_KEY, and TLS_CA for clients' certificates
//   CERTIFICATE_JWKS  the key set of the client gateway-selfsigned, in JSON (optional)
//
// It writes "ready <issuer>" when it answers, and ends on SIGTERM.
//
// Clients: "caller" gets tokens; "gateway-basic", "gateway-post", "gateway-hmac" and
// "gateway-jwt" get them too and may introspect them, each with another authentication. Over
// https also "gateway-tls", whose certificate has its name, and "gateway-selfsigned". All
// secrets are the name with "-secret-0123456789abcdef0123456789abcdef" behind it.
// "browser" and "browser-public", which has no secret, send people to log in and come back
// to https://gateway.example/back; every use of their refresh tokens gives another one.
//
// A resource https://api.example/<algorithm> has tokens that are JWTs (RFC 9068) with
// that signature; without a resource a token is opaque.
//
// For tests, beside what the provider itself offers:
//   POST /test/rotate  new keys sign, the old ones stay in the key set
//   POST /test/retire  only the newest keys stay in the key set
//   POST /test/cache   ?value=<Cache-Control of the key set>; none at first
//   POST /test/expire  no access token is good any more
//   GET  /test/state   {"generation": 1, "requests": {"/jwks": 2, …}}

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { Provider } from 'oidc-provider';


const port = Number(process.env.PORT);
const issuer = `http://127.0.0.1:${port}`;
const scopes = 'read write';
const resources = 'https://api.example/';

// What a key of each algorithm is made of.
const algorithms = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};

// The keys, newest generation first: the provider signs with the first that fits.
let generations = process.env.KEYS && existsSync(process.env.KEYS)
  ? JSON.parse(readFileSync(process.env.KEYS, 'utf8'))
  : [generate(1)];
save();

function generate(number) {
  const keys = Object.entries(algorithms).map(([alg, [type, options]]) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${number}` };
  });
  return { number, keys };
}

function save() {
  if (process.env.KEYS) writeFileSync(process.env.KEYS, JSON.stringify(generations), { mode: 0o600 });
}

function client(id, authentication, more = {}) {
  return {
    client_id: id,
    client_secret: `${id}-secret-0123456789abcdef0123456789abcdef`,
    token_endpoint_auth_method: authentication,
    grant_types: ['client_credentials'],
    scope: scopes,
    redirect_uris: [],
    response_types: [],
    ...more,
  };
}

const passwords = ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none'];

const clients = [
  client('caller', 'client_secret_basic'),
  client('gateway-basic', 'client_secret_basic'),
  client('gateway-post', 'client_secret_post'),
  client('gateway-hmac', 'client_secret_jwt'),
  browser('browser', 'client_secret_basic'),
  browser('browser-public', 'none', { client_secret: undefined }),
];
if (process.env.CLIENT_JWKS) {
  clients.push(client('gateway-jwt', 'private_key_jwt', {
    client_secret: undefined,
    jwks: JSON.parse(process.env.CLIENT_JWKS),
  }));
}

const secureClients = [
  client('gateway-tls', 'tls_client_auth', { client_secret: undefined, tls_client_auth_san_dns: 'gateway-tls' }),
];
if (process.env.CERTIFICATE_JWKS) {
  secureClients.push(client('gateway-selfsigned', 'self_signed_tls_client_auth', {
    client_secret: undefined,
    jwks: JSON.parse(process.env.CERTIFICATE_JWKS),
  }));
}

function browser(id, authentication, more = {}) {
  return client(id, authentication, {
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: ['https://gateway.example/back'],
    scope: `${scopes} offline_access`,
    ...more,
  });
}

// Tokens and replay marks outlive a rotation, so they are not the provider's own.
const records = new Map();

class Memory {
  constructor(name) { this.name = name; }

  async upsert(id, payload) { records.set(`${this.name}:${id}`, payload); }

  async find(id) { return records.get(`${this.name}:${id}`); }

  async findByUid(uid) {
    return [...records].find(([key, payload]) => key.startsWith(`${this.name}:`) && payload.uid === uid)?.[1];
  }

  async consume(id) { Object.assign(await this.find(id), { consumed: true }); }

  async destroy(id) { records.delete(`${this.name}:${id}`); }

  async revokeByGrantId(grantId) {
    records.forEach((payload, key) => { if (payload.grantId === grantId) records.delete(key); });
  }
}

function build(name = issuer, known = clients, methods = passwords, features = {}) {
  return new Provider(name, {
    clientAuthMethods: methods,
    adapter: Memory,
    clients: known,
    jwks: { keys: generations.flatMap((generation) => generation.keys) },
    scopes: [...scopes.split(' '), 'offline_access'],
    ttl: { ClientCredentials: 300, AccessToken: 300 },
    cookies: { keys: ['only for tests'] },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    rotateRefreshToken: true,
    features: {
      devInteractions: { enabled: true },
      ...features,
      clientCredentials: { enabled: true },
      dPoP: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_ctx, resource) => ({
          audience: resource,
          scope: scopes,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithmOf(resource) } },
        }),
      },
    },
  });
}

function algorithmOf(resource) {
  const alg = resource.startsWith(resources) ? resource.slice(resources.length) : '';
  return alg in algorithms ? alg : 'RS256';
}

let provider = build();
let answer = provider.callback();
let cacheControl = '';
const requests = {};

function control(url) {
  switch (url.pathname) {
    case '/test/rotate':
      generations = [generate(generations[0].number + 1), ...generations];
      break;
    case '/test/retire':
      generations = generations.slice(0, 1);
      break;
    case '/test/expire':
      records.forEach((_payload, key) => { if (/^(AccessToken|ClientCredentials):/.test(key)) records.delete(key); });
      return;
    case '/test/cache':
      cacheControl = url.searchParams.get('value');
      return;
    default:
      return;
  }
  save();
  provider = build();
  answer = provider.callback();
}

const server = createServer((req, res) => {
  const url = new URL(req.url, issuer);
  if (url.pathname.startsWith('/test/')) {
    if (req.method === 'POST') control(url);
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ generation: generations[0].number, requests }));
    return;
  }
  requests[url.pathname] = (requests[url.pathname] ?? 0) + 1;
  if (cacheControl && url.pathname === '/jwks') res.setHeader('Cache-Control', cacheControl);
  answer(req, res);
});

// What the provider wants to know of a client's certificate.
const certificates = {
  mTLS: {
    enabled: true,
    tlsClientAuth: true,
    selfSignedTlsClientAuth: true,
    getCertificate: ({ req }) => {
      const { raw } = req.socket.getPeerCertificate();
      return raw && `-----BEGIN CERTIFICATE-----\n${raw.toString('base64')}\n-----END CERTIFICATE-----\n`;
    },
    certificateAuthorized: ({ req }) => req.socket.authorized,
    certificateSubjectMatches: ({ req }, property, expected) => property === 'tls_client_auth_san_dns'
      && (req.socket.getPeerCertificate().subjectaltname ?? '').split(', ').includes(`DNS:${expected}`),
  },
};

const servers = [server];
if (process.env.TLS_PORT) {
  const secure = build(`https://127.0.0.1:${process.env.TLS_PORT}`, secureClients, ['tls_client_auth', 'self_signed_tls_client_auth'], certificates);
  servers.push(createSecureServer({
    cert: readFileSync(process.env.TLS_CERT),
    key: readFileSync(process.env.TLS_KEY),
    ca: readFileSync(process.env.TLS_CA),
    requestCert: true,
    rejectUnauthorized: false, // that is for the provider to judge
  }, secure.callback()));
  servers[1].listen(Number(process.env.TLS_PORT), '127.0.0.1', listen);
} else {
  listen();
}

function listen() {
  server.listen(port, '127.0.0.1', () => console.log(`ready ${issuer}`));
}

process.on('SIGTERM', () => {
  servers.forEach((one) => {
    one.closeAllConnections();
    one.close(() => { if (servers.every(({ listening }) => !listening)) process.exit(0); });
  });
});
