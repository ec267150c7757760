// AC's service: writes documents if WRITE is a number, and prints a digest of all documents and indexes. URI is the connection string as `ops/secrets`
// wrote it; there is no option of TLS beyond it.
'use strict';

const { MongoClient, BSON } = require("mongodb");
const client = new MongoClient(process.env.URI);
(async () => {
  const db = client.db();
  if (process.env.WRITE) {
    const from = Number(process.env.WRITE);
    const at = (n) => new Date(1700000000000 + n * 1000);
    const names = Array.from({ length: 50 }, (_, n) => from + n);
    await db.collection("users").insertMany(names.map((n) => ({ _id: `auth0|${n}`, when: at(n) })));
    await db.collection("@handles").insertMany(names.map((n) => ({ _id: `auth0|${n}`, handle: `h${n}` })));
    await db.collection("@handles").createIndex({ handle: 1 }, { unique: true });
    await db.collection("moods").insertMany(names.flatMap((n) => names.map((m) => ({ user: `auth0|${n}`, mood: `m${m}`, when: at(m) }))));
  }
  const hash = require("crypto").createHash("sha256");
  for (const name of (await db.listCollections().toArray()).map(({ name }) => name).sort()) {
    hash.update(name + JSON.stringify(await db.collection(name).indexes()));
    for await (const one of db.collection(name).find().sort({ _id: 1 })) hash.update(BSON.serialize(one));
  }
  console.log(hash.digest("hex"));
  await client.close();
})().catch((error) => { console.error(error.message); process.exit(1); });
