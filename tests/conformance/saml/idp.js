// A real SAML 2.0 identity provider (samlp) for the tests: asks for a name, signs response and
// assertion for whoever gives one. Key and certificate come from files; prints its address.
import fs from 'node:fs';
import zlib from 'node:zlib';
import express from 'express';
import samlp from 'samlp';

const GROUPS = { ann: ['dba'], bot: ['agents'], eve: ['agents'] };
const { PORT, KEY, CERT, ACS } = process.env;
const issuer = `http://localhost:${PORT}/idp`;
const cert = fs.readFileSync(CERT);
const key = fs.readFileSync(KEY);

class Profile {
  constructor(user) { this.user = user; }
  getClaims() { return { groups: GROUPS[this.user.id] ?? [], mail: `${this.user.id}@example.com` }; }
  getNameIdentifier() { return { nameIdentifier: this.user.id }; }
}
Profile.prototype.metadata = [];
const profileMapper = (user) => new Profile(user);
profileMapper.prototype = Profile.prototype;

const app = express();
app.use(express.urlencoded({ extended: false }));
app.get('/metadata', samlp.metadata({
  issuer, cert, profileMapper, redirectEndpointPath: '/sso', postEndpointPath: '/sso',
}));
const auth = (req, res, next) => samlp.auth({
  issuer,
  cert,
  key,
  profileMapper,
  signResponse: true,
  signAssertion: true,
  destination: ACS,
  recipient: ACS,
  lifetimeInSeconds: 300,
  sessionIndex: 's-1',
  getUserFromRequest: () => ({ id: req.body.login }),
  getPostURL: (_audience, _request, _req, done) => done(null, ACS),
})(req, res, next);

const escape = (text) => String(text ?? '').replace(/[^A-Za-z0-9+/=]/g, (c) => `&#${c.charCodeAt(0)};`);
const ask = (request) => `<!doctype html><title>IdP</title><form method="post" action="/login">
<input type="hidden" name="SAMLRequest" value="${escape(request)}">
<input name="login"><button>Log in</button></form>`;
const inflated = (text) => zlib.inflateRawSync(Buffer.from(text, 'base64')).toString('base64');
app.get('/sso', (req, res) => res.send(ask(inflated(req.query.SAMLRequest))));
app.post('/sso', (req, res) => res.send(ask(req.body.SAMLRequest)));
app.post('/login', auth);
app.listen(Number(PORT), '127.0.0.1', () => console.log(`http://localhost:${PORT}`));
