// A real OpenID Connect provider (oidc-provider) for the tests: a public client, two users and,
// with GATEWAY_URL, the gateway's pages as a client with a secret that hears of logouts; keys that are made anew at each start and rotated by POST /rotate. Prints its issuer.
import { generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import { Provider } from 'oidc-provider';

const GROUPS = { ann: ['dba'], bot: ['agents'], eve: ['agents'] };
const port = Number(process.env.PORT);
const issuer = `http://${process.env.HOST ?? '127.0.0.1'}:${port}`;
const gateway = process.env.GATEWAY_URL;
let count = 0;

function makeKey(type) {
  const { privateKey } = type === 'EC'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
  count += 1;
  return { ...privateKey.export({ format: 'jwk' }), kid: `key-${count}`, use: 'sig', alg: type === 'EC' ? 'ES256' : 'RS256' };
}

const WEB = gateway ? [{
  client_id: 'postern-web',
  client_secret: process.env.WEB_SECRET,
  grant_types: ['authorization_code'],
  response_types: ['code'],
  redirect_uris: [`${gateway}/login/callback`],
  backchannel_logout_uri: `${gateway}/login/backchannel`,
  backchannel_logout_session_required: true,
}] : [];

function makeProvider() {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'postern',
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/callback'],
    }, ...WEB],
    claims: { openid: ['sub', 'groups'] },
    conformIdTokenClaims: false,
    cookies: { keys: ['test'] },
    features: {
      backchannelLogout: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
    },
    extraTokenClaims: (_ctx, token) => ({ groups: GROUPS[token.accountId] ?? [] }),
    // Its own fetch calls no address of this host, where the gateway of the tests is.
    fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: () => ({ sub, groups: GROUPS[sub] ?? [] }),
    }),
    jwks: { keys: [makeKey('RSA'), makeKey('EC')] },
    pkce: { required: () => true },
    ttl: { IdToken: 600, DeviceCode: 300, Session: 3600, Interaction: 600, Grant: 3600 },
  });
  return provider.callback();
}

let serve = makeProvider();
http.createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    serve = makeProvider();
    response.end();
    return;
  }
  serve(request, response);
}).listen(port, '127.0.0.1', () => console.log(issuer));
