// Creates the replica set, Silo's roles and the accounts, or brings them up to date. Run by `setup`, in mongosh without a connection:
//
//   mongosh --nodb --quiet init.js
//
// roles.json           privileges of Silo's own roles, and the roles of an account by its job; DATABASE stands for AC's database
// MONGO_ACCOUNTS_FILE  lines of a job and a connection string; `root` is the administrator, whom the image creates
// MONGO_HOST           host name of mongod, with a port if it is not 27017
// MONGODB_NAME         AC's database
// MONGO_REPLICA_SET    name of the replica set
// DRY_RUN              if set, nothing is changed
// ROTATE               if set, mongod only reads its certificate again
//
// Prints a line for each item: created, changed, unchanged or review. Ends with 1 and a message after the first error; no password is printed.
'use strict';

const { readFileSync } = require('node:fs');
const { join } = require('node:path');

const { MONGO_ACCOUNTS_FILE, MONGO_HOST = '', MONGODB_NAME = 'aesthetic', MONGO_REPLICA_SET = 'rs0', DRY_RUN, ROTATE } = process.env;
/** Time limits: of mongod to answer, and of the replica set to have a primary. */
const UP_WITHIN_MS = 120_000;
const NOT_YET_INITIALIZED = 94;
const ALREADY_INITIALIZED = 23;
const AUTHENTICATION_FAILED = 18;

const SILO = JSON.parse(readFileSync(join(__dirname, 'roles.json'), 'utf8').replaceAll('DATABASE', MONGODB_NAME));
const JOBS = ['root', ...Object.keys(SILO.accounts)];

class Problem extends Error {}

function report(result, item, detail) {
  print(`${result} ${item}${detail ? `: ${detail}` : ''}`);
}

/** Accounts of the file: job, name, password, database to sign in to, and connection string. */
function readAccounts() {
  const problems = [];
  const accounts = [];
  readFileSync(MONGO_ACCOUNTS_FILE, 'utf8').split('\n').forEach((text, at) => {
    const line = text.trim();
    if (line === '' || line.startsWith('#')) return;
    const [job, uri] = line.split(/\s+/, 2);
    const parsed = /^mongodb:\/\/([^:@/]+):([^@/]+)@([^/]+)\/([^?]*)(?:\?(.*))?$/.exec(uri ?? '');
    if (!JOBS.includes(job)) problems.push(`line ${at + 1}: a job is one of ${JOBS.join(', ')}`);
    else if (!parsed) problems.push(`line ${at + 1}: a connection string with a name and a password is expected`);
    else {
      const options = new URLSearchParams(parsed[5]);
      const [name, password] = [parsed[1], parsed[2]].map(decodeURIComponent);
      const source = options.get('authSource') ?? (parsed[4] || 'admin');
      if (accounts.some((other) => other.name === name && other.source === source)) problems.push(`line ${at + 1}: ${name} occurs twice`);
      accounts.push({ job, name, password, source, hosts: parsed[3], options });
    }
  });
  if (accounts.filter(({ job }) => job === 'root').length !== 1) problems.push('one account has to be `root`');
  if (problems.length > 0) throw new Problem(`${MONGO_ACCOUNTS_FILE}: ${problems.join('; ')}`);
  return accounts;
}

/** Connects as an account, to the administrator's address: the replica set may not exist yet. */
function connectAs({ name, password, source }, root) {
  const options = new URLSearchParams({ authSource: source, directConnection: 'true', serverSelectionTimeoutMS: '2000', appName: 'silo-setup' });
  for (const option of ['tls', 'tlsCAFile']) if (root.options.has(option)) options.set(option, root.options.get(option));
  return new Mongo(`mongodb://${encodeURIComponent(name)}:${encodeURIComponent(password)}@${root.hosts}/?${options}`);
}

/** Waits until `attempt` returns a value. Fails with the last error, or at once with one that is `final`. */
function until(what, attempt, final = () => false) {
  const end = Date.now() + UP_WITHIN_MS;
  let last = 'no answer';
  while (Date.now() < end) {
    try {
      const value = attempt();
      if (value) return value;
    } catch (error) {
      if (final(error)) throw error;
      last = error.codeName ?? error.name;
    }
    sleep(300);
  }
  throw new Problem(`${what} (${last})`);
}

function run(database, command, doing) {
  try {
    return database.runCommand(command);
  } catch (error) {
    throw new Problem(`${doing}: ${error.codeName ?? error.name}`, { cause: error });
  }
}

const codeOf = (error) => error.cause?.code ?? error.code;

function untilPrimary(admin) {
  until(`mongod accepts no writes: the replica set has no primary. mongod must reach itself as ${member()}`, () => admin.runCommand({ hello: 1 }).isWritablePrimary);
}

const member = () => (MONGO_HOST.includes(':') ? MONGO_HOST : `${MONGO_HOST}:27017`);

/** A set of one, which change streams, snapshots and AC's connection strings need. */
function replicaSet(admin) {
  const item = `replica set ${MONGO_REPLICA_SET} at ${member()}`;
  let config;
  try {
    ({ config } = run(admin, { replSetGetConfig: 1 }, 'reading the replica set'));
  } catch (error) {
    if (codeOf(error) !== NOT_YET_INITIALIZED) throw error;
    if (!DRY_RUN) {
      try {
        run(admin, { replSetInitiate: { _id: MONGO_REPLICA_SET, members: [{ _id: 0, host: member() }] } }, `creating the ${item}`);
      } catch (failed) {
        // Another process was faster.
        if (codeOf(failed) !== ALREADY_INITIALIZED) throw failed;
      }
      untilPrimary(admin);
    }
    return report('created', item);
  }
  if (config._id !== MONGO_REPLICA_SET) {
    throw new Problem(`mongod is of the replica set ${config._id}, and a set cannot be renamed: set MONGO_REPLICA_SET=${config._id}, and in AC's connection strings too`);
  }
  const [first] = config.members;
  if (first.host === member()) {
    untilPrimary(admin);
    return report('unchanged', item);
  }
  if (config.members.length > 1) return report('review', item, `it has ${config.members.length} members, the first is ${first.host}: change it by hand`);
  const before = first.host;
  if (!DRY_RUN) {
    // Under its old name the server may not find itself, and then accepts no writes.
    first.host = member();
    config.version += 1;
    run(admin, { replSetReconfig: config, force: true }, 'renaming the member of the replica set');
    untilPrimary(admin);
  }
  return report('changed', item, `it was ${before}`);
}

/** Text that is equal for the same values, whatever the order of fields and elements. */
function comparable(value) {
  if (Array.isArray(value)) return `[${value.map(comparable).sort().join()}]`;
  if (value !== null && typeof value === 'object') return `{${Object.keys(value).sort().map((key) => `${key}:${comparable(value[key])}`).join()}}`;
  return String(value);
}

function role(admin, name, privileges) {
  const { roles: [existing] } = run(admin, { rolesInfo: { role: name, db: 'admin' }, showPrivileges: true }, 'reading the roles');
  const item = `role ${name}`;
  if (existing && comparable(existing.privileges) === comparable(privileges)) return report('unchanged', item);
  if (!DRY_RUN) run(admin, { [existing ? 'updateRole' : 'createRole']: name, privileges, roles: [] }, `writing the ${item}`);
  return report(existing ? 'changed' : 'created', item);
}

function account(wanted, root, admin) {
  const { job, name, password, source } = wanted;
  const item = `account ${name} in ${source}`;
  const roles = SILO.accounts[job];
  const database = admin.getSiblingDB(source);
  const names = roles.map((each) => `${each.role} on ${each.db}`).join(', ');
  const { users: [existing] } = run(database, { usersInfo: { user: name, db: source } }, 'reading the accounts');
  if (!existing) {
    if (!DRY_RUN) run(database, { createUser: name, pwd: password, roles }, `creating the ${item}`);
    return report('created', item, names);
  }
  const changes = {};
  if (comparable(existing.roles) !== comparable(roles)) changes.roles = roles;
  if (!signsIn(wanted, root)) changes.pwd = password;
  if (Object.keys(changes).length === 0) return report('unchanged', item);
  if (!DRY_RUN) run(database, { updateUser: name, ...changes }, `changing the ${item}`);
  return report('changed', item, [changes.roles && names, changes.pwd && 'password'].filter(Boolean).join(', '));
}

function signsIn(wanted, root) {
  try {
    connectAs(wanted, root).getDB('admin').runCommand({ ping: 1 });
    return true;
  } catch (error) {
    if (codeOf(error) === AUTHENTICATION_FAILED) return false;
    throw new Problem(`signing in as ${wanted.name}: ${error.codeName ?? error.name}`);
  }
}

function main() {
  const accounts = readAccounts();
  const root = accounts.find(({ job }) => job === 'root');
  if (ROTATE) return run(connectAs(root, root).getDB('admin'), { rotateCertificates: 1, message: 'Caddy has a new certificate' }, 'rotateCertificates');
  if (MONGO_HOST === '') throw new Problem('MONGO_HOST is not set');
  const admin = until('mongod does not answer', () => {
    const database = connectAs(root, root).getDB('admin');
    database.runCommand({ ping: 1 });
    return database;
  }, (error) => codeOf(error) === AUTHENTICATION_FAILED);
  replicaSet(admin);
  for (const [name, privileges] of Object.entries(SILO.roles)) role(admin, name, privileges);
  for (const each of accounts) if (each !== root) account(each, root, admin);
  const { users } = run(admin, { usersInfo: { forAllDBs: true } }, 'reading the accounts');
  for (const { user, db } of users) {
    if (!accounts.some(({ name, source }) => name === user && source === db)) report('review', `account ${user} in ${db}`, 'not in the list of accounts; drop it if it is unused');
  }
}

try {
  main();
} catch (error) {
  // A driver's message may contain a connection string.
  const known = error instanceof Problem ? error.message : codeOf(error) === AUTHENTICATION_FAILED ? 'mongod did not accept the administrator\'s password' : `${error.name} ${error.codeName ?? ''}`;
  console.error(`init.js: ${known}`);
  quit(1);
}
