// Exports a database as a script of AC may do it: a JSON file for each collection, and a manifest with counts and indexes.
"use strict";

const { writeFile, mkdir } = require("node:fs/promises");
const { join } = require("node:path");
const { MongoClient, BSON } = require("mongodb");

const { URI, DATABASE, FOLDER, FORM } = process.env;

// The driver replaces some types by JavaScript's own, which only plain JSON is written from.
const FORMS = {
  canonical: {
    read: { promoteValues: false, bsonRegExp: true },
    write: (value) => BSON.EJSON.stringify(value, { relaxed: false }),
  },
  relaxed: {
    read: { promoteValues: false, bsonRegExp: true },
    write: (value) => BSON.EJSON.stringify(value, { relaxed: true }),
  },
  plain: { read: {}, write: (value) => JSON.stringify(value) },
};

async function main() {
  const { read, write } = FORMS[FORM];
  const client = new MongoClient(URI, read);
  const database = client.db(DATABASE);
  await mkdir(FOLDER, { recursive: true });
  const collections = [];
  for (const { name } of await database.listCollections({ type: "collection" }).toArray()) {
    const documents = await database.collection(name).find().toArray();
    await writeFile(join(FOLDER, `${name}.json`), `[\n${documents.map(write).join(",\n")}\n]\n`);
    const indexes = await database.collection(name).indexes();
    collections.push({ name, count: documents.length, indexes: indexes.map((index) => JSON.parse(write(index))) });
  }
  await writeFile(join(FOLDER, "_manifest.json"), JSON.stringify({ database: DATABASE, collections }));
  await client.close();
}

main();
