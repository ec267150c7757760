// Database panel: state and load of mongod, and connected clients.

import { series, sparkline } from '../lib/charts.js';
import { box, fill, h, table } from '../lib/dom.js';
import { ageText, ago, bytesText, count, countText, percent, percentText, rate } from '../lib/format.js';
import { source } from '../lib/source.js';

const OPERATIONS = ['query', 'insert', 'update', 'delete', 'getmore', 'command'];

/** Privileges of Silo's account, with an assessment. */
const ACCOUNTS = {
  readOnly: ['read-only', 'as recommended', 'fresh'],
  canWrite: ['can write', 'more than it needs', 'partial'],
  unauthenticated: ['no sign-in', 'mongod lets in everybody', 'partial'],
};

export function mount(body) {
  const sources = { health: source('/api/db/health'), clients: source('/api/db/clients'), access: source('/api/db/access'), comparison: source('/api/db/compare') };
  const boxes = h('div', { class: 'boxes' });
  const activity = h('div', { class: 'chart' });
  const connections = h('div', { class: 'clients' });
  const use = h('div', { class: 'use' });
  const warnings = h('div', {});
  const migration = h('div', { class: 'migration' });
  fill(body, boxes, warnings, activity, connections, migration, use);
  const last = {};
  const changed = (name, view) => view.data && (last[name] !== view.data || last[`${name} state`] !== view.state) && Object.assign(last, { [name]: view.data, [`${name} state`]: view.state });
  const update = ({ health, clients, access, comparison }) => {
    if (changed('health', health)) {
      fill(boxes, figures(health.data, health.state));
      fill(warnings, versionWarnings(health.data));
      const open = activity.querySelector('details')?.open;
      fill(activity, operations(health.data));
      if (open) activity.querySelector('details').open = true;
    }
    if (changed('clients', clients)) fill(connections, connected(clients.data));
    if (changed('comparison', comparison)) fill(migration, compared(comparison.data));
    if (changed('access', access)) fill(use, accessed(access.data));
  };
  return { sources, update };
}

/** Warnings about mongod's version. */
function versionWarnings({ versionWarnings: warnings }) {
  return (warnings ?? []).map((warning) => h('p', { class: 'facts warning', 'data-state': 'partial' }, `◑ ${warning}`));
}

function figures(server, state) {
  const { status, version, uptimeSeconds, connections, cache, cacheHitRatio, readWriteRatio, replicaSet, oplogWindowSeconds, account, residentBytes } = server;
  const [rights, remark, accountState] = ACCOUNTS[account] ?? [rate(null), '', 'unknown'];
  const condition = { up: 'fresh', degraded: 'partial', down: 'error' }[status] ?? 'unknown';
  return [
    box('mongod', `${{ up: '●', degraded: '◑', down: '▲' }[status] ?? '?'} ${status}`, (server.notes ?? []).join('; ') || (version ? `version ${version}` : ''), condition),
    box('up for', ageText(uptimeSeconds), replicaSet ? `${replicaSet.state} of ${replicaSet.name}` : 'no replica set', state),
    box('connections', count(connections?.current), connections?.available == null ? '' : `${countText(connections.available)} more are free`, state),
    box('reads to writes', rate(readWriteRatio), 'reads for each write', state),
    box('cache', percent(cache?.maxBytes ? cache.usedBytes / cache.maxBytes : null), `${percentText(cacheHitRatio)} found in it`, state),
    box('memory', bytesText(residentBytes), 'resident', state),
    box('oplog', ageText(oplogWindowSeconds), 'of changes kept', state),
    box("silo's account", rights, remark, accountState),
  ];
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

function accessed({ since, reads, writes, shareOfReads, collections, unusedIndexes, transactions, changeStreams, gridFs }) {
  const inUse = (what, { inUse: yes }) => `${what} ${yes === null ? 'not known' : yes ? 'in use' : 'not in use'}`;
  const unused = unusedIndexes === null ? 'unused indexes: unknown until mongod has run longer'
    : `${countText(unusedIndexes.length)} indexes never used`;
  const busiest = collections.slice(0, 8);
  return [
    h('h3', {}, 'Usage'),
    h('p', { class: 'facts' }, percent(shareOfReads), ' reads of ', count(sum(reads, writes)), ' operations, counted since ', ago(since)),
    h('p', { class: 'facts' }, [inUse('transactions', transactions), inUse('change streams', changeStreams), inUse('GridFS', gridFs), unused].join(' · ')),
    busiest.length > 0 && h('div', { class: 'wide' }, table('busiest collections', [
      { title: 'busiest collections', cell: (row) => row.name },
      { title: 'operations', number: true, cell: (row) => count(row.operations) },
      { title: 'reading, ms', number: true, cell: (row) => rate(row.readMs) },
      { title: 'writing, ms', number: true, cell: (row) => rate(row.writeMs) },
    ], busiest)),
  ];
}

const sum = (a, b) => (a === null || b === null ? null : a + b);
