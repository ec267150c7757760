-- Schema of AC's migration report (section 4). Each table has a column `data` for the fields that have no column of their own, as Extended JSON.

CREATE TABLE IF NOT EXISTS users (
  id TEXT PRIMARY KEY,          -- sub of the user, such as auth0|abc123
  code TEXT UNIQUE,
  email TEXT,
  stripe_id TEXT,
  tezos_address TEXT,
  atproto_did TEXT,
  atproto_handle TEXT,
  created_at TEXT,
  data TEXT
);

CREATE TABLE IF NOT EXISTS handles (
  user_id TEXT PRIMARY KEY REFERENCES users(id),
  handle TEXT UNIQUE NOT NULL,
  data TEXT
);

CREATE TABLE IF NOT EXISTS verifications (
  user_id TEXT PRIMARY KEY REFERENCES users(id),
  verified INTEGER DEFAULT 0,
  data TEXT
);

CREATE TABLE IF NOT EXISTS paintings (
  id TEXT PRIMARY KEY,
  slug TEXT NOT NULL,
  code TEXT UNIQUE,
  user_id TEXT REFERENCES users(id),
  hash TEXT,
  bucket TEXT,
  nuked INTEGER DEFAULT 0,
  created_at TEXT,
  data TEXT,
  UNIQUE(slug, user_id)
);

CREATE TABLE IF NOT EXISTS pieces (
  id TEXT PRIMARY KEY,
  slug TEXT NOT NULL,
  user_id TEXT REFERENCES users(id),
  created_at TEXT,
  data TEXT,
  UNIQUE(slug, user_id)
);

CREATE TABLE IF NOT EXISTS kidlisp (
  id TEXT PRIMARY KEY,
  code TEXT UNIQUE,
  hash TEXT UNIQUE,
  user_id TEXT,
  text TEXT,
  hits INTEGER DEFAULT 0,
  kept_network TEXT,
  created_at TEXT,
  data TEXT
);

CREATE TABLE IF NOT EXISTS moods (
  id TEXT PRIMARY KEY,
  user_id TEXT REFERENCES users(id),
  mood TEXT,
  deleted INTEGER DEFAULT 0,
  atproto_rkey TEXT,
  bluesky_uri TEXT,
  created_at TEXT,
  data TEXT
);

CREATE TABLE IF NOT EXISTS tapes (
  id TEXT PRIMARY KEY,
  code TEXT UNIQUE,
  slug TEXT,
  user_id TEXT,
  created_at TEXT,
  data TEXT
);

CREATE TABLE IF NOT EXISTS clocks (
  id TEXT PRIMARY KEY,
  code TEXT UNIQUE,
  hash TEXT UNIQUE,
  user_id TEXT,
  hits INTEGER DEFAULT 0,
  created_at TEXT,
  data TEXT
);

-- One table for all chats: system, sotce, clock.
CREATE TABLE IF NOT EXISTS chat_messages (
  id TEXT PRIMARY KEY,
  instance TEXT NOT NULL,
  user_id TEXT,
  text TEXT,
  font TEXT,
  created_at TEXT,
  data TEXT
);
CREATE INDEX IF NOT EXISTS idx_chat_instance_when ON chat_messages(instance, created_at);

CREATE TABLE IF NOT EXISTS chat_mutes (
  id TEXT UNIQUE,
  user_id TEXT NOT NULL,
  instance TEXT NOT NULL,
  data TEXT,
  PRIMARY KEY(user_id, instance)
);

CREATE TABLE IF NOT EXISTS news_posts (
  id TEXT PRIMARY KEY,
  code TEXT UNIQUE,
  user_id TEXT,
  title TEXT,
  url TEXT,
  text TEXT,
  score INTEGER DEFAULT 0,
  status TEXT DEFAULT 'active',
  created_at TEXT,
  data TEXT
);

CREATE TABLE IF NOT EXISTS news_comments (
  id TEXT PRIMARY KEY,
  post_code TEXT REFERENCES news_posts(code),
  parent_id TEXT,
  user_id TEXT,
  text TEXT,
  score INTEGER DEFAULT 0,
  status TEXT DEFAULT 'active',
  created_at TEXT,
  data TEXT
);

CREATE TABLE IF NOT EXISTS news_votes (
  id TEXT UNIQUE,
  item_type TEXT NOT NULL,
  item_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  created_at TEXT,
  data TEXT,
  PRIMARY KEY(item_type, item_id, user_id)
);

CREATE TABLE IF NOT EXISTS piece_hits (
  id TEXT UNIQUE,
  piece TEXT PRIMARY KEY,
  hits INTEGER DEFAULT 0,
  data TEXT
);

CREATE TABLE IF NOT EXISTS piece_user_hits (
  id TEXT UNIQUE,
  piece TEXT NOT NULL,
  user_id TEXT NOT NULL,
  hits INTEGER DEFAULT 0,
  data TEXT,
  PRIMARY KEY(piece, user_id)
);

CREATE TABLE IF NOT EXISTS products (id TEXT PRIMARY KEY, data TEXT);
CREATE TABLE IF NOT EXISTS tickets (id TEXT PRIMARY KEY, data TEXT);
CREATE TABLE IF NOT EXISTS secrets (id TEXT PRIMARY KEY, data TEXT);
CREATE TABLE IF NOT EXISTS servers (id TEXT PRIMARY KEY, data TEXT);

CREATE TABLE IF NOT EXISTS sotce_pages (id TEXT PRIMARY KEY, user_id TEXT, state TEXT, data TEXT);
CREATE TABLE IF NOT EXISTS sotce_touches (id TEXT PRIMARY KEY, user_id TEXT, page TEXT, data TEXT, UNIQUE(user_id, page));
CREATE TABLE IF NOT EXISTS sotce_asks (id TEXT PRIMARY KEY, data TEXT);

-- Documents of all other collections.
CREATE TABLE IF NOT EXISTS documents (
  collection TEXT NOT NULL,
  id TEXT NOT NULL,
  data TEXT,
  PRIMARY KEY(collection, id)
);
