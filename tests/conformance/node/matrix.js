// Reads the masked matrix with node-postgres' own decoders and prints what each value became.
// Run by tests/conformance/test_mask_matrix.py, which compares it with the other drivers.
import pg from "pg";

function tell(value) {
  if (value === null) return null;
  if (Array.isArray(value)) return ["array", value.map(tell)];
  if (Buffer.isBuffer(value)) return ["bytes", value.toString("hex")];
  if (value instanceof Date) return ["date", value.getTime()];
  if (typeof value === "object") return ["object", value];
  return [typeof value, value];
}

const client = new pg.Client();
await client.connect();
const answers = [];
for (const binary of [false, true]) {
  const text = `select ${binary ? process.argv[3] : process.argv[2]} from matrix.t order by id`;
  const { rows } = await client.query({ text, binary });
  answers.push(rows.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, tell(v)]))));
}
await client.end();
console.log(JSON.stringify(answers));
