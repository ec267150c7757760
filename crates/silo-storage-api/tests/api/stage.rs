//! Test fixture: storage with demo objects, a database with demo users, silo-db-api and the service.

use std::time::Duration;

use actix_web::dev::ServerHandle;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use silo_core::secret::Secret;
use silo_core::settings::SettingsReader;
use silo_spaces::Spaces;
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};
use silo_testkit::demo::{BUCKETS, Demo, DemoObject};
use silo_testkit::mongo::MongoServer;
use silo_testkit::s3::Storage;
pub(crate) use silo_testkit::service::{Reply, Service};
use tempfile::TempDir;
use tokio::process::Command;

const SCALE: f64 = 0.02;

/// Storage and people.
pub(crate) struct Stage {
    pub(crate) s3: Storage,
    pub(crate) objects: Vec<DemoObject>,
    pub(crate) users: UserDirectory,
    pub(crate) folder: TempDir,
}

/// silo-db-api on a real server, in this process.
pub(crate) struct UserDirectory {
    pub(crate) address: String,
    pub(crate) demo: Demo,
    handle: ServerHandle,
    _mongo: MongoServer,
}

impl UserDirectory {
    pub(crate) async fn start() -> Self {
        let mongo = MongoServer::start().await.unwrap();
        let demo = Demo::new(7, SCALE, Timestamp::now());
        let database = mongo.client().await.unwrap().database("aesthetic");
        demo.load(&database, |_, _, _| {}).await.unwrap();
        let settings = [("MONGODB_CONNECTION_STRING".to_owned(), mongo.uri())];
        let reader = SettingsReader::from_map(&settings.into_iter().collect());
        let settings = silo_db_api::settings::Settings::read(reader).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let running = silo_db_api::start(listener, &settings, &Default::default())
            .await
            .unwrap();
        let (address, handle) = (running.address, running.handle.clone());
        tokio::spawn(running.wait());
        Self {
            address: format!("http://{address}"),
            demo,
            handle,
            _mongo: mongo,
        }
    }

    /// Stops silo-db-api; its address refuses connections from then on.
    pub(crate) async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

/// Storage filled with the demo objects, and the people they belong to.
pub(crate) async fn stage() -> Stage {
    stage_on(Storage::new().await.unwrap()).await
}

/// The same on a storage that can be switched off.
pub(crate) async fn stage_with_switch() -> Stage {
    stage_on(Storage::with_switch().await.unwrap()).await
}

async fn stage_on(s3: Storage) -> Stage {
    let users = UserDirectory::start().await;
    let objects = users.demo.objects();
    let spaces = spaces(&s3, &s3.url());
    for bucket in BUCKETS {
        spaces.create_bucket(bucket).await.unwrap();
    }
    put(&spaces, &objects).await;
    Stage {
        s3,
        objects,
        users,
        folder: TempDir::with_prefix("silo-rollup-").unwrap(),
    }
}

pub(crate) async fn put(spaces: &Spaces, objects: &[DemoObject]) {
    let puts = objects.iter().map(|object| {
        let body = Bytes::from(vec![b'x'; object.bytes]);
        async move { spaces.put(object.bucket, &object.key, body).await }
    });
    stream::iter(puts)
        .buffer_unordered(8)
        .try_collect::<()>()
        .await
        .unwrap();
}

/// A client of a storage account at an address.
pub(crate) fn spaces(s3: &Storage, url: &str) -> Spaces {
    let endpoint = Endpoint {
        url: url.to_owned(),
        region: "us-east-1".into(),
        key: Secret::new(&s3.account.key),
        secret: Secret::new(&s3.account.secret),
        addressing: Addressing::Path,
    };
    let limits = Limits {
        requests_per_second: 2000.try_into().unwrap(),
        ..Limits::default()
    };
    Spaces::new(&endpoint, limits).unwrap()
}

impl Stage {
    /// The service, asking storage at this address.
    pub(crate) async fn service_at(&self, storage: &str, more: &[(&str, &str)]) -> Service {
        let mut command = command();
        command
            .env("SPACES_ENDPOINT", storage)
            .env("SPACES_KEY", &self.s3.account.key)
            .env("SPACES_SECRET", &self.s3.account.secret)
            .env("DB_API_URL", &self.users.address)
            .env("STORAGE_FOLDER", self.folder.path())
            .env("SCAN_REQUESTS_PER_SECOND", "1000")
            .envs(more.iter().copied());
        Service::start("silo-storage-api", command).await
    }

    /// The service when its first scan has ended.
    pub(crate) async fn scanned(&self) -> Service {
        let service = self.service_at(&self.s3.url(), &[]).await;
        until_scanned(&service).await;
        service
    }

    /// The objects of one bucket.
    pub(crate) fn in_bucket(&self, bucket: &str) -> impl Iterator<Item = &DemoObject> {
        self.objects
            .iter()
            .filter(move |object| object.bucket == bucket)
    }
}

/// Waits for the results of this process's own scan.
pub(crate) async fn until_scanned(service: &Service) -> Reply {
    service
        .until(Duration::from_secs(30), "/api/storage/usage", |reply| {
            let body = reply.json_or_null();
            body["data"]["scan"]["scanning"] == false
                && reply.state() != "stale"
                && body["data"]["knownObjects"].as_u64() > Some(0)
        })
        .await
}

/// The built binary, with nothing of this shell's settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_silo-storage-api"));
    command.env_clear();
    command
}

/// Number of objects and bytes.
pub(crate) fn sum<'a>(objects: impl Iterator<Item = &'a DemoObject>) -> (u64, u64) {
    objects.fold((0, 0), |(count, bytes), object| {
        (count + 1, bytes + object.bytes as u64)
    })
}
