// node-postgres unchanged through the gateway. Run by tests/conformance/test_node.py, which sets
// the variables of libpq; the policy is the one of tests/support/sample.py, group agents.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import pg from "pg";
import Cursor from "pg-cursor";

let client;

before(async () => {
  client = new pg.Client();
  await client.connect();
});

after(() => client.end());

test("simple query", async () => {
  const { rows } = await client.query("select id, name from sales.customers where id = 7");
  assert.deepEqual(rows, [{ id: 7, name: "Customer 7" }]);
});

test("several statements in one string", async () => {
  const results = await client.query("select 1 as a; select 2 as b");
  assert.deepEqual(results.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
});

test("parameters", async () => {
  const { rows } = await client.query("select id, amount from sales.orders where id = $1", [3]);
  assert.deepEqual(rows, [{ id: 3, amount: "3.00" }]);
});

test("named statements, used again", async () => {
  const query = { name: "by-id", text: "select id from sales.orders where id = $1" };
  for (let id = 1; id <= 20; id += 1) {
    const { rows } = await client.query({ ...query, values: [id] });
    assert.deepEqual(rows, [{ id }]);
  }
});

test("binary results", async () => {
  const query = { text: "select id, email from sales.customers where id = $1", binary: true };
  const { rows } = await client.query({ ...query, values: [7] });
  assert.deepEqual(rows, [{ id: 7, email: "***@***.***" }]);
});

test("masked columns", async () => {
  const text = "select email, ssn, notes from sales.customers where id = $1";
  const prepared = await client.query({ name: "masked", text, values: [7] });
  const simple = await client.query(text.replace("$1", "7"));
  assert.deepEqual(prepared.rows, simple.rows);
  assert.equal(simple.rows[0].email, "***@***.***");
  assert.equal(simple.rows[0].notes, null);
});

test("cursor", async () => {
  const cursor = client.query(new Cursor("select id from sales.orders order by id"));
  assert.deepEqual((await cursor.read(50)).map((row) => row.id), [...Array(50).keys()].map((n) => n + 1));
  assert.equal((await cursor.read(100)).length, 100);
  assert.equal((await cursor.read(100)).length, 50);
  assert.equal((await cursor.read(100)).length, 0);
  await cursor.close();
});

test("masked cursor, closed early", async () => {
  const cursor = client.query(new Cursor("select email from sales.customers where id > $1", [0]));
  for (const row of await cursor.read(5)) assert.equal(row.email, "***@***.***");
  await cursor.close();
  assert.equal((await client.query("select 1 as one")).rows[0].one, 1);
});

test("transaction", async () => {
  await client.query("begin");
  await client.query("insert into sales.scratch values ($1, $2)", [9100, "node"]);
  await assert.rejects(client.query("select 1 / 0"), { code: "22012" });
  await assert.rejects(client.query("select 1"), { code: "25P02" });
  await client.query("rollback");
  const { rows } = await client.query("select count(*)::int as n from sales.scratch where id = 9100");
  assert.deepEqual(rows, [{ n: 0 }]);
});

test("a refusal carries all that matters in its message", async () => {
  const refused = client.query("select * from sales.salaries where salary > $1", [1]);
  await assert.rejects(refused, (error) => {
    assert.equal(error.code, "42501");
    assert.match(error.message, /^PN301 .*salaries/);
    assert.equal(JSON.parse(error.detail).id, "PN301");
    return true;
  });
  assert.equal((await client.query("select 1 as one")).rows[0].one, 1);
});

test("a named statement that is refused can be sent again", async () => {
  const query = { name: "refused", text: "select * from sales.salaries where salary > $1" };
  await assert.rejects(client.query({ ...query, values: [1] }), { code: "42501" });
  await assert.rejects(client.query({ ...query, values: [2] }), { code: "42501" });
});

test("pool", async () => {
  const pool = new pg.Pool({ max: 4 });
  const ids = [...Array(60).keys()].map((n) => n + 1);
  const found = await Promise.all(
    ids.map((id) => pool.query("select id from sales.orders where id = $1", [id])),
  );
  assert.deepEqual(found.map((result) => result.rows[0].id), ids);
  await pool.end();
});

test("a bad token", async () => {
  const stranger = new pg.Client({ password: "not a token" });
  await assert.rejects(stranger.connect(), { code: "28P01" });
});

test("null, unicode, large values", async () => {
  const text = "grüße 日本 ' \\ \" %";
  const { rows } = await client.query("select $1::text as a, $2::text as b, length($3::text) as c", [
    text, null, "x".repeat(1_000_000),
  ]);
  assert.deepEqual(rows, [{ a: text, b: null, c: 1_000_000 }]);
});
