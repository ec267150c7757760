// Database panel: state and load of mongod, and connected clients.

import { series, sparkline } from '../lib/charts.js';
import { box, fill, h, table } from '../lib/dom.js';
import { ageText, ago, bytes, bytesText, count, countText, percent, percentText, rate } from '../lib/format.js';
import { source } from '../lib/source.js';

const OPERATIONS = ['query', 'insert', 'update', 'delete', 'getmore', 'command'];

/** Privileges of Silo's account, with an assessment. */
const ACCOUNTS = {
  readOnly: ['read-only', 'as recommended', 'fresh'],
  canWrite: ['can write', 'more than it needs', 'partial'],
  unauthenticated: ['no sign-in', 'mongod lets in everybody', 'partial'],
};

export function mount(body) {
  const sources = { health: source('/api/db/health'), clients: source('/api/db/clients'), access: source('/api/db/access'), comparison: source('/api/db/compare'), disk: source('/api/db/disk'), running: source('/api/db/operations') };
  const boxes = h('div', { class: 'boxes' });
  const members = h('div', {});
  const long = h('div', {});
  const activity = h('div', { class: 'chart' });
  const connections = h('div', { class: 'clients' });
  const use = h('div', { class: 'use' });
  const warnings = h('div', {});
  const migration = h('div', { class: 'migration' });
  const rest = h('div');
  fill(body, boxes, warnings, members, activity, long, connections, migration, rest, use);
  const last = {};
  const changed = (name, view) => view.data && (last[name] !== view.data || last[`${name} state`] !== view.state) && Object.assign(last, { [name]: view.data, [`${name} state`]: view.state });
  const update = ({ health, clients, access, comparison, disk, running }) => {
    const newDisk = changed('disk', disk);
    if (changed('health', health) || (newDisk && health.data)) {
      fill(boxes, figures(health.data, health.state), diskFigure(disk.data, disk.state));
      fill(members, replicaSet(health.data));
      fill(warnings, versionWarnings(health.data));
      const open = activity.querySelector('details')?.open;
      fill(activity, operations(health.data));
      if (open) activity.querySelector('details').open = true;
    }
    if (changed('running', running)) fill(long, longOperations(running.data));
    if (changed('clients', clients)) fill(connections, connected(clients.data));
    if (changed('comparison', comparison)) fill(migration, compared(comparison.data));
    if (comparison.data) fill(rest, remaining(comparison.data, last.clients));
    if (changed('access', access)) fill(use, accessed(access.data));
  };
  return { sources, update };
}

/** Warnings about mongod's version. */
function versionWarnings({ versionWarnings: warnings }) {
  return (warnings ?? []).map((warning) => h('p', { class: 'facts warning', 'data-state': 'partial' }, `◑ ${warning}`));
}

function figures(server, state) {
  const { status, version, uptimeSeconds, connections, cachePressure: cache, readWriteRatio, replicaSet, oplogWindowSeconds, account, residentBytes, expiry } = server;
  const [rights, remark, accountState] = ACCOUNTS[account] ?? [rate(null), '', 'unknown'];
  const condition = { up: 'fresh', degraded: 'partial', down: 'error' }[status] ?? 'unknown';
  return [
    box('mongod', `${{ up: '●', degraded: '◑', down: '▲' }[status] ?? '?'} ${status}`, (server.notes ?? []).join('; ') || (version ? `version ${version}` : ''), condition),
    box('up for', ageText(uptimeSeconds), replicaSet ? [replicaSet.state, replicaSet.name && `of ${replicaSet.name}`].filter(Boolean).join(' ') : 'no replica set', state),
    box('connections', count(connections?.current), connections?.available == null ? '' : `${countText(connections.available)} more are free`, state),
    box('reads to writes', rate(readWriteRatio), 'reads for each write', state),
    box('cache', percent(cache?.usedShare ?? null), cacheNote(cache), state),
    box('memory', bytesText(residentBytes), 'resident', state),
    box('expired', count(expiry?.deletedDocuments ?? null), `documents deleted in ${countText(expiry?.passes ?? null)} passes`, state),
    box('oplog', ageText(oplogWindowSeconds), 'of changes kept', state),
    box("silo's account", rights, remark, accountState),
  ];
}

function cacheNote(cache) {
  if (!cache) return '';
  const waiting = cache.evictionsPerSecond > 0 ? `; operations evict ${cache.evictionsPerSecond} pages a second` : '';
  return `${percentText(cache.hitRatio)} found in it, ${percentText(cache.dirtyShare)} modified, last ${ageText(cache.seconds)}${waiting}`;
}

/** From this share on, the disk is filling up. */
const FULL = 0.85;

function diskFigure(disk, state) {
  if (!disk) return box('disk', rate(null), '', state);
  const { freeBytes, totalBytes, usedShare, growth, daysUntilFull } = disk;
  const days = daysUntilFull === null ? '' : `, full in ${countText(Math.floor(daysUntilFull))} days at the pace since ${new Date(growth.since).toLocaleDateString('en')}`;
  const condition = usedShare >= FULL ? 'partial' : state;
  return box('disk', bytesText(freeBytes), `${usedShare >= FULL ? '◑ ' : ''}free of ${bytesText(totalBytes)}${days}`, condition);
}

/** Members of the replica set; only if there are others than this server. */
function replicaSet({ replicaSet: set }) {
  if (!set || set.members.length < 2) return [];
  return [h('h3', {}, `Members of ${set.name}`), h('div', { class: 'wide' }, table('members of the replica set', [
    { title: 'member', cell: ({ name, isSelf }) => [name, isSelf && h('span', { class: 'tag' }, 'asked')] },
    { title: 'state', cell: ({ state, healthy }) => `${healthy ? '●' : '▲'} ${state}` },
    { title: 'behind', number: true, cell: ({ lagSeconds }) => ageText(lagSeconds) },
  ], set.members))];
}

/** Operations that have been running for a second or longer; nothing if there are none. */
function longOperations({ total, operations: list }) {
  if (total === 0) return [];
  return [h('h3', {}, total === 1 ? 'A long-running operation' : `${countText(total)} long-running operations`), h('div', { class: 'wide' }, table('long-running operations', [
    { title: 'operation', cell: ({ name, waitingForLock }) => [name ?? '–', waitingForLock && h('span', { class: 'tag' }, 'waits for a lock')] },
    { title: 'collection', cell: ({ namespace }) => namespace ?? '–' },
    { title: 'for', number: true, cell: ({ seconds }) => ageText(seconds) },
    { title: 'client', cell: ({ appName }) => appName ?? 'unnamed' },
    { title: 'plan', cell: ({ plan, progress }) => progress ?? plan ?? '–' },
  ], list))];
}

function operations({ perSecond, recentOperationsPerSecond: recent, sampleMs }) {
  const known = recent.filter((value) => value !== null);
  const span = ageText((recent.length * sampleMs) / 1000);
  const summary = known.length > 0 ? `${known.at(-1)} operations a second now, at most ${Math.max(...known)} in the last ${span}` : 'operations a second: two measurements are needed first';
  const now = h('dl', { class: 'rates' }, OPERATIONS.map((name) => h('div', {}, h('dt', {}, name), h('dd', {}, rate(perSecond?.[name])))));
  return [sparkline(summary, recent, series('operations per second', recent, sampleMs / 1000)), now];
}

function connected({ clients, expected }) {
  const wanted = expected.length > 0
    ? h('ul', { class: 'expected' }, expected.map(({ name, appName, state }) =>
      h('li', { 'data-state': state === 'seen' ? 'fresh' : 'stale', title: `as ${appName}` }, h('span', { class: 'shape', 'aria-hidden': 'true' }, state === 'seen' ? '●' : '◇'), ` ${name} `, h('span', { class: 'word' }, state))))
    : h('p', { class: 'facts' }, '▢ expected clients are not set up; [[clients]] in silo.toml names them');
  const list = clients.length === 0 ? h('p', { class: 'empty' }, '○ no connected clients') : h('div', { class: 'wide' }, table('connected clients', [
    { title: 'client', cell: ({ appName }) => appName ?? 'unnamed' },
    { title: 'driver', cell: ({ driver }) => driver ?? '–' },
    { title: 'address', cell: ({ address }) => address ?? '–' },
    { title: 'connections', number: true, cell: (client) => count(client.connections) },
    { title: 'active', number: true, cell: (client) => count(client.active) },
  ], clients));
  return [h('h3', {}, 'Connected clients'), wanted, list];
}

/** Comparison with the old cluster, during a migration only. */
function compared({ configured, running, last }) {
  if (!configured) return [];
  const now = running && h('p', { class: 'facts' }, '◍ comparing since ', ago(running.startedAt), `: ${countText(running.documents)} documents read`, running.collection && `, now ${running.collection}`);
  return [
    h('h3', {}, 'Comparison with the old cluster'),
    last ? comparisonResult(last) : h('p', { class: 'facts' }, '○ not compared yet'),
    now,
    ...(last ? comparedCollections(last.collections) : []),
  ];
}

/** What remains before the old cluster can be switched off. */
function remaining({ configured, last }, clients) {
  if (!configured) return [];
  return [
    h('h3', {}, 'Before the old cluster is switched off'),
    h('ul', { class: 'remaining' }, conditions(last, clients).map(([state, text]) =>
      h('li', { 'data-state': { true: 'fresh', false: 'error', null: 'unknown' }[state] }, `${{ true: '●', false: '▲', null: '○' }[state]} ${text}`))),
    h('p', { class: 'facts' }, 'silo-migrate decommission-check looks at these, at 7 nights of backups and at the clients of the old cluster: ', h('a', { href: '/runbook#leave-atlas' }, 'what to do')),
  ];
}

/** The conditions, each with whether it is met; null for what is not known. */
function conditions(last, clients) {
  const expected = clients?.expected ?? null;
  const missing = (expected ?? []).filter(({ state }) => state !== 'seen').map(({ name }) => name);
  const backup = source('/api/overview').data?.backup;
  return [
    expected === null || expected.length === 0 ? [null, 'expected clients: none are set up in silo.toml']
      : [missing.length === 0, missing.length === 0 ? `all ${countText(expected.length)} expected clients are connected to Silo` : `not connected to Silo: ${missing.join(', ')}`],
    last ? [last.equal, last.equal ? 'every document of the old cluster is in Silo' : 'the old cluster and Silo differ'] : [null, 'the old cluster and Silo were not compared yet'],
    last ? [!last.sourceChanged, last.sourceChanged ? 'something still writes to the old cluster' : 'nothing wrote to the old cluster while it was compared'] : [null, 'writes to the old cluster: not known'],
    backup ? [Boolean(backup.lastGood) && !backup.overdue, backup.lastGood && !backup.overdue ? 'the last good backup of Silo is recent' : 'there is no recent good backup of Silo'] : [null, 'backups of Silo: not known'],
  ];
}

/** Collections that differ in a table, and the equal ones behind a line. */
function comparedCollections(collections) {
  const columns = [
    { title: 'collection', cell: (row) => row.name },
    { title: 'old cluster', number: true, cell: (row) => count(row.sourceDocuments) },
    { title: 'silo', number: true, cell: (row) => count(row.targetDocuments) },
    { title: 'different', number: true, cell: (row) => count(row.differentDocuments) },
    { title: 'difference', cell: comparedCollection },
  ];
  const [equal, different] = [true, false].map((wanted) => collections.filter((row) => row.equal === wanted));
  return [
    different.length > 0 && h('div', { class: 'wide' }, table('collections that differ from the old cluster', columns, different)),
    equal.length > 0 && h('details', {}, h('summary', {}, `${countText(equal.length)} equal collections`),
      h('div', { class: 'wide' }, table('collections that are equal to the old cluster', columns.slice(0, 3), equal))),
  ];
}

function comparisonResult({ equal, sourceChanged, collections, startedAt, durationMs }) {
  const different = collections.filter((row) => !row.equal).length;
  const result = equal ? '● equal' : `▲ ${countText(different)} of ${countText(collections.length)} collections differ`;
  return h('p', { class: 'facts', 'data-state': equal ? 'fresh' : 'error' }, result, ', compared ', ago(startedAt), ` in ${ageText(Math.max(1, durationMs / 1000))}`,
    sourceChanged && '; the old cluster changed meanwhile');
}

function comparedCollection({ structure, differences, missingDocuments }) {
  const first = differences[0];
  const document = first && `${first.id}: ${first.class.replaceAll('_', ' ')}${first.field ? ` in ${first.field}` : ''}`;
  return `▲ ${[...structure, missingDocuments > 0 && `${countText(missingDocuments)} missing`, document].filter(Boolean).join('; ')}`;
}

function accessed({ since, reads, writes, shareOfReads, observed, collections, unusedIndexes, transactions, changeStreams, gridFs }) {
  const inUse = (what, { inUse: yes }) => `${what} ${yes === null ? 'not known' : yes ? 'in use' : 'not in use'}`;
  const busiest = (collections ?? []).slice(0, 8);
  return [
    h('h3', {}, 'Usage'),
    h('p', { class: 'facts' }, percent(shareOfReads), ' reads of ', count(sum(reads, writes)), ' operations, counted since ', ago(since)),
    observed && h('p', { class: 'facts' }, 'without the ', count(observed.siloReads), ' reads of Silo itself: ', percent(observed.shareOfReads), ' reads, counted since ', ago(observed.since)),
    h('p', { class: 'facts' }, [inUse('transactions', transactions), inUse('change streams', changeStreams), inUse('GridFS', gridFs)].join(' · ')),
    unused(unusedIndexes),
    busiest.length > 0 && h('div', { class: 'wide' }, table('busiest collections', [
      { title: 'busiest collections', cell: (row) => row.name },
      { title: 'operations', number: true, cell: (row) => count(row.operations) },
      { title: 'reading, ms', number: true, cell: (row) => rate(row.readMs) },
      { title: 'writing, ms', number: true, cell: (row) => rate(row.writeMs) },
    ], busiest)),
  ];
}

/** Indexes that no query of this node has used for a week. */
function unused(indexes) {
  if (indexes === null) return h('p', { class: 'facts' }, 'unused indexes: unknown until mongod has run for 7 days');
  if (indexes.length === 0) return h('p', { class: 'facts' }, 'every index that enforces nothing was used on this node within 7 days of counting');
  return h('details', {}, h('summary', {}, `${countText(indexes.length)} indexes not used on this node`), h('div', { class: 'wide' }, table('indexes not used on this node', [
    { title: 'collection', cell: (row) => row.collection },
    { title: 'index', cell: (row) => row.index },
    { title: 'size', number: true, cell: (row) => bytes(row.bytes) },
    { title: 'not used since', cell: (row) => ago(row.since) },
  ], indexes)));
}

const sum = (a, b) => (a === null || b === null ? null : a + b);
