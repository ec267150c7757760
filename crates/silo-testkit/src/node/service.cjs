// A service of AC: connects with the connection string of its .env file, and inserts a document for each line of its standard input.
"use strict";

const { createInterface } = require("node:readline");
const { MongoClient } = require("mongodb");

const { ENV_FILE, NAME, DATABASE, COLLECTION } = process.env;

async function main() {
  process.loadEnvFile(ENV_FILE);
  const client = new MongoClient(process.env.MONGODB_CONNECTION_STRING, { appName: NAME });
  const collection = client.db(DATABASE).collection(COLLECTION);
  for await (const line of createInterface({ input: process.stdin })) {
    await collection.insertOne({ _id: line });
    console.log(line);
  }
  await client.close();
}

main();
